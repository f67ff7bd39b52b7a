"""Reply, headers, metrics, access log, ledger and budgets tell the same tokens and the same money, to the last digit.

What is expected is reckoned here, from what the fake provider said it used and from prices written by hand. A further
source of the same truth is a function more in ``SOURCES``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import openai
import pytest

from tests.envoy.bill_sources import (
    SOURCES,
    Seen,
    Tokens,
    Told,
    told_by_access_log,
    told_by_headers,
    told_by_ledger,
    told_by_reply,
)
from tests.envoy.till import SECRET, SHORT, Till, open_till
from tests.fakes import CutAfter, CutAt, Edited, Encoded, Fault, LingerAtEnd, Silence, SlowEvents, Status

CITY: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SPENT_COLUMNS: Final = ("input_tokens", "output_tokens")
TOKEN_COLUMNS: Final = (*SPENT_COLUMNS, "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")
TOOLS: Final = [{"type": "function", "function": {"name": "get_weather", "description": "W.", "parameters": CITY}}]


def price(backend: str, tokens: Tokens, *, answered: bool = True) -> tuple[Decimal | None, str | None]:
    """By hand: the providers' pages for a million tokens, and the config for a thousand."""
    rates = {
        "openai": ("2.5", "1.25", "0", "10", "0", "USD"),
        "claude": ("3", "0.3", "3.75", "15", "0", "USD"),
        "gemini": ("0.3", "0.03", "0", "2.5", "0", "USD"),
        "bedrock": ("3.3", "0.33", "4.125", "16.5", "0", "USD"),
        "cohere": ("2.5", "0", "0", "10", "0", "USD"),
        "own": ("1.1", "0.7", "1.1", "3.3", "0.01", "EUR"),
        "default": ("500", "500", "500", "1000", "0", "USD"),
        "demo": ("0", "0", "0", "0", "0", "USD"),
    }
    if backend not in rates:
        return None, None
    plain, cached, written, output, request = map(Decimal, rates[backend][:5])
    read, wrote = tokens.get("cached_input", 0), tokens.get("cache_write", 0)
    million = (tokens["input"] - read - wrote) * plain + read * cached + wrote * written + tokens["output"] * output
    return million / 1_000_000 + (request if answered else 0), rates[backend][5]


def assert_all_agree(seen: Seen, backend: str, *, source: str = "reported", answered: bool = True) -> Told:
    """Each source that has something to say says the same; at least log and metrics have."""
    told = {tell.__name__: found for tell in SOURCES if (found := tell(seen, backend)) is not None}
    assert {"told_by_access_log", "told_by_metrics"} <= set(told)
    line = told["told_by_access_log"]
    assert line.source == source
    cost, currency = price(backend, line.tokens, answered=answered)
    for name, found in told.items():
        nonzero = {kind: count for kind, count in found.tokens.items() if count}
        assert nonzero == {kind: count for kind, count in line.tokens.items() if count}, name
        free = name == "told_by_metrics" and found.cost is None and cost == 0
        assert free or (found.cost, found.currency) == (cost, currency), name
        assert found.source in {None, source}, name
    assert seen.counted == counted_for(seen)
    return line


def counted_for(seen: Seen) -> dict[str, int]:
    """What budgets should have grown by: all attempts of a request, each in its own currency, in billionths."""
    sums: Counter[str] = Counter()
    for line in seen.lines:
        sums["tokens"] += line.get("input_tokens", 0) + line.get("output_tokens", 0)
        if "cost" in line:
            sums[line["currency"]] += exact_billionths(line["cost"])
    return {name: count for name, count in sums.items() if count}


def exact_billionths(cost: str) -> int:
    """Of a bill whose prices have no finer part."""
    scaled = Decimal(cost) * 10**9
    assert scaled == int(scaled), cost
    return int(scaled)


@pytest.fixture(scope="module")
def shared_till(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Till]:
    """Started once; use ``till``."""
    with open_till(tmp_path_factory.mktemp("books")) as till:
        yield till


@pytest.fixture
def till(shared_till: Till) -> Till:
    """Healthy providers that have not been asked."""
    for fake in shared_till.fakes.values():
        fake.clear_faults()
        fake.clear()
    return shared_till


