"""Reply, headers, metrics, access log, ledger and budgets tell the same tokens and the same money, to the last digit.

What is expected is reckoned here, from what the fake provider said it used and from prices written by hand. A further
source of the same truth is a function more in ``SOURCES``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import openai
import pytest

from tests.envoy.bill_checks import (
    ALL_MODELS,
    BOTH_MODES,
    MODELS,
    assert_all_agree,
    assert_ledger_agrees,
    assert_sums_agree,
)
from tests.envoy.bill_sources import SOURCES, told_by_headers, told_by_reply
from tests.envoy.till import SECRET, Till
from tests.fakes import CutAt, Edited, Encoded, Fault, ResetBeforeHeaders, Status

TELL_OF_NO_CACHE: Final = {"cohere", "mistral", "ollama"}
CITY: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PICTURE: Final = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
PICTURED: Final = [
    {"role": "user", "content": [{"type": "text", "text": "What are these?"}, PICTURE, PICTURE]},
    {"role": "assistant", "content": "Two."},
    {"role": "user", "content": [PICTURE]},
]
TOOLS: Final = [{"type": "function", "function": {"name": "get_weather", "description": "W.", "parameters": CITY}}]


@BOTH_MODES
@ALL_MODELS
@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        pytest.param({}, None, id="cached"),
        pytest.param({"text": "[words=300]"}, None, id="long"),
        pytest.param({"tools": TOOLS}, None, id="tools"),
        pytest.param({"reasoning_effort": "low"}, None, id="reasoning"),
        pytest.param({}, Encoded("gzip"), id="gzip"),
    ],
)
def test_answer_has_one_bill(
    till: Till, model: str, fields: dict[str, Any], fault: Fault | None, *, stream: bool
) -> None:
    """The fakes report cached and reasoning tokens with every answer."""
    till.fakes[model].always = fault
    seen = till.chat(model, stream=stream, **fields)
    told = assert_all_agree(seen, model)
    assert told_by_reply(seen, model) is not None
    assert (told_by_headers(seen, model) is None) is stream
    assert told.cost
    assert (told.tokens.get("cached_input", 0) > 0) is (model not in TELL_OF_NO_CACHE)


@BOTH_MODES
def test_embedded_model_costs_nothing(till: Till, *, stream: bool) -> None:
    """And says so: 0 is a price, and no price is none."""
    seen = till.chat("kortex-demo", stream=stream)
    assert assert_all_agree(seen, "demo").cost == 0
    if not stream:
        assert seen.headers["x-kortex-cost"] == "0 USD"


@ALL_MODELS
def test_streamed_bill_is_that_of_the_whole_answer(till: Till, model: str) -> None:
    """The same tokens, the same money."""
    whole, streamed = (assert_all_agree(till.chat(model, stream=stream), model) for stream in (False, True))
    assert whole == streamed


@BOTH_MODES
@MODELS
@pytest.mark.parametrize("fault", [Status(503), ResetBeforeHeaders()], ids=["refused", "reset"])
def test_failure_costs_nothing_and_the_next_backend_has_its_own_bill(
    till: Till, model: str, fault: Fault, *, stream: bool
) -> None:
    """Nobody bills a request that was refused, or was not answered with a word."""
    till.fakes[model].always = fault
    seen = till.chat(model, stream=stream, attempts=2)
    assert_all_agree(seen, "openai" if model == "own" else "own")
    line = seen.line(model)
    assert (line["usage_source"], line.get("cost"), line.get("input_tokens")) == ("none", None, None)


@BOTH_MODES
def test_answer_without_usage_is_counted(till: Till, *, stream: bool) -> None:
    """By the text, and said to be an estimate."""

    def without(document: dict[str, Any]) -> dict[str, Any] | None:
        document.pop("usage", None)
        return document if document["choices"] else None

    till.fakes["own"].always = Edited(without)
    told = assert_all_agree(till.chat("own", stream=stream), "own", source="estimated")
    assert told.tokens == {"input": told.tokens["input"], "output": told.tokens["output"]}
    assert told.tokens["output"] >= 4


def test_model_without_a_price_is_answered_and_counted(till: Till) -> None:
    """Its cost is unknown, which is not 0."""
    seen = till.chat("local")
    assert "x-kortex-cost" not in seen.headers
    assert seen.headers["x-kortex-usage"].endswith("source=reported")
    assert "cost" not in seen.line("local")
    assert seen.grown['kortex_unpriced_answers_total{backend="local",route="local"}'] == 1
    assert not [name for name in seen.grown if name.startswith("kortex_cost")]


def test_model_without_a_price_is_refused_where_it_has_to_have_one(till: Till) -> None:
    """Before anybody is asked, or in favour of a backend that has one."""
    before = till.counters()
    reply = till.post(till.body("strict"))
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "model_unpriced", "model")
    assert "strict" in error["message"]
    assert till.fakes["own"].requests == []
    assert till.counters() == before
    assert assert_all_agree(till.chat("strict-pair"), "own").cost


def test_model_without_a_price_has_the_one_for_all(till: Till) -> None:
    """``unpriced`` may be a price."""
    assert assert_all_agree(till.chat("default"), "default").currency == "USD"


def test_service_tier_of_the_reply_sets_the_price(till: Till) -> None:
    """Priority costs more, and the reply says whether it was."""

    def priority(document: dict[str, Any]) -> dict[str, Any]:
        return document | {"service_tier": "priority"}

    plain = assert_all_agree(till.chat("openai"), "openai").cost
    till.fakes["openai"].always = Edited(priority)
    for stream in (False, True):
        seen = till.chat("openai", stream=stream)
        costs = {Decimal(str(told.cost)) for tell in SOURCES if (told := tell(seen, "openai")) is not None}
        assert costs == {Decimal(str(plain)) * Decimal("1.7")}


@BOTH_MODES
def test_batch_of_a_backend_with_a_cost_is_a_multiple_of_it(till: Till, *, stream: bool) -> None:
    """Of its tokens; its own list says half."""

    def batch(document: dict[str, Any]) -> dict[str, Any]:
        return document | {"service_tier": "batch"}

    till.fakes["own"].always = Edited(batch)
    assert_all_agree(till.chat("own", stream=stream), "own", tier=Decimal("0.5"))


@BOTH_MODES
def test_images_of_a_request_are_on_its_own_bill(till: Till, *, stream: bool) -> None:
    """Each of them, wherever it stands in the conversation."""
    assert_all_agree(till.chat("own", stream=stream, messages=PICTURED), "own", images=3)
    till.fakes["own"].always = Status(503)
    assert_all_agree(till.chat("own", stream=stream, attempts=2, messages=PICTURED), "openai")


def test_official_client_reads_what_it_costs(till: Till) -> None:
    """Fields that it does not know are kept beside the others."""
    with openai.OpenAI(base_url=till.gateway.base_url, api_key=SECRET, max_retries=0) as client:
        chunks = list(
            client.chat.completions.create(
                model="openai",
                messages=[{"role": "user", "content": "hello"}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    usage: Any = chunks[-1].usage
    assert usage.cost > 0
    assert usage.cost_currency == "USD"


def test_list_of_prices_is_shown_with_its_date(till: Till) -> None:
    """At /config, as `kortex version` has it."""
    assert till.gateway.described()["prices"].startswith("genai-prices ")


def test_ledger_has_what_all_others_tell(till: Till) -> None:
    """Of everything that was asked above, each attempt and each exchange."""
    till.fakes["openai"].always = CutAt(250, "fin", pause=0.2)
    till.chat("openai", attempts=2)
    till.chat("local")
    assert_ledger_agrees(till)


def test_sums_are_those_of_the_attempts(till: Till) -> None:
    """``kortex usage``, and what all budgets together have counted."""
    till.chat("own")
    till.chat("openai", stream=True)
    assert_sums_agree(till)
