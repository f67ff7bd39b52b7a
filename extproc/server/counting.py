"""The gate of one process, with the store behind it: there from the first config on that counts anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry

from extproc.admission.settlement import NOTHING_HELD, Reservation, settle_attempt
from extproc.admission.small_change import SmallChange
from extproc.errors import QuotaUnavailable
from extproc.exchange.charging import Charge, used_by
from extproc.exchange.outcome import Outcome
from extproc.exchange.snapshot import Snapshot
from extproc.metering.rates import Price
from extproc.quota.gate import Admission, Gate
from extproc.quota.open_store import open_store
from extproc.telemetry.quota_metrics import QuotaMetrics

if TYPE_CHECKING:
    from extproc.quota.webhook import Receiver

_NO_GATE: Final = "Limits and budgets are not counted yet."


class Counting:
    """``configure`` before a snapshot serves."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._receivers: Mapping[str, Receiver] = {}
        self._gate: Gate | None = None
        self._change = SmallChange()
        self._tasks: list[asyncio.Task[None]] = []

    def configure(self, snapshot: Snapshot) -> None:
        """Raises StoreUnavailable when the store cannot be opened."""
        if self._gate is None and not snapshot.counts:
            return
        # Its HTTP client is a tenth of what a worker imports, and most gateways have no limits.
        from extproc.quota.webhook import Receiver, Webhooks  # noqa: PLC0415 - as above

        self._receivers = {
            budget: Receiver(url=url, secret=secret) for budget, (url, secret) in snapshot.webhooks.items()
        }
        if self._gate is not None:
            return
        quota = snapshot.config.quota
        webhooks = Webhooks(lambda: self._receivers)
        self._gate = Gate(
            open_store(quota, snapshot.quota_password),
            lasts=quota.reservations_expire / 1_000,
            observer=QuotaMetrics(self._registry),
            notifier=webhooks,
        )
        self._tasks = [asyncio.create_task(self._gate.run()), asyncio.create_task(webhooks.run())]

    def admit(self, charge: Charge) -> Coroutine[Any, Any, Admission]:
        """See Gate."""
        if self._gate is None:
            raise QuotaUnavailable(_NO_GATE)
        return self._gate.admit(charge)

    async def extend(self, reservation: Reservation, *, tokens: int, price: Price | None) -> Reservation | None:
        """See Gate. Another process let the request through where this one counts nothing yet."""
        if self._gate is None:
            return NOTHING_HELD
        return await self._gate.extend(reservation, tokens=tokens, price=price)

    def give_back(self, reservation: Reservation) -> None:
        """See Gate."""
        if self._gate is not None:
            self._gate.give_back(reservation)

    def ended(self, outcome: Outcome) -> None:
        """Book what an attempt used."""
        if self._gate is not None and outcome.reservation.id:
            used, final = used_by(outcome), outcome.final
            settlement = settle_attempt(
                outcome.reservation, used, self._change, final=final, abandoned=outcome.abandoned
            )
            if settlement is not None:
                self._gate.settle(settlement)

    async def stop(self) -> None:
        """Book what is still to be booked, and end."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
