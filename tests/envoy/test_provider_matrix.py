"""An unchanged OpenAI client through the real Envoy to Mistral, Azure and Cohere: the same cases for each of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import ErrorAfter, FakeProvider, Status
from tests.fakes.azure_provider import FakeAzure
from tests.fakes.cohere_checks import CohereError
from tests.fakes.cohere_provider import FakeCohere
from tests.fakes.entra_tokens import FakeEntra
from tests.fakes.mistral_checks import MistralError
from tests.fakes.mistral_provider import FakeMistral
from tests.fakes.provider_error import OVERLOADED, RATE_LIMITED, ProviderError

CONFIG = """
gateway: {{circuitBreaker: {{enabled: false}}}}
backends:
  mistral: {{provider: mistral, url: "{mistral}", model: mistral-large-latest, apiKey: {{env: KEY_MISTRAL}}}}
  azure: {{provider: azure, url: "{azure}", model: gpt-4o, apiVersion: 2024-10-21, apiKey: {{env: KEY_AZURE}}}}
  azure-entra: {{provider: azure, url: "{azure}", model: gpt-4o}}
  cohere: {{provider: cohere, url: "{cohere}", model: command-a-reasoning-08-2025, apiKey: {{env: KEY_COHERE}}}}
  no-deployment: {{provider: azure, url: "{azure}", model: gpt-5, apiVersion: 2024-10-21, apiKey: {{env: KEY_AZURE}}}}
routes:
  mistral: {{models: [mistral], defaultBackend: {{name: mistral}}, retries: &quick {{backoff: 20ms, perBackend: 0}}}}
  azure: {{models: [azure], defaultBackend: {{name: azure}}, retries: *quick}}
  azure-entra: {{models: [azure-entra], defaultBackend: {{name: azure-entra}}, retries: *quick}}
  cohere: {{models: [cohere], defaultBackend: {{name: cohere}}, retries: *quick}}
  mistral-first:
    models: [mistral-first]
    defaultBackend: {{name: mistral}}
    fallback: &then {{backends: [cohere]}}
    retries: *quick
  azure-first: {{models: [azure-first], defaultBackend: {{name: azure}}, fallback: *then, retries: *quick}}
  entra-first:
    {{models: [azure-entra-first], defaultBackend: {{name: azure-entra}}, fallback: *then, retries: *quick}}
  cohere-first:
    {{models: [cohere-first], defaultBackend: {{name: cohere}}, fallback: {{backends: [mistral]}}, retries: *quick}}
  no-deployment: {{models: [no-deployment], defaultBackend: {{name: no-deployment}}, retries: *quick}}
  strict: {{models: [strict-mistral], defaultBackend: {{name: mistral}}, strict: true}}
"""
KEYS = {"KEY_MISTRAL": "key-of-mistral", "KEY_AZURE": "key-of-azure", "KEY_COHERE": "key-of-cohere"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": CITY}},
    {"type": "function", "function": {"name": "get_time", "parameters": CITY}},
]
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
BOTH_MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
EACH = pytest.mark.parametrize("provider", ["mistral", "azure", "azure-entra", "cohere"])


@dataclass(frozen=True, slots=True)
class Stage:
    """The gateway, the providers behind it and a client in front."""

    gateway: KortexProcess
    fakes: dict[str, FakeProvider]
    client: openai.OpenAI

    def chat(self, provider: str, *, stream: bool = False, **fields: Any) -> Any:
        """A completion; a stream is put together by the SDK's own accumulator."""
        fields.setdefault("messages", HELLO)
        if not stream:
            return self.client.chat.completions.create(model=provider, **fields)
        options: Any = {"include_usage": True}
        with self.client.chat.completions.stream(model=provider, stream_options=options, **fields) as events:
            return events.get_final_completion()

    def fake(self, provider: str) -> Any:
        """Who stands behind a backend."""
        return self.fakes[provider]

    def sent(self, provider: str) -> dict[str, Any]:
        """The last request that it got."""
        body: dict[str, Any] = self.fakes[provider].requests[-1].json
        return body