MODELS = pytest.mark.parametrize("model", ["openai", "claude", "gemini", "bedrock", "cohere", "own"])
BOTH_MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@BOTH_MODES
@MODELS
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
    assert (told.tokens.get("cached_input", 0) > 0) is (model != "cohere")


@BOTH_MODES
def test_embedded_model_costs_nothing(till: Till, *, stream: bool) -> None:
    """And says so: 0 is a price, and no price is none."""
    seen = till.chat("kortex-demo", stream=stream)
    assert assert_all_agree(seen, "demo").cost == 0
    if not stream:
        assert seen.headers["x-kortex-cost"] == "0 USD"


@MODELS
def test_streamed_bill_is_that_of_the_whole_answer(till: Till, model: str) -> None:
    """The same tokens, the same money."""
    whole, streamed = (assert_all_agree(till.chat(model, stream=stream), model) for stream in (False, True))
    assert whole == streamed


@BOTH_MODES
@MODELS
def test_refusal_costs_nothing_and_the_next_backend_has_its_own_bill(till: Till, model: str, *, stream: bool) -> None:
    """Nobody bills a request that was refused."""
    till.fakes[model].always = Status(503)
    seen = till.chat(model, stream=stream, attempts=2)
    assert_all_agree(seen, "openai" if model == "own" else "own")
    line = seen.line(model)
    assert (line["usage_source"], line.get("cost"), line.get("input_tokens")) == ("none", None, None)


@BOTH_MODES
@MODELS
def test_silence_is_billed_as_an_estimate(till: Till, model: str, *, stream: bool) -> None:
    """A provider that was at work when the time ran out may charge for the prompt; the answer has its own bill."""
    till.fakes[model].always = Silence()
    seen = till.chat(model, stream=stream, attempts=2)
    told = assert_all_agree(seen, model, source="estimated", answered=False)
    # "hello" with what its message takes, by the vocabulary that needs the fewest.
    assert told.tokens["input"] >= 3
    assert told.tokens["output"] == 0
    assert_all_agree(seen, "openai" if model == "own" else "own")


@MODELS
@BOTH_MODES
def test_client_that_leaves_at_the_start_has_its_prompt_estimated(till: Till, model: str, *, stream: bool) -> None:
    """Nothing has been said yet."""
    till.fakes[model].always = Silence()
    told = assert_all_agree(till.leave(model, stream=stream, sent=0), model, source="estimated", answered=False)
    assert told.tokens["output"] == 0


@MODELS
def test_client_that_leaves_in_the_middle_has_what_was_said_counted(till: Till, model: str) -> None:
    """With the tokens that Anthropic tells at the beginning; the others' prompts are estimated."""
    till.fakes[model].always = SlowEvents(0.05)
    seen = till.leave(model, stream=True, text="[words=300]", sent=200, until=b"word5")
    told = assert_all_agree(seen, model, source="estimated", answered=False)
    assert 5 <= told.tokens["output"] < 200
    assert told.tokens["input"] > 3
    assert ("cache_write" in told.tokens) is (model == "claude")


@MODELS
@pytest.mark.parametrize("how", ["fin", "reset", "clean"])
def test_stream_that_is_cut_has_what_was_said_counted(till: Till, model: str, how: Any) -> None:
    """The client is told that it broke off, the bill what it had said."""
    till.fakes[model].always = CutAfter(8, how, pause=0.2)
    seen = till.chat(model, stream=True, text="[words=100]")
    told = assert_all_agree(seen, model, source="estimated", answered=False)
    assert 3 <= told.tokens["output"] <= 60
    assert seen.line(model)["outcome"] != "answered"


@MODELS
def test_whole_answer_that_is_cut_is_estimated_and_the_next_backend_asked(till: Till, model: str) -> None:
    """It had been produced, and will be billed."""
    till.fakes[model].always = CutAt(250, "fin", pause=0.2)
    seen = till.chat(model, attempts=2)
    told = assert_all_agree(seen, model, source="estimated", answered=False)
    assert told.tokens["output"] > 20
    assert_all_agree(seen, "openai" if model == "own" else "own")


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


