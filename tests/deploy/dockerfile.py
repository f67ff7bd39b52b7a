"""The Dockerfile as values: its stages and their instructions."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PATH: Final = ROOT / "Dockerfile"

_CONTINUED: Final = re.compile(r"\\\n\s*")
_STAGE: Final = re.compile(r"(?P<base>\S+) AS (?P<name>\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """``instructions`` are name and text, in order, those of the stages that it is based on first."""

    name: str
    base: str
    instructions: tuple[tuple[str, str], ...]

    def all(self, instruction: str) -> list[str]:
        """The texts of an instruction."""
        return [text for name, text in self.instructions if name == instruction]

    def last(self, instruction: str) -> str:
        """The one that counts where only one does."""
        return self.all(instruction)[-1]

    def command(self, instruction: str) -> list[str]:
        """CMD, ENTRYPOINT or the command of HEALTHCHECK, in the form that needs no shell."""
        words = json.loads(self.last(instruction).partition("CMD ")[2] or self.last(instruction))
        assert isinstance(words, list)
        return words

    def pairs(self, instruction: str) -> dict[str, str]:
        """LABEL or ENV."""
        words = [word for text in self.all(instruction) for word in shlex.split(text)]
        return {key: value for key, _, value in (word.partition("=") for word in words)}


def read() -> dict[str, Stage]:
    """The stages by name; the last one is the default."""
    text = "\n".join(line for line in PATH.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    stages: dict[str, Stage] = {}
    for line in filter(None, _CONTINUED.sub(" ", text).splitlines()):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            found = _STAGE.fullmatch(rest)
            assert found is not None, f"{line}: a stage has a name"
            inherited = stages.get(found["base"])
            current = Stage(
                name=found["name"],
                base=inherited.base if inherited else found["base"],
                instructions=inherited.instructions if inherited else (),
            )
        else:
            current = Stage(
                name=current.name, base=current.base, instructions=(*current.instructions, (instruction, rest.strip()))
            )
        stages[current.name] = current
    return stages
