"""What shall happen to one request, told by a mark in its prompt, so that calls may run side by side."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Final

from extproc.selftest.fault import DOWN, HEALTHY, Act, Fault

_MARK: Final = re.compile(rb"kortex-selftest-(\d+)\b")


@dataclass(slots=True, kw_only=True)
class Scenario:
    """The first ``down`` backends that are asked refuse, the next one has the fault, all others are well.

    Told by the order of asking, and not by name, it holds for whatever order the gateway decides on.
    """

    fault: Fault
    down: int = 0
    late: float = 0.0
    """Seconds that a slow answer takes to begin."""
    asked: list[str] = field(default_factory=list)
    """Backends, one for each request that arrived."""

    @property
    def tried(self) -> tuple[str, ...]:
        """The backends that were asked, each once, in order."""
        return tuple(dict.fromkeys(self.asked))

    @property
    def victim(self) -> str | None:
        """Who had the fault; None when nobody was asked that far."""
        tried = self.tried
        return tried[self.down] if len(tried) > self.down else None

    def ask(self, backend: str) -> Fault:
        """A request has arrived at a backend: what it does."""
        self.asked.append(backend)
        place = self.tried.index(backend)
        if place < self.down:
            return DOWN
        if place > self.down or (self.fault.act is Act.STATUS_ONCE and self.asked.count(backend) > 1):
            return HEALTHY
        return self.fault


class Scenarios:
    """All of a run, by the mark in their prompts."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._known: dict[int, Scenario] = {}

    def add(self, scenario: Scenario) -> str:
        """The prompt that carries it."""
        number = next(self._numbers)
        self._known[number] = scenario
        return f"kortex-selftest-{number} asks: is all well?"

    def find(self, body: bytes) -> Scenario | None:
        """By a request's body; None for requests that are none of ours, such as health checks."""
        found = _MARK.search(body)
        return None if found is None else self._known.get(int(found[1]))