@MODELS
@pytest.mark.parametrize("fault", [None, LingerAtEnd()], ids=["ends", "lingers"])
def test_client_that_leaves_at_the_end_has_the_bill_of_the_whole_answer(
    till: Till, model: str, fault: Fault | None
) -> None:
    """It has read everything but the end of the connection, whether the provider has ended its own or not."""
    if model == "gemini" and fault is not None:
        pytest.skip("the end of its connection is the only end that Gemini has")
    whole = assert_all_agree(till.chat(model), model)
    till.fakes[model].clear()
    till.fakes[model].always = fault
    seen = till.leave(model, stream=True, sent=1, until=b"[DONE]")
    assert assert_all_agree(seen, model) == whole
    assert seen.line(model)["outcome"] == "answered"


@MODELS
def test_stream_that_its_budget_ends_has_the_bill_that_its_client_is_told(till: Till, model: str) -> None:
    """It is an answer, with the price of a request; what had been said when it was ended is counted."""
    till.fakes[model].always = SlowEvents(0.005)
    seen = till.chat(model, stream=True, text="[words=400]", secret=SHORT)
    told = assert_all_agree(seen, model, source="estimated")
    assert told_by_reply(seen, model) is not None
    assert 5 < told.tokens["output"] < 200
    assert seen.line(model)["outcome"] == "answered"


def test_ledger_has_what_all_others_tell(till: Till) -> None:
    """Of everything that was asked above, each attempt and each exchange."""
    till.fakes["openai"].always = CutAt(250, "fin", pause=0.2)
    till.chat("openai", attempts=2)
    till.chat("local")
    attempts = by_request(till, "attempts")
    exchanges = by_request(till, "exchanges")
    for seen in till.seen:
        request_id, last = seen.lines[-1]["request_id"], seen.lines[-1]["backend"]
        told = {row["backend"]: told_by_ledger(row) for row in attempts[request_id]}
        assert told == {line["backend"]: told_by_access_log(seen, line["backend"]) for line in seen.lines}
        (exchange,) = exchanges[request_id]
        assert (exchange["backend"], exchange["attempts"]) == (last, len(seen.lines)), seen.lines
        assert told_by_ledger(exchange) == told[last]


def test_sums_are_those_of_the_attempts(till: Till) -> None:
    """``kortex usage``, and what all budgets together have counted."""
    till.chat("own")
    till.chat("openai", stream=True)
    rows = [row for booked in by_request(till, "attempts").values() for row in booked]
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    tokens: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for name in row:
            if name.endswith("_tokens"):
                tokens[row["backend"], name] += row[name] or 0
        if row["cost"] is not None:
            sums[row["backend"], row["currency"]] += Decimal(row["cost"])
    usage = kortex_usage(till)
    costs = {(row["backend"], row["currency"]): Decimal(row["cost"]) for row in usage if row["cost"] is not None}
    assert costs == sums
    backends = {row["backend"] for row in rows}
    told = {(row["backend"], name): row[name] for row in usage if row["backend"] in backends for name in TOKEN_COLUMNS}
    assert told == {(backend, name): tokens[backend, name] for backend in backends for name in TOKEN_COLUMNS}
    counters = till.counters()
    for currency in ("USD", "EUR"):
        spent = sum(cost for (_, of), cost in sums.items() if of == currency)
        assert Decimal(counters[currency]).scaleb(-9) == spent
    assert counters["tokens"] == sum(tokens[backend, name] for backend in backends for name in SPENT_COLUMNS)


def by_request(till: Till, table: str) -> dict[str, list[dict[str, Any]]]:
    """The ledger's rows, when it has those of the newest request."""
    newest = till.seen[-1].lines[-1]["request_id"]

    def booked() -> list[dict[str, Any]] | None:
        rows = till.rows("usage.db", f"SELECT * FROM {table}")  # noqa: S608 - one of two names, written above
        return rows if any(row["request_id"] == newest for row in rows) else None

    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in till.gateway.until(booked, f"its {table} are booked"):
        found[row["request_id"]].append(row)
    return found


def kortex_usage(till: Till) -> list[dict[str, Any]]:
    """By backend, as the command tells it."""
    command = [sys.executable, "-m", "extproc.cli.main", "usage", "--ledger", f"sqlite:///{till.books}/usage.db"]
    done = subprocess.run([*command, "--by", "backend", "--json"], capture_output=True, check=True, timeout=60)
    usage: list[dict[str, Any]] = json.loads(done.stdout)["usage"]
    return usage
