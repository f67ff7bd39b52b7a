"""What limits and budgets need of whatever keeps their counters. ``tests/unit/quota`` holds every store to it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from extproc.admission.charge import Line, Reserved, Settlement


class StoreUnavailable(Exception):
    """The counters could not be reached in time; the message says why, without credentials."""


class QuotaStore(Protocol):
    """Each method is one transaction: what happens at once happens as if one after the other."""

    def now(self) -> float:
        """Unix seconds by the store's own clock, which all who share it share too."""

    def reserve(self, reservation: str, lines: Sequence[Line], *, lasts: float) -> Awaitable[Reserved]:
        """Take every line, or none when one that is enforced does not fit.

        What is held in windows is given back after ``lasts`` seconds, unless the reservation is settled before.
        Raises StoreUnavailable.
        """

    def reserve_here(self, reservation: str, lines: Sequence[Line], *, lasts: float) -> Reserved | None:
        """The same at once, of what this process may hand out by itself; None where ``reserve`` has to be asked."""

    def settle(self, batch: str, settlements: Sequence[Settlement]) -> Awaitable[None]:
        """Book what was used. A reservation that has expired has given back what it held; the rest counts all the same.

        ``batch`` names the settlements: a batch that is sent again, because the answer got lost, is booked once. Until
        they are first looked at, more may join them. Raises StoreUnavailable.
        """

    def settle_here(self, settlement: Settlement) -> bool:
        """Book it at once, of what this process has handed out by itself; whether it was that."""

    async def first(self, mark: str, *, until: float | None) -> bool:
        """Set a mark, to be forgotten after ``until``: whether nobody had set it yet. Raises StoreUnavailable."""

    async def tend(self) -> None:
        """What is to be done once a second: until then, what has expired may still be held. Raises StoreUnavailable."""

    async def close(self) -> None:
        """Let go of files and connections."""