@pytest.fixture(scope="module")
def shared_stage() -> Iterator[Stage]:
    """Started once; use ``stage``."""
    with (
        FakeEntra() as entra,
        FakeMistral(name="mistral", api_key=KEYS["KEY_MISTRAL"], served_model="mistral-large-2512") as mistral,
        FakeAzure(name="azure", api_key=KEYS["KEY_AZURE"], deployments=["gpt-4o"], tokens=entra.given) as azure,
        FakeCohere(name="cohere", api_key=KEYS["KEY_COHERE"]) as cohere,
        KortexProcess(
            CONFIG.format(mistral=mistral.url, azure=azure.base_url, cohere=cohere.base_url),
            env={**KEYS, **entra.environment(), "AZURE_TOKEN_CREDENTIALS": "prod"},
        ) as gateway,
        openai.OpenAI(base_url=gateway.base_url, api_key="client-key", max_retries=0, timeout=30) as client,
    ):
        fakes = {"mistral": mistral, "azure": azure, "azure-entra": azure, "cohere": cohere}
        yield Stage(gateway, fakes, client)


@pytest.fixture
def stage(shared_stage: Stage) -> Stage:
    """Healthy providers that have not been asked anything yet."""
    for fake in shared_stage.fakes.values():
        fake.clear_faults()
        fake.clear()
    return shared_stage


@EACH
@BOTH_MODES
def test_chat_is_answered(stage: Stage, provider: str, *, stream: bool) -> None:
    """The answer, its usage and its model are as the client expects them."""
    messages: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "hello [unicode]"},
    ]
    completion = stage.chat(provider, stream=stream, messages=messages, stop="END", max_completion_tokens=500)
    choice = completion.choices[0]
    assert f"{stage.fake(provider).name} says: hello [unicode] naïve café, 日本語" in choice.message.content
    assert (choice.finish_reason, completion.model, completion.object) == ("stop", provider, "chat.completion")
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


@EACH
def test_streamed_usage_is_that_of_the_whole_answer(stage: Stage, provider: str) -> None:
    """Wherever in the stream a provider tells it. What it cost stands there too; of a whole answer, in a header."""
    streamed = stage.chat(provider, stream=True).usage.model_dump(exclude={"cost", "cost_currency"})
    assert streamed == stage.chat(provider).usage.model_dump()


