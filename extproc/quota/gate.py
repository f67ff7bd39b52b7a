"""Where requests are let through: reserves what they take, books what they used, and copes without a store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Final, NamedTuple, Protocol

from extproc.admission.charge import Line, Reserved, Settled, Settlement, Window, held_lines
from extproc.admission.judgement import Passed, brownout, over, passed, refusal
from extproc.admission.policy import Drawn
from extproc.admission.settlement import NOTHING_HELD, NOTHING_USED, Reservation, settle_attempt
from extproc.admission.small_change import SmallChange
from extproc.config.limits import Tier
from extproc.errors import QuotaUnavailable
from extproc.exchange.charging import Brownout, Charge
from extproc.headers import LIMIT
from extproc.metering.rates import Price
from extproc.quota.bookings import Bookings
from extproc.quota.store import QuotaStore, StoreUnavailable

_LOG: Final = logging.getLogger(__name__)
_MOST_MARKS: Final = 10_000
_TEND_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.2
_LOG_EVERY: Final = 10.0
_UNAVAILABLE: Final = "What this caller may still use cannot be counted at the moment. Please try again."


class Observer(Protocol):
    """Telemetry, as the gate sees it. Names come from the config."""

    def limited(self, policy: str, kind: str, mode: str) -> None:
        """A limit or budget had no room for a request; ``mode`` is ``enforce`` or ``shadow``."""

    def passed(self, budget: str, percent: int) -> None:
        """A budget has reached a threshold."""

    def uncounted(self, decision: str) -> None:
        """The store could not be reached for a request, which was let through (``open``) or refused (``closed``)."""

    def unsettled(self, count: int) -> None:
        """So many settlements were given up: the store was away for too long."""

    def store_up(self, *, up: bool) -> None:
        """Whether the store answered the last time."""


class Notifier(Protocol):
    """Whoever is told of thresholds."""

    def passed(self, event: Passed) -> None:
        """Once for each threshold of each budget's window, whatever the number of workers."""


class Admission(NamedTuple):
    """What was reserved, and how the request is made cheaper where a budget runs low."""

    reservation: Reservation
    brownout: Brownout | None = None


