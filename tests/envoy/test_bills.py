"""Reply, headers, metrics and access log tell the same tokens and the same money, to the last digit.

What is expected is reckoned here, from what the fake provider said it used and from prices written by hand. A further
source of the same truth is a function more in ``SOURCES``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import CutAfter, CutAt, Edited, Encoded, FakeProvider, Fault, Silence, SlowEvents, Status
from tests.fakes.anthropic_provider import FakeAnthropic
from tests.fakes.raw_client import RawClient

CONFIG: Final = """
gateway: {{retries: {{backoff: 20ms, perBackend: 0}}}}
backends:
  openai: {{provider: openai, url: "{openai}", model: gpt-4o, apiKey: {{env: KEY}}}}
  claude: {{provider: anthropic, url: "{claude}", model: claude-sonnet-4-5, apiKey: {{env: KEY}}}}
  own:
    provider: vllm
    url: "{own}"
    model: own-model
    cost: {{inputTokenCost: "0.0011", outputTokenCost: "0.0033", cachedInputTokenCost: "0.0007", requestCost: "0.01",
      currency: EUR}}
  local: {{provider: vllm, url: "{own}", model: local-model}}
  strict: {{provider: vllm, url: "{own}", model: strict-model, unpriced: reject}}
  default:
    {{provider: vllm, url: "{own}", model: unheard, unpriced: {{inputTokenCost: "0.5", outputTokenCost: "1"}}}}
  demo: {{provider: demo}}
routes:
  openai:
    models: [openai]
    defaultBackend: {{name: openai}}
    fallback: {{backends: [own]}}
    timeouts: &short {{firstToken: 1s, unstreamed: 1s, idle: 1s}}
  claude: {{models: [claude], defaultBackend: {{name: claude}}, fallback: {{backends: [own]}}, timeouts: *short}}
  own: {{models: [own], defaultBackend: {{name: own}}, fallback: {{backends: [openai]}}, timeouts: *short}}
  local: {{models: [local], defaultBackend: {{name: local}}}}
  strict: {{models: [strict], defaultBackend: {{name: strict}}}}
  strict-pair: {{models: [strict-pair], defaultBackend: {{name: strict}}, fallback: {{backends: [own]}}}}
  default: {{models: [default], defaultBackend: {{name: default}}}}
  demo: {{models: [kortex-demo], defaultBackend: {{name: demo}}}}
"""
KEY: Final = "sk-of-the-gateway"
CITY: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Final = [{"type": "function", "function": {"name": "get_weather", "description": "W.", "parameters": CITY}}]
Tokens = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one source tells of one attempt. ``source`` is how the usage is known, where it says that."""

    tokens: Tokens
    cost: Decimal | None
    currency: str | None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All there is to look at after one request: the client's reply, the log's lines, and what the metrics grew by."""

    headers: Mapping[str, str]
    usage: dict[str, Any] | None
    chunked: bool
    lines: list[dict[str, Any]]
    grown: dict[str, float]

    def line(self, backend: str) -> dict[str, Any]:
        """The attempt at a backend."""
        (line,) = [line for line in self.lines if line["backend"] == backend]
        return line


def told_by_headers(seen: Seen, backend: str) -> Told | None:
    """Whole replies have them; they are the last attempt's."""
    if seen.headers.get("x-kortex-backend") != backend or "x-kortex-usage" not in seen.headers:
        return None
    pairs = dict(part.split("=") for part in seen.headers["x-kortex-usage"].split(", "))
    source = pairs.pop("source")
    digits, _, currency = seen.headers.get("x-kortex-cost", "").partition(" ")
    tokens = {kind: int(count) for kind, count in pairs.items()}
    return Told(tokens=tokens, cost=Decimal(digits) if digits else None, currency=currency or None, source=source)


def told_by_reply(seen: Seen, backend: str) -> Told | None:
    """The reply's own usage; that of a stream says what it costs as well."""
    if seen.usage is None or seen.headers["x-kortex-backend"] != backend:
        return None
    cost = seen.usage.get("cost") if seen.chunked else seen.line(backend).get("cost")
    currency = seen.usage.get("cost_currency") if seen.chunked else seen.line(backend).get("currency")
    return Told(tokens=tokens_of(seen.usage), cost=None if cost is None else Decimal(cost), currency=currency)