@EACH
def test_every_chunk_has_a_choice_when_nobody_asked_for_usage(stage: Stage, provider: str) -> None:
    """The first one the role; what a content filter remarks is not among them."""
    chunks = list(stage.client.chat.completions.create(model=provider, messages=HELLO, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(len(chunk.choices) == 1 and chunk.choices[0].delta is not None for chunk in chunks)
    assert {chunk.model for chunk in chunks} == {provider}


@EACH
@BOTH_MODES
def test_tool_loop_of_three_rounds_ends_in_an_answer(stage: Stage, provider: str, *, stream: bool) -> None:
    """Parallel calls over three rounds, with a client that keeps nothing but OpenAI's fields."""
    messages: list[Any] = [{"role": "user", "content": "[loop=3] [parallel] weather and time?"}]
    for turn in range(3):
        completion = stage.chat(provider, stream=stream, messages=messages, tools=TOOLS)
        message = completion.choices[0].message
        assert completion.choices[0].finish_reason == "tool_calls"
        assert [call.function.name for call in message.tool_calls] == ["get_weather", "get_time"]
        assert all(json.loads(call.function.arguments)["city"] for call in message.tool_calls)
        messages.append({"role": "assistant", "content": message.content, "tool_calls": _plain(message.tool_calls)})
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": f"result {turn}"} for call in message.tool_calls
        ]
    completion = stage.chat(provider, stream=stream, messages=messages, tools=TOOLS)
    assert "result 2" in completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    ids = [call["id"] for message in messages if message["role"] == "assistant" for call in message["tool_calls"]]
    assert len(set(ids)) == 6


def _plain(calls: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in calls
    ]


@EACH
@BOTH_MODES
def test_named_tool_is_called_when_chosen(stage: Stage, provider: str, *, stream: bool) -> None:
    """One call of that function."""
    choice: Any = {"type": "function", "function": {"name": "get_time"}}
    message = stage.chat(provider, stream=stream, tools=TOOLS, tool_choice=choice).choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["get_time"]


@EACH
@BOTH_MODES
def test_image_arrives(stage: Stage, provider: str, *, stream: bool) -> None:
    """By its data and by its address, which is not fetched here."""
    urls = ["data:image/png;base64,iVBORw0KGgo=", "https://images.invalid/cat.jpg"]
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content = [{"type": "text", "text": "look"}, *images]
    assert stage.chat(provider, stream=stream, messages=[{"role": "user", "content": content}]).choices
    parts = stage.sent(provider)["messages"][0]["content"]
    assert [part["image_url"]["url"] for part in parts if part["type"] == "image_url"] == urls


@EACH
@BOTH_MODES
def test_answer_follows_a_json_schema(stage: Stage, provider: str, *, stream: bool) -> None:
    """By the provider's own structured output."""
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    completion = stage.chat(provider, stream=stream, response_format=wanted)
    assert json.loads(completion.choices[0].message.content) == {"age": 7}


@pytest.mark.parametrize("provider", ["mistral", "cohere"])
@BOTH_MODES
def test_thoughts_are_reasoning_content(stage: Stage, provider: str, *, stream: bool) -> None:
    """Beside the answer, not in it."""
    message = stage.chat(provider, stream=stream, reasoning_effort="low").choices[0].message
    assert message.content == f"{provider} says: hello"
    assert message.reasoning_content in {"thinking with low effort", "round 0 of 1"}
    assert stage.chat(provider, reasoning_effort="none").choices[0].message.content == f"{provider} says: hello"


def test_reasoning_effort_reaches_azure(stage: Stage) -> None:
    """In OpenAI's own words."""
    stage.chat("azure", reasoning_effort="low")
    assert stage.sent("azure")["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    ("provider", "dropped"),
    [
        pytest.param("mistral", "logit_bias, user", id="mistral"),
        pytest.param("azure", None, id="azure"),
        pytest.param("cohere", "logit_bias, user", id="cohere"),
    ],
)
def test_dropped_parameters_are_named(stage: Stage, provider: str, dropped: str | None) -> None:
    """A seed arrives under whatever name."""
    raw = stage.client.chat.completions.with_raw_response.create(
        model=provider, messages=HELLO, user="anna", logit_bias={"1": 1}, seed=7
    )
    assert raw.headers.get("x-kortex-dropped-params") == dropped
    assert stage.sent(provider).get("random_seed", stage.sent(provider).get("seed")) == 7


def test_strict_route_refuses_what_would_be_dropped(stage: Stage) -> None:
    """Before anybody is asked."""
    with pytest.raises(openai.BadRequestError, match="mistral lacks user"):
        stage.chat("strict-mistral", user="anna")
    assert stage.fake("mistral").requests == []


ERRORS = {
    "mistral": MistralError("No.", "invalid_request_error"),
    "azure": ProviderError("No.", None, "429"),
    "azure-entra": ProviderError("No.", None, "429"),
    "cohere": CohereError("No."),
}


@EACH
@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [
        pytest.param(400, openai.BadRequestError, None, id="400"),
        pytest.param(402, openai.RateLimitError, "insufficient_quota", id="402"),
        pytest.param(429, openai.RateLimitError, "rate_limit_exceeded", id="429"),
        pytest.param(500, openai.InternalServerError, None, id="500"),
    ],
)
def test_error_has_openais_shape(
    stage: Stage, provider: str, status: int, expected: type[openai.APIStatusError], code: str | None
) -> None:
    """The SDK raises the exception its users catch."""
    stage.fake(provider).always = Status(status, ERRORS[provider].document, {"retry-after": "9"})
    with pytest.raises(expected, match=r"No\.") as caught:
        stage.chat(provider)
    assert caught.value.response.headers["retry-after"] == "9"
    if code is not None:
        assert caught.value.code == code


@EACH
@BOTH_MODES
def test_another_dialect_answers_when_the_provider_fails(stage: Stage, provider: str, *, stream: bool) -> None:
    """From the client's own request, with the other one's own credential."""
    stage.fake(provider).always = Status(503, ERRORS[provider].document)
    completion = stage.chat(f"{provider}-first", stream=stream)
    other = "mistral" if provider == "cohere" else "cohere"
    assert completion.choices[0].message.content == f"{other} says: hello"
    request = stage.fake(other).requests[0]
    assert request.headers["authorization"] == f"Bearer {KEYS[f'KEY_{other.upper()}']}"
    assert "api-key" not in request.headers


def test_empty_account_fails_over(stage: Stage) -> None:
    """A 402 is the operator's to pay, not the client's to mend."""
    stage.fake("mistral").always = Status(402, MistralError("Pay.", "payment_required").document)
    assert stage.chat("mistral-first").choices[0].message.content == "cohere says: hello"


