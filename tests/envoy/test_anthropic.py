"""An unchanged OpenAI client reaches Anthropic through the real Envoy, and other providers when that fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import ErrorAfter, ErrorFirstEvent, FakeProvider, Status
from tests.fakes.anthropic_checks import OVERLOADED, AnthropicError
from tests.fakes.anthropic_provider import FakeAnthropic

MODEL = "claude-sonnet-4-5-20250929"
CONFIG = """
gateway: {{circuitBreaker: {{enabled: false}}}}
backends:
  claude: {{provider: anthropic, url: "{claude}", model: claude-sonnet-4-5, apiKey: {{env: KEY_CLAUDE}}, beta: [one-1]}}
  other: {{provider: custom, url: "{other}", model: other-model, apiKey: {{env: KEY_OTHER}}}}
routes:
  claude: {{models: [claude], defaultBackend: {{name: claude}}, retries: &quick {{backoff: 20ms, perBackend: 0}}}}
  strict: {{models: [strict], defaultBackend: {{name: claude}}, strict: true}}
  first: {{models: [first], defaultBackend: {{name: claude}}, fallback: {{backends: [other]}}, retries: *quick}}
  second: {{models: [second], defaultBackend: {{name: other}}, fallback: {{backends: [claude]}}, retries: *quick}}
  strict-pair:
    {{models: [strict-pair], defaultBackend: {{name: claude}}, fallback: {{backends: [other]}}, strict: true}}
"""
KEYS = {"KEY_CLAUDE": "sk-ant-of-the-gateway", "KEY_OTHER": "sk-other"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": CITY}},
    {"type": "function", "function": {"name": "get_time", "parameters": CITY}},
]
BOTH_MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@dataclass(frozen=True, slots=True)
class Stage:
    """The gateway, the providers behind it and a client in front."""

    gateway: KortexProcess
    claude: FakeAnthropic
    other: FakeProvider
    client: openai.OpenAI

    def chat(self, *, stream: bool = False, model: str = "claude", **fields: Any) -> Any:
        """A completion; a stream is put together by the SDK's own accumulator."""
        fields.setdefault("messages", [{"role": "user", "content": "hello"}])
        if not stream:
            return self.client.chat.completions.create(model=model, **fields)
        options: Any = {"include_usage": True}
        with self.client.chat.completions.stream(model=model, stream_options=options, **fields) as events:
            return events.get_final_completion()

    @property
    def sent(self) -> dict[str, Any]:
        """The last request that Anthropic's fake got."""
        return self.claude.requests[-1].json


@pytest.fixture(scope="module")
def shared_stage() -> Iterator[Stage]:
    """Started once; use ``stage``."""
    with (
        FakeAnthropic(name="claude", api_key=KEYS["KEY_CLAUDE"], served_model=MODEL) as claude,
        FakeProvider(name="other", api_key=KEYS["KEY_OTHER"]) as other,
        KortexProcess(CONFIG.format(claude=claude.base_url, other=other.url), env=KEYS) as gateway,
        openai.OpenAI(base_url=gateway.base_url, api_key="client-key", max_retries=0, timeout=30) as client,
    ):
        yield Stage(gateway, claude, other, client)


@pytest.fixture
def stage(shared_stage: Stage) -> Stage:
    """Healthy providers that have not been asked anything yet."""
    for fake in (shared_stage.claude, shared_stage.other):
        fake.clear_faults()
        fake.clear()
    return shared_stage


@BOTH_MODES
def test_chat_reaches_anthropic(stage: Stage, *, stream: bool) -> None:
    """The answer, its usage and its model are as the client expects them; the provider sees its own API only."""
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "hello [unicode]"}]
    completion = stage.chat(stream=stream, messages=messages, user="user-17", stop="END")
    choice = completion.choices[0]
    assert choice.message.content.startswith("claude says: hello [unicode] naïve café, 日本語")
    assert (choice.finish_reason, completion.model, completion.object) == ("stop", "claude", "chat.completion")
    usage = completion.usage
    assert usage.prompt_tokens - 5 == 4 + 2, "five tokens more were read from or written to the cache"
    assert usage.prompt_tokens_details.cached_tokens == 2
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    request = stage.claude.requests[0]
    assert (request.path, request.headers["x-api-key"]) == ("/v1/messages", KEYS["KEY_CLAUDE"])
    assert (request.headers["anthropic-version"], request.headers["anthropic-beta"]) == ("2023-06-01", "one-1")
    assert "authorization" not in request.headers
    assert request.json["system"] == "Be brief."
    assert request.json["metadata"] == {"user_id": "user-17"}
    assert request.json["stop_sequences"] == ["END"]


def test_streamed_usage_is_that_of_the_whole_answer(stage: Stage) -> None:
    """Anthropic's cumulative counts are taken right."""
    assert stage.chat(stream=True).usage == stage.chat(stream=False).usage