def told_by_access_log(seen: Seen, backend: str) -> Told | None:
    """A line for each attempt."""
    line = seen.line(backend)
    tokens = {key.removesuffix("_tokens"): count for key, count in line.items() if key.endswith("_tokens")}
    cost = line.get("cost")
    source = line["usage_source"]
    return Told(
        tokens=tokens, cost=None if cost is None else Decimal(cost), currency=line.get("currency"), source=source
    )


def told_by_metrics(seen: Seen, backend: str) -> Told | None:
    """Counters leave out what is 0; their money is a double, good for twelve decimals of a small sum."""
    tokens: Tokens = {}
    cost, currency = None, None
    for name, value in seen.grown.items():
        labels = dict(
            part.split("=") for part in name.partition("{")[2].rstrip("}").replace('"', "").split(",") if part
        )
        if labels.get("backend") != backend:
            continue
        if name.startswith("kortex_tokens_total"):
            tokens[labels["type"]] = int(value)
        if name.startswith("kortex_cost_total"):
            cost, currency = Decimal(repr(round(value, 12))), labels["currency"]
    return Told(tokens=tokens, cost=cost, currency=currency)


SOURCES: Final[tuple[Callable[[Seen, str], Told | None], ...]] = (
    told_by_headers,
    told_by_reply,
    told_by_access_log,
    told_by_metrics,
)


def tokens_of(usage: dict[str, Any]) -> Tokens:
    """OpenAI's object in our words."""
    prompt, completion = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    tokens = {
        "input": usage["prompt_tokens"],
        "output": usage["completion_tokens"],
        "cached_input": prompt.get("cached_tokens"),
        "cache_write": prompt.get("cache_write_tokens"),
        "reasoning": completion.get("reasoning_tokens"),
        "audio_input": prompt.get("audio_tokens"),
        "audio_output": completion.get("audio_tokens"),
    }
    return {kind: count for kind, count in tokens.items() if count is not None}


