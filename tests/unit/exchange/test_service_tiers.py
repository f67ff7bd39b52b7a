"""A call that asks to be served faster, at a higher price: more is held for it."""

from __future__ import annotations

from typing import Final

import orjson
import pytest

from extproc.config.load import load
from extproc.exchange.arrival import plan_call
from extproc.exchange.snapshot import compile_snapshot
from extproc.headers import Headers
from extproc.providers.registry import PROVIDERS, SETTINGS

CONFIG: Final = """
backends:
  own:
    provider: vllm
    url: "http://own.test:8000"
    cost: {inputTokenCost: "0", outputTokenCost: "1", serviceTiers: {priority: "1.75", flex: "0.5"}}
routes: {own: {models: [own], defaultBackend: {name: own}}}
budgets: [{name: b, amount: "100", window: total, estimator: {output: requested}}]
"""
NOW: Final = 1_700_000_000.0


@pytest.mark.parametrize(
    ("tier", "held"),
    [
        pytest.param(None, 1_000_000_000, id="none"),
        pytest.param("default", 1_000_000_000, id="default"),
        pytest.param("priority", 1_750_000_000, id="dearer"),
        # It may be served as any other call is.
        pytest.param("flex", 1_000_000_000, id="cheaper"),
        pytest.param(["priority"], 1_000_000_000, id="nonsense"),
    ],
)
def test_the_price_of_the_tier_that_is_asked_for_is_held(tier: object, held: int) -> None:
    """In billionths, for a thousand tokens."""
    snapshot = compile_snapshot(
        load(CONFIG.encode(), SETTINGS).config,
        number=1,
        loaded_at=NOW,
        providers=PROVIDERS,
        credentials={"own": lambda: None},
    )
    body = {"model": "own", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1_000, "service_tier": tier}
    headers = Headers([(":method", "POST"), (":path", "/v1/chat/completions")])
    plan = plan_call(headers, orjson.dumps(body), snapshot=snapshot, now=lambda: NOW, decision_id="d", exchange="e")
    assert plan.charge is not None
    assert [line.amount for line in plan.charge.lines(NOW)] == [held]
