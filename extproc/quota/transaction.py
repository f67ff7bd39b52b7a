"""One transaction for what is asked for at about the same time: half its cost is its beginning and end.

Who is in a hurry has it at once, without a turn of the event loop, which would cost as much again; whoever else asks in
the same turn shares the next one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from extproc.quota.store import StoreUnavailable

_BUSY: Final = sqlite3.SQLITE_BUSY
_PATIENCE: Final = 1.0
_GLANCE: Final = 0.000_2
_LONGEST_GLANCE: Final = 0.005

_Answer = TypeVar("_Answer")


class _Asked(NamedTuple):
    work: Callable[[], Any]
    answer: asyncio.Future[Any]
    deadline: float


class Ended(Protocol):
    """Told of the end of every transaction."""

    def __call__(self, *, done: bool) -> None:
        """Not ``done``: nothing of it was."""


class SharedTransaction:
    """``database`` is left alone by everybody else. When another process has it, the loop goes on and looks again.

    ``begin`` is done at the beginning of each, ``end`` before a commit.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        path: Path,
        *,
        begin: Callable[[], None],
        end: Callable[[], None],
        ended: Ended,
    ) -> None:
        self._database = database
        self._path = path
        self._begun = begin
        self._end = end
        self._ended = ended
        self._asked: list[_Asked] = []
        self._next: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._is_turn_taken = False
        self._wait = _GLANCE

    def do(self, work: Callable[[], _Answer], *, within: float = 0.0) -> asyncio.Future[_Answer]:
        """What ``work`` returns, once that is committed; in the order of asking.

        ``within`` is how many seconds it may wait for somebody in a hurry. What is cancelled before it begins is not
        done. The answer may be StoreUnavailable.
        """
        loop = asyncio.get_running_loop()
        asked = _Asked(work, loop.create_future(), loop.time() + within + _PATIENCE)
        self._asked.append(asked)
        if within:
            self.begin_within(within)
        elif self._next is None:
            if self._is_turn_taken:
                self._next = loop.call_soon(self._begin)
            else:
                self._is_turn_taken = True
                loop.call_soon(self._end_turn)
                self._begin()
        return asked.answer

    def begin_within(self, seconds: float) -> None:
        """At the latest, where somebody asks for one meanwhile."""
        loop = asyncio.get_running_loop()
        if self._later is not None:
            if self._later.when() <= loop.time() + seconds:
                return
            self._later.cancel()
        self._later = loop.call_later(seconds, self._begin_later)

    def _end_turn(self) -> None:
        self._is_turn_taken = False

    def _begin_later(self) -> None:
        self._later = None
        if self._next is None:
            self._begin()

    def _begin(self) -> None:
        self._next = None
        if self._later is not None:
            self._later.cancel()
            self._later = None
        asked = [one for one in self._asked if not one.answer.done()]
        self._asked = []
        if not asked:
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._look_again(asked, error)
        else:
            self._wait = _GLANCE
            self._work(asked)

    def _look_again(self, asked: Sequence[_Asked], error: sqlite3.Error) -> None:
        loop = asyncio.get_running_loop()
        busy = isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == _BUSY
        for one in asked:
            if busy and loop.time() <= one.deadline:
                self._asked.append(one)
            else:
                self._fail(one, error)
        if self._asked:
            self._next = loop.call_later(self._wait, self._begin)
            self._wait = min(self._wait * 2, _LONGEST_GLANCE)

    def _work(self, asked: Sequence[_Asked]) -> None:
        try:
            self._begun()
            answers = [one.work() for one in asked]
            self._end()
            self._database.execute("COMMIT")
        except Exception as error:  # whatever it is, whoever asked is told
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            self._ended(done=False)
            self._work_alone(asked, error)
            return
        self._ended(done=True)
        for one, answer in zip(asked, answers, strict=True):
            if not one.answer.done():
                one.answer.set_result(answer)

    def _work_alone(self, asked: Sequence[_Asked], error: Exception) -> None:
        """What fails for one must not fail for those who only shared its transaction."""
        if len(asked) == 1:
            self._fail(asked[0], error)
            return
        for one in asked:
            try:
                self._database.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as busy:
                self._fail(one, busy)
            else:
                self._work([one])

    def _fail(self, one: _Asked, error: Exception) -> None:
        if one.answer.done():
            return
        if isinstance(error, sqlite3.Error):
            unavailable = StoreUnavailable(f"{self._path}: {error}")
            unavailable.__cause__ = error
            error = unavailable
        one.answer.set_exception(error)