def price(backend: str, tokens: Tokens, *, answered: bool = True) -> tuple[Decimal | None, str | None]:
    """By hand: OpenAI's and Anthropic's pages for a million tokens, and the config for a thousand."""
    rates = {
        "openai": ("2.5", "1.25", "0", "10", "0", "USD"),
        "claude": ("3", "0.3", "3.75", "15", "0", "USD"),
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


class Till:
    """The gateway, the providers behind it, and a look at everything after each request."""

    def __init__(self, gateway: KortexProcess, fakes: Mapping[str, FakeProvider]) -> None:
        self.gateway = gateway
        self.fakes = fakes
        self.port = urlsplit(gateway.origin).port or 0

    def body(self, model: str, text: str = "hello there", *, stream: bool = False, **fields: Any) -> dict[str, Any]:
        """A chat call; a streamed one asks for usage."""
        options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        return {"model": model, "messages": [{"role": "user", "content": text}], **options, **fields}

    def chat(self, model: str, *, attempts: int = 1, **fields: Any) -> Seen:
        """A client that reads to the end."""
        body = self.body(model, **fields)
        metrics, lines = self.gateway.metrics(), len(self.gateway.access_log)
        try:
            reply = httpx.post(f"{self.gateway.base_url}/chat/completions", json=body, trust_env=False, timeout=30)
        except httpx.RemoteProtocolError:  # a stream that was cut
            return self._seen(metrics, lines, attempts, None)
        return self._seen(metrics, lines, attempts, reply)

    def leave(self, model: str, *, sent: int, until: bytes = b"", **fields: Any) -> Seen:
        """A client that goes when the provider is at work, or when it has read ``until``."""
        body = self.body(model, **fields)
        metrics, lines = self.gateway.metrics(), len(self.gateway.access_log)
        fake = self.fakes[model]
        with RawClient(self.port) as client:
            client.post("/v1/chat/completions", body)
            fake.wait_for(lambda fake: any(request.bytes_sent >= sent for request in fake.requests))
            if until:
                client.read_until(until)
        return self._seen(metrics, lines, 1, None)

    def _seen(self, metrics: dict[str, float], before: int, attempts: int, reply: httpx.Response | None) -> Seen:
        def lines() -> list[dict[str, Any]]:
            return self.gateway.access_log[before:]

        self.gateway.until(lambda: len(lines()) >= attempts, f"{attempts} attempts are logged")
        self.gateway.until(lambda: self.gateway.metrics() != metrics, "they are counted")
        now = self.gateway.metrics()
        grown = {name: value - metrics.get(name, 0) for name, value in now.items() if value != metrics.get(name, 0)}
        grown = {name: now[name] if name not in metrics else value for name, value in grown.items()}
        usage = None if reply is None else usage_of(reply)
        chunked = reply is not None and reply.headers["content-type"].startswith("text/event-stream")
        headers = {} if reply is None else dict(reply.headers)
        return Seen(headers=headers, usage=usage, chunked=chunked, lines=lines(), grown=grown)


def usage_of(reply: httpx.Response) -> dict[str, Any] | None:
    """With numbers as they are written: a double would lose digits."""
    text = reply.text
    if "data: " in text:
        chunks = [
            json.loads(part[6:], parse_float=Decimal) for part in text.split("\n\n") if part.startswith("data: {")
        ]
        found = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
        return found[-1] if found else None
    whole: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return whole.get("usage")


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
    return line


@pytest.fixture(scope="module")
def shared_till() -> Iterator[Till]:
    """Started once; use ``till``."""
    with (
        FakeProvider(name="openai", api_key=KEY, served_model="gpt-4o-2024-08-06") as first,
        FakeAnthropic(name="claude", api_key=KEY, served_model="claude-sonnet-4-5-20250929") as claude,
        FakeProvider(name="own") as own,
    ):
        config = CONFIG.format(openai=first.url, claude=claude.base_url, own=own.url)
        with KortexProcess(config, env={"KEY": KEY}) as gateway:
            yield Till(gateway, {"openai": first, "claude": claude, "own": own})


@pytest.fixture
def till(shared_till: Till) -> Till:
    """Healthy providers that have not been asked."""
    for fake in shared_till.fakes.values():
        fake.clear_faults()
        fake.clear()
    return shared_till


MODELS = pytest.mark.parametrize("model", ["openai", "claude", "own"])
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
    assert told.tokens["cached_input"]


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
@pytest.mark.parametrize(("model", "next_backend"), [("openai", "own"), ("claude", "own"), ("own", "openai")])
def test_refusal_costs_nothing_and_the_next_backend_has_its_own_bill(
    till: Till, model: str, next_backend: str, *, stream: bool
) -> None:
    """Nobody bills a request that was refused."""
    till.fakes[model].always = Status(503)
    seen = till.chat(model, stream=stream, attempts=2)
    assert_all_agree(seen, next_backend)
    line = seen.line(model)
    assert (line["usage_source"], line.get("cost"), line.get("input_tokens")) == ("none", None, None)


@BOTH_MODES
@MODELS
def test_silence_is_billed_as_an_estimate(till: Till, model: str, *, stream: bool) -> None:
    """A provider that was at work when the time ran out may charge for the prompt; the answer has its own bill."""
    till.fakes[model].always = Silence()
    seen = till.chat(model, stream=stream, attempts=2)
    told = assert_all_agree(seen, model, source="estimated", answered=False)
    assert told.tokens["input"] > 5
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
    assert told.tokens["input"] > 5
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
    reply = httpx.post(f"{till.gateway.base_url}/chat/completions", json=till.body("strict"), trust_env=False)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "model_unpriced", "model")
    assert "strict" in error["message"]
    assert till.fakes["own"].requests == []
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
    with openai.OpenAI(base_url=till.gateway.base_url, api_key="k", max_retries=0) as client:
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
