"""Settlements that are booked together, or not at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, overload

from extproc.admission.charge import Settlement

_MOST: Final = 32


class Batch(Sequence[Settlement]):
    """Of those that wait, taken from them by the first look at it: until then, more may join.

    So a store that books it a moment later than it is asked to books all that has come by then.
    """

    def __init__(self, name: str, waiting: deque[Settlement]) -> None:
        self.name = name
        self._waiting = waiting
        self._taken: list[Settlement] | None = None

    @overload
    def __getitem__(self, index: int) -> Settlement: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Settlement]: ...
    def __getitem__(self, index: int | slice) -> Settlement | Sequence[Settlement]:
        return self._all()[index]

    def __iter__(self) -> Iterator[Settlement]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> list[Settlement]:
        if self._taken is None:
            self._taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST))]
        return self._taken
