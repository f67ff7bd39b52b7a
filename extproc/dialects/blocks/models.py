"""What differs between generations of Claude, by the model's name: https://platform.claude.com/docs/en/about-claude/models"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# claude-opus-4-6, claude-sonnet-4-5-20250929, us.anthropic.claude-haiku-4-5-20251001-v1:0, claude-fable-5 …
_NAME: Final = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?!\d)(?:-(\d{1,2})(?!\d))?")
# claude-3-7-sonnet-20250219, claude-3-haiku-20240307
_OLD_NAME: Final = re.compile(r"claude-(\d)(?:-(\d))?-(opus|sonnet|haiku)")
# claude-sonnet-4-5-20250929, and …-20250929-v1:0 or just …-v1 on Bedrock.
_DATE: Final = re.compile(r"[-@]20\d{6}.*$|-v\d+(?::\d+)?$")

_ALWAYS_THINKING: Final = frozenset({"fable", "mythos"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """``max_tokens`` is asked for when the client sets no limit: the maximum, where a long prompt allows that."""

    max_tokens: int = 64_000
    thinks: bool = True
    adaptive: bool = False
    """Thinking is ``adaptive`` with an effort; otherwise ``enabled`` with a budget."""
    thinking_optional: bool = True
    """``disabled`` is accepted."""
    thinks_unasked: bool = False
    efforts: frozenset[str] = frozenset()
    """The values of ``output_config.effort``."""
    samples: bool = True
    """temperature, top_p and top_k are accepted."""
    samples_both: bool = True
    """temperature and top_p are accepted together."""
    forces_tools: bool = True
    """``tool_choice`` may be ``any`` or ``tool``."""
    structured: bool = True
    """``output_config.format`` and strict tools."""
    system_turns: bool = False
    """``role: system`` is accepted after a user's turn."""


@lru_cache(maxsize=256)
def model_facts(name: str) -> Model:
    """The facts of a model. One of another maker behind Anthropic's API is taken to be like Claude 4.5."""
    current = _NAME.search(name)
    if current is not None:
        return _claude(current[1], (int(current[2]), int(current[3] or 0)))
    old = _OLD_NAME.search(name)
    if old is not None:
        return _claude(old[3], (int(old[1]), int(old[2] or 0)))
    return Model(max_tokens=32_000)


def same_model(one: str, other: str) -> bool:
    """Whether two names mean one model: with its date, without, or with a platform's prefix."""
    return _plain_name(one) == _plain_name(other)


def _plain_name(name: str) -> str:
    return _DATE.sub("", name.rpartition("claude-")[2])


def _claude(line: str, version: tuple[int, int]) -> Model:
    if version < (4, 5):
        # Prompt and max_tokens together must fit the context window here; later models just stop at its end.
        return Model(
            max_tokens=8_192 if version >= (3, 5) else 4_096,
            thinks=version >= (3, 7),
            samples_both=version < (4, 1),
            structured=False,
        )
    if version < (4, 6):
        efforts = frozenset({"low", "medium", "high"}) if line == "opus" else frozenset[str]()
        return Model(efforts=efforts, samples_both=False)
    if version < (4, 7):
        return Model(
            max_tokens=128_000 if line == "opus" else 64_000,
            adaptive=True,
            efforts=frozenset({"low", "medium", "high", "max"}),
            samples_both=False,
        )
    always = line in _ALWAYS_THINKING or (line == "opus" and version >= (5, 5))
    return Model(
        max_tokens=128_000,
        adaptive=True,
        thinking_optional=not always,
        thinks_unasked=version >= (5, 0),
        efforts=frozenset({"low", "medium", "high", "xhigh", "max"}),
        samples=False,
        samples_both=False,
        forces_tools=not (always and version >= (5, 1)),
        system_turns=version >= (4, 8),
    )
