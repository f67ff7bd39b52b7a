"""From an attempt's outcome to what is booked for it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from extproc.admission.charge import Line, Settled, Settlement, Unit, Window
from extproc.exchange.charging import used_by
from extproc.exchange.outcome import Outcome
from extproc.openai.usage import Usage
from extproc.quota.embedded import EmbeddedStore

SCRIPTED = {"input": 2**64 - 1, "output": 2**64 - 1}


async def test_a_server_that_reports_nonsense_does_not_end_the_counting(tmp_path: Path) -> None:
    """Any 64 bits are JSON; a store that cannot take them in would take nothing any more."""
    money = SimpleNamespace(amount=Decimal(10) ** 40, currency="USD")
    outcome = SimpleNamespace(usage=Usage(**SCRIPTED), cost=money)
    used = used_by(cast("Outcome", cast("Any", outcome)))
    store = EmbeddedStore(tmp_path / "quota.db", lambda: 0.0)
    window = Window(limit=10, slot=0, first=0, ends=None, until=None)
    line = Line(counter="c", unit=Unit.TOKENS, amount=1, measure=window)
    for name in ("first", "second"):
        amounts = (used.tokens, used.money)
        lines = tuple(Settled(counter="c", slot=0, held=0, used=amount) for amount in amounts)
        await store.reserve(f"r-{name}", [line], lasts=1.0)
        await store.settle(name, [Settlement(reservation=f"r-{name}", lines=lines, closes=False)])
    reserved = await store.reserve("last", [line], lasts=1.0)
    await store.close()
    assert not reserved.granted
