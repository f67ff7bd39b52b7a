"""Images that a backend charges for: counted on arrival, held before the call, on the bill after it."""

from __future__ import annotations

from typing import Any, Final

import orjson
import pytest

from extproc.config.load import load
from extproc.exchange.arrival import Planned, plan_call
from extproc.exchange.assignment import read_assignment
from extproc.exchange.snapshot import compile_snapshot
from extproc.headers import ASSIGNMENT, Headers
from extproc.providers.registry import PROVIDERS, SETTINGS

CONFIG: Final = """
backends:
  plain: {provider: vllm, url: "http://plain.test:8000", cost: &cost {inputTokenCost: "0", outputTokenCost: "0"}}
  seeing: {provider: vllm, url: "http://seeing.test:8000", cost: {<<: *cost, requestCost: "1", imageCost: "0.25"}}
routes:
  plain: {models: [plain], defaultBackend: {name: plain}}
  seeing: {models: [seeing], defaultBackend: {name: seeing}}
  either: {models: [either], defaultBackend: {name: plain}, fallback: {backends: [seeing]}}
budgets: [{name: b, amount: "100", window: total}]
"""
PICTURE: Final = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
TEXT: Final = {"type": "text", "text": "What is this?"}


def planned(model: str, *contents: Any) -> Planned:
    """A chat of these contents."""
    snapshot = compile_snapshot(
        load(CONFIG.encode(), SETTINGS).config,
        number=1,
        loaded_at=1_700_000_000.0,
        providers=PROVIDERS,
        credentials={"plain": lambda: None, "seeing": lambda: None},
    )
    body = {"model": model, "messages": [{"role": "user", "content": content} for content in contents]}
    headers = Headers([(":method", "POST"), (":path", "/v1/chat/completions")])
    return plan_call(
        headers, orjson.dumps(body), snapshot=snapshot, now=lambda: 1_700_000_000.0, decision_id="d", exchange="e"
    )


@pytest.mark.parametrize(
    ("model", "contents", "images", "held"),
    [
        pytest.param("seeing", [[TEXT, PICTURE, PICTURE], "And this?", [PICTURE]], 3, 1_750_000_000, id="three"),
        pytest.param("seeing", ["a picture, image_url"], 0, 1_000_000_000, id="none"),
        pytest.param("either", [[PICTURE]], 1, 1_250_000_000, id="the dearest of the plan"),
        pytest.param("plain", [[PICTURE]], 0, 0, id="not charged for"),
    ],
)
def test_images_are_counted_and_held(model: str, contents: list[Any], images: int, held: int) -> None:
    """In billionths, whichever backend of the plan is to answer; any worker may serve the attempt."""
    plan = planned(model, *contents)
    assert read_assignment(dict(plan.set_headers)[ASSIGNMENT].decode()).images == images
    assert plan.charge is not None
    assert [line.amount for line in plan.charge.lines(1_700_000_000.0)] == [held]


def test_the_cheapest_backend_is_found_with_images_in_mind() -> None:
    """Which is the same for a call without any."""
    plan = planned("seeing", [TEXT, PICTURE])
    (target,) = plan.route.targets
    assert str(plan.facts.estimated_cost(target)) == "1.25 USD"