def test_usage_chunk_is_left_out_when_nobody_asked(stage: Stage) -> None:
    """Every chunk has a choice, the first one the role."""
    chunks = list(
        stage.client.chat.completions.create(
            model="claude", messages=[{"role": "user", "content": "hello"}], stream=True
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(len(chunk.choices) == 1 for chunk in chunks)
    assert {chunk.model for chunk in chunks} == {"claude"}


@BOTH_MODES
@pytest.mark.parametrize("effort", [None, "low"], ids=["plain", "reasoning"])
def test_tool_loop_of_three_rounds_ends_in_an_answer(stage: Stage, effort: str | None, *, stream: bool) -> None:
    """Parallel calls over three rounds, with a client that keeps nothing but OpenAI's fields.

    The fake checks that thoughts come back unchanged, before their calls.
    """
    fields: dict[str, Any] = {"tools": TOOLS} | ({"reasoning_effort": effort} if effort else {})
    messages: list[Any] = [{"role": "user", "content": "[loop=3] [parallel] weather and time?"}]
    for turn in range(3):
        completion = stage.chat(stream=stream, messages=messages, **fields)
        message = completion.choices[0].message
        assert completion.choices[0].finish_reason == "tool_calls"
        assert [call.function.name for call in message.tool_calls] == ["get_weather", "get_time"]
        assert all(json.loads(call.function.arguments)["city"] for call in message.tool_calls)
        if effort:
            assert message.reasoning_content == f"round {turn} of 3"
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ]
        messages.append({"role": "assistant", "content": message.content, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": f"result {turn}"} for call in calls]
    completion = stage.chat(stream=stream, messages=messages, **fields)
    assert completion.choices[0].message.content.startswith("claude read result 0; result 0; result 1")
    assert completion.choices[0].finish_reason == "stop"
    if effort:
        assert stage.sent["thinking"] == {"type": "enabled", "budget_tokens": 4096}
        kinds = [[block["type"] for block in turn["content"]] for turn in stage.sent["messages"][1::2]]
        assert kinds == [["thinking", "tool_use", "tool_use"]] * 3
    ids = [call["id"] for message in messages if message["role"] == "assistant" for call in message["tool_calls"]]
    assert len(set(ids)) == 6


@BOTH_MODES
def test_named_tool_is_called_when_chosen(stage: Stage, *, stream: bool) -> None:
    """One call of that function."""
    choice: Any = {"type": "function", "function": {"name": "get_time"}}
    message = stage.chat(stream=stream, tools=TOOLS, tool_choice=choice).choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["get_time"]


@BOTH_MODES
def test_image_is_seen(stage: Stage, *, stream: bool) -> None:
    """By its data and by its address, which is not fetched here."""
    pixel = "data:image/png;base64,iVBORw0KGgo="
    content = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": pixel}},
        {"type": "image_url", "image_url": {"url": "https://images.invalid/cat.jpg"}},
    ]
    completion = stage.chat(stream=stream, messages=[{"role": "user", "content": content}])
    assert completion.choices[0].message.content.endswith("[2 image]")
    assert stage.sent["messages"][0]["content"][2]["source"] == {"type": "url", "url": "https://images.invalid/cat.jpg"}


@BOTH_MODES
def test_answer_follows_a_json_schema(stage: Stage, *, stream: bool) -> None:
    """By Anthropic's own structured output."""
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    completion = stage.chat(stream=stream, response_format=wanted)
    assert json.loads(completion.choices[0].message.content) == {"age": 7}
    assert stage.sent["output_config"]["format"]["schema"]["additionalProperties"] is False


def test_dropped_parameters_are_named(stage: Stage) -> None:
    """In a header of the reply; on a strict route the request is refused instead, before anybody is asked."""
    fields: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "seed": 7, "logit_bias": {"1": 1}}
    raw = stage.client.chat.completions.with_raw_response.create(model="claude", **fields)
    assert raw.headers["x-kortex-dropped-params"] == "logit_bias, seed"
    assert raw.headers["x-kortex-upstream-request-id"].startswith("req_claude_")
    assert "anthropic-organization-id" not in raw.headers
    with pytest.raises(openai.BadRequestError, match="claude lacks logit_bias, seed") as caught:
        stage.chat(model="strict", **fields)
    assert caught.value.code == "unsupported_feature"
    assert len(stage.claude.requests) == 1
    assert (
        "x-kortex-dropped-params"
        not in httpx.post(
            f"{stage.gateway.base_url}/chat/completions",
            json={"model": "claude", "messages": fields["messages"]},
            timeout=30,
        ).headers
    )


def test_backend_is_passed_by_when_it_cannot(stage: Stage) -> None:
    """Two choices are more than Anthropic gives: the next backend is the first to be asked."""
    completion = stage.chat(model="first", n=2)
    assert len(completion.choices) == 2
    assert stage.claude.requests == []
    with pytest.raises(openai.BadRequestError, match="claude lacks n"):
        stage.chat(n=2)
    completion = stage.chat(model="strict-pair", seed=7)
    assert completion.choices[0].message.content.startswith("other says")
    assert stage.claude.requests == []


def test_next_backend_is_asked_when_a_strict_loss_shows_late(stage: Stage) -> None:
    """That two sampling knobs exclude each other is found out only when the request is written."""
    completion = stage.chat(model="strict-pair", temperature=0.2, top_p=0.5)
    assert completion.choices[0].message.content.startswith("other says")
    assert stage.claude.requests == []


@pytest.mark.parametrize(
    ("status", "kind", "expected", "code"),
    [
        pytest.param(400, "invalid_request_error", openai.BadRequestError, None, id="400"),
        pytest.param(429, "rate_limit_error", openai.RateLimitError, "rate_limit_exceeded", id="429"),
        pytest.param(529, "overloaded_error", openai.InternalServerError, "overloaded", id="529"),
        pytest.param(500, "api_error", openai.InternalServerError, None, id="500"),
    ],
)
def test_error_has_openais_shape(
    stage: Stage, status: int, kind: str, expected: type[openai.APIStatusError], code: str | None
) -> None:
    """The SDK raises the exception its users catch."""
    stage.claude.always = Status(status, AnthropicError("No.", kind).document, {"retry-after": "9"})
    with pytest.raises(expected, match=r"No\.") as caught:
        stage.chat()
    assert caught.value.code == code
    assert caught.value.response.headers["retry-after"] == "9"


def test_wrong_requests_are_answered_before_anybody_is_asked(stage: Stage) -> None:
    """A tool's result without its call."""
    messages = [{"role": "user", "content": "hi"}, {"role": "tool", "tool_call_id": "x", "content": "y"}]
    with pytest.raises(openai.BadRequestError, match="preceding message with 'tool_calls'"):
        stage.chat(messages=messages)
    assert stage.claude.requests == []


@BOTH_MODES
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Status(529, OVERLOADED.document), id="529"),
        pytest.param(Status(429, AnthropicError("Slow down.", "rate_limit_error").document), id="429"),
        pytest.param(Status(402, AnthropicError("Pay.", "billing_error").document), id="402"),
        pytest.param(Status(401, AnthropicError("invalid x-api-key", "authentication_error").document), id="401"),
    ],
)
def test_compatible_provider_answers_when_anthropic_fails(stage: Stage, fault: Status, *, stream: bool) -> None:
    """From the client's own request, not from what was written for Anthropic."""
    stage.claude.always = fault
    completion = stage.chat(model="first", stream=stream)
    assert completion.choices[0].message.content == "other says: hello"
    assert stage.other.requests[0].json["messages"] == [{"role": "user", "content": "hello"}]
    assert "x-api-key" not in stage.other.requests[0].headers