@pytest.mark.parametrize("first", ["mistral", "cohere"])
@BOTH_MODES
def test_another_provider_goes_on_with_a_tool_loop(stage: Stage, first: str, *, stream: bool) -> None:
    """Ids of the one are taken by the other, in calls and in results."""
    messages: list[Any] = [{"role": "user", "content": "[parallel] weather and time?"}]
    message = stage.chat(first, stream=stream, messages=messages, tools=TOOLS).choices[0].message
    messages.append({"role": "assistant", "content": message.content, "tool_calls": _plain(message.tool_calls)})
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": call.function.name} for call in message.tool_calls
    ]
    stage.fake(first).always = Status(503, ERRORS[first].document)
    completion = stage.chat(f"{first}-first", stream=stream, messages=messages, tools=TOOLS)
    assert re.search("get_weather.*get_time", completion.choices[0].message.content)


@pytest.mark.parametrize("fault", [ErrorAfter(1, OVERLOADED), ErrorAfter(1, RATE_LIMITED)], ids=["503", "429"])
def test_remarks_of_a_content_filter_are_no_answer(stage: Stage, fault: ErrorAfter) -> None:
    """An error right behind them still fails over."""
    stage.fake("azure").always = fault
    assert stage.chat("azure-first", stream=True).choices[0].message.content == "cohere says: hello"


def test_stream_of_cohere_that_fails_at_once_fails_over(stage: Stage) -> None:
    """Its beginning says nothing yet."""
    stage.fake("cohere").always = ErrorAfter(1, CohereError("overloaded"))
    assert stage.chat("cohere-first", stream=True).choices[0].message.content == "mistral says: hello"


@BOTH_MODES
def test_filtered_prompt_does_not_fail_over(stage: Stage, *, stream: bool) -> None:
    """The client gets the reason."""
    with pytest.raises(openai.BadRequestError, match="content management policy") as caught:
        stage.chat("azure-first", stream=stream, messages=[{"role": "user", "content": "[violence]"}])
    assert caught.value.code == "content_filter"
    assert stage.fake("cohere").requests == []


def test_azure_is_asked_by_deployment_and_version_or_by_the_newer_api(stage: Stage) -> None:
    """With a key in its own header, or with a token that the host's identity got."""
    stage.chat("azure")
    stage.chat("azure-entra")
    keyed, by_token = stage.fake("azure").requests
    assert (keyed.path, keyed.query) == ("/openai/deployments/gpt-4o/chat/completions", "api-version=2024-10-21")
    assert (keyed.headers["api-key"], "authorization" in keyed.headers) == (KEYS["KEY_AZURE"], False)
    assert (by_token.path, by_token.query) == ("/openai/v1/chat/completions", "")
    assert (by_token.headers["authorization"][:13], "api-key" in by_token.headers) == ("Bearer entra-", False)
    assert by_token.json["model"] == "gpt-4o"
    with pytest.raises(openai.NotFoundError):
        stage.chat("no-deployment")


@EACH
@pytest.mark.parametrize("encoding", [openai.omit, "float", "base64"], ids=["default", "float", "base64"])
def test_embeddings_are_made(stage: Stage, provider: str, encoding: Any) -> None:
    """The SDK asks for base64 where nobody says anything, and unpacks it."""
    reply = stage.client.embeddings.create(model=provider, input=["one", "two"], encoding_format=encoding, dimensions=4)
    assert [item.index for item in reply.data] == [0, 1]
    assert reply.model == provider
    assert reply.usage.prompt_tokens == 2
    vectors = [item.embedding for item in reply.data]
    assert vectors[0] != vectors[1]
    if encoding != "base64":
        assert {len(vector) for vector in vectors} == {4}


def test_kind_of_input_reaches_cohere(stage: Stage) -> None:
    """Documents, unless the client says what else."""
    stage.client.embeddings.create(model="cohere", input="one")
    assert stage.sent("cohere")["input_type"] == "search_document"
    stage.client.embeddings.create(model="cohere", input="one", extra_body={"cohere": {"input_type": "search_query"}})
    assert stage.sent("cohere")["input_type"] == "search_query"


def test_own_fields_reach_cohere(stage: Stage) -> None:
    """``extra_body`` with Cohere's name for them."""
    documents = [{"id": "d1", "data": {"snippet": "Paris is a city."}}]
    stage.chat("cohere", extra_body={"cohere": {"documents": documents, "k": 5}})
    assert (stage.sent("cohere")["documents"], stage.sent("cohere")["k"]) == (documents, 5)


def test_no_secret_is_shown(stage: Stage) -> None:
    """Neither keys nor tokens, in the log or in the config."""
    stage.chat("azure-entra")
    shown = stage.gateway.stdout + stage.gateway.stderr + httpx.get(f"{stage.gateway.admin_url}/config").text
    assert not [secret for secret in (*KEYS.values(), "host-secret", "entra-1") if secret in shown]