class Gate:
    """``run`` has to run beside it. ``lasts`` is how many seconds a reservation holds that nobody settles."""

    def __init__(self, store: QuotaStore, *, lasts: float, observer: Observer, notifier: Notifier) -> None:
        self._store = store
        self._lasts = lasts
        self._observer = observer
        self._notifier = notifier
        self._bookings = Bookings(store, self._named, away=self._complain, lost=observer.unsettled)
        self._own = secrets.token_hex(8)
        self._numbers = count()
        self._woken = asyncio.Event()
        self._told: dict[str, None] = {}
        self._news: deque[Passed] = deque()
        self._logged = float("-inf")
        self._up = False
        self._learning: asyncio.Task[None] | None = None

    async def admit(self, charge: Charge) -> Admission:
        """Raises RateLimited, BudgetExhausted and QuotaUnavailable."""
        identity = self._named()
        try:
            if not self._up:
                await self._learn_time()
            now = self._store.now()
            lines = charge.lines(now)
            reserved = await self._reserve(identity, lines)
        except StoreUnavailable as error:
            return self._uncounted(charge, error)
        if not self._up:
            self._up = True
            self._observer.store_up(up=True)
        found = None if charge.tariff.is_quiet(reserved) else self._judge(charge.tariff.drawn(lines), reserved, now)
        return Admission(
            charge.reservation(identity, lines, reserved),
            None if found is None else Brownout(budget=found[0], tier=found[1]),
        )

    async def extend(self, reservation: Reservation, *, tokens: int, price: Price | None) -> Reservation | None:
        """More for a stream that goes on; None: its budget has no more.

        While nobody can count, it goes on: it was let through when somebody could.
        """
        identity = self._named()
        lines = [growth.line(tokens, price) for growth in reservation.growths]
        try:
            reserved = await self._reserve(identity, lines)
        except StoreUnavailable as error:
            self._complain(error)
            return NOTHING_HELD
        return Reservation(id=identity, held=held_lines(lines, reserved)) if reserved.granted else None

    async def _learn_time(self) -> None:
        """Windows are cut by the store's clock, which it tells with its answers; our own may be wrong.

        Once for all who come before it has answered.
        """
        if self._learning is None or self._learning.done():
            self._learning = asyncio.create_task(self._store.tend())
        await asyncio.shield(self._learning)

    def _named(self) -> str:
        """What no other process calls its own. One after the other, so that they are kept beside each other."""
        return f"{self._own}-{next(self._numbers):x}"

    async def _reserve(self, identity: str, lines: Sequence[Line]) -> Reserved:
        here = self._store.reserve_here(identity, lines, lasts=self._lasts)
        if here is not None:
            return here
        try:
            return await self._store.reserve(identity, lines, lasts=self._lasts)
        except asyncio.CancelledError:
            # Only the store knows whether all was taken or nothing. Where some may have been, it has to expire.
            if all(line.enforced for line in lines):
                self.settle(Settlement(reservation=identity, lines=tuple(_returned(lines)), closes=True))
            raise

    def settle(self, settlement: Settlement) -> None:
        """Book it soon: off the request's path, many at once."""
        if not self._store.settle_here(settlement):
            self._bookings.add(settlement)

    def give_back(self, reservation: Reservation) -> None:
        """The request went away before anybody was asked."""
        settlement = settle_attempt(reservation, NOTHING_USED, SmallChange(), final=True)
        if settlement is not None:
            self.settle(settlement)

    async def run(self) -> None:
        """Until it is cancelled, when what is still to be booked is booked."""
        tending = asyncio.create_task(self._tend())
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                await self._pass_on()
                _end_if_cancelled()
        finally:
            tending.cancel()
            try:
                await self._bookings.finish()
                with contextlib.suppress(StoreUnavailable):
                    await self._pass_on_once()
            finally:
                await self._store.close()

    async def _pass_on(self) -> None:
        """All news; while the store is away, again and again."""
        while self._news:
            try:
                await self._pass_on_once()
            except StoreUnavailable as error:
                self._complain(error)
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:
                event = self._news.popleft()
                _LOG.exception("nobody can be told that budget %s is used up to %d %%", event.budget, event.percent)

    async def _pass_on_once(self) -> None:
        while self._news:
            event = self._news[0]
            mark = f"{event.counter}/{event.slot}/{event.percent}"
            is_first = await self._store.first(mark, until=event.ends)
            self._news.popleft()
            if is_first:
                _LOG.warning("budget %s is used up to %d %%", event.budget, event.percent)
                self._observer.passed(event.budget, event.percent)
                self._notifier.passed(event)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_TEND_SECONDS)
            try:
                await self._store.tend()
            except StoreUnavailable as error:
                self._complain(error)
            except Exception:
                _LOG.exception("what has expired could not be given back; it is tried again")

    def _judge(self, drawn: Sequence[Drawn], reserved: Reserved, now: float) -> tuple[str, Tier] | None:
        """The budget that makes the call cheaper, and how. Raises RateLimited and BudgetExhausted."""
        self._tell(drawn, reserved)
        if not reserved.granted:
            refused = refusal(drawn, reserved, now=now)
            self._observer.limited(dict(refused.headers)[LIMIT], refused.type, "enforce")
            raise refused
        return brownout(drawn, reserved)

    def _tell(self, drawn: Sequence[Drawn], reserved: Reserved) -> None:
        for policy, line in over(drawn, reserved):
            _LOG.info("limit %s would have refused a request: too many %s", policy.name, line.unit.value)
            self._observer.limited(policy.name, line.unit.value, "shadow")
        for event in passed(drawn, reserved):
            key = f"{event.counter}/{event.slot}/{event.percent}"
            if key not in self._told:
                if len(self._told) >= _MOST_MARKS:
                    del self._told[next(iter(self._told))]
                self._told[key] = None
                self._news.append(event)
                self._woken.set()

    def _uncounted(self, charge: Charge, error: StoreUnavailable) -> Admission:
        self._complain(error)
        if charge.tariff.closed:
            self._observer.uncounted("closed")
            raise QuotaUnavailable(_UNAVAILABLE) from error
        self._observer.uncounted("open")
        return Admission(reservation=NOTHING_HELD)

    def _complain(self, error: StoreUnavailable) -> None:
        self._up = False
        self._observer.store_up(up=False)
        now = asyncio.get_running_loop().time()
        if now - self._logged >= _LOG_EVERY:
            self._logged = now
            _LOG.error("limits and budgets cannot be counted: %s", error)


def _end_if_cancelled() -> None:
    """A store's client may have kept the cancelling of this task to itself. Raises CancelledError."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _returned(lines: Sequence[Line]) -> Iterator[Settled]:
    for line in lines:
        if isinstance(line.measure, Window):
            yield Settled(counter=line.counter, slot=line.measure.slot, held=line.amount, used=0)