@BOTH_MODES
def test_anthropic_answers_when_a_compatible_provider_fails(stage: Stage, *, stream: bool) -> None:
    """The other way round."""
    stage.other.always = Status(500)
    completion = stage.chat(model="second", stream=stream)
    assert completion.choices[0].message.content == "claude says: hello"
    assert "authorization" not in stage.claude.requests[0].headers


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(ErrorFirstEvent(OVERLOADED), id="first-event"),
        pytest.param(ErrorAfter(2, OVERLOADED), id="after-message-start-and-ping"),
    ],
)
def test_next_backend_answers_when_a_stream_begins_overloaded(
    stage: Stage, fault: ErrorFirstEvent | ErrorAfter
) -> None:
    """Until there is content, nothing has been said."""
    stage.claude.always = fault
    assert stage.chat(model="first", stream=True).choices[0].message.content == "other says: hello"


def test_stream_ends_with_an_error_when_it_is_overloaded_later(stage: Stage) -> None:
    """What has been said cannot be taken back."""
    stage.claude.always = ErrorAfter(5, OVERLOADED)
    stream = stage.client.chat.completions.create(
        model="first", messages=[{"role": "user", "content": "[words=20]"}], stream=True
    )
    with pytest.raises(openai.APIError, match="Overloaded"):
        list(stream)
    assert stage.other.requests == []


def test_ids_are_bare_again_when_another_provider_goes_on(stage: Stage) -> None:
    """Thoughts are for Anthropic; a compatible provider gets ids of ordinary length, whose results still fit."""
    message = stage.chat(tools=TOOLS, reasoning_effort="low").choices[0].message
    call = message.tool_calls[0]
    assert ".kortex-anthropic." in call.id
    stage.claude.always = Status(529, OVERLOADED.document)
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "18 °C"},
    ]
    completion = stage.chat(model="first", messages=messages, tools=TOOLS)
    bare = call.id.partition(".")[0]
    assert completion.choices[0].message.content == f"other read {bare}: 18 °C"
    assert stage.other.requests[0].json["messages"][1]["tool_calls"][0]["id"] == bare


def test_own_fields_reach_anthropic(stage: Stage) -> None:
    """``extra_body`` with Anthropic's name for them; betas join those of the config."""
    stage.chat(extra_body={"anthropic": {"top_k": 5, "betas": ["two-2"]}})
    assert stage.sent["top_k"] == 5
    assert stage.claude.requests[0].headers["anthropic-beta"] == "two-2, one-1"
