"""An unchanged OpenAI client reaches Gemini and Vertex AI through the real Envoy, and others when those fail."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.envoy.kortex_process import KortexProcess
from tests.fakes import ErrorAfter, ErrorFirstEvent, FakeProvider, Status
from tests.fakes.anthropic_provider import FakeAnthropic
from tests.fakes.gemini_checks import EXHAUSTED, OVERLOADED, GeminiError
from tests.fakes.gemini_provider import FakeGemini, FakeVertex
from tests.fakes.google_tokens import FakeGoogleTokens

CONFIG = """
# Each test wants its providers asked, whatever the one before did to them.
gateway: {{circuitBreaker: {{enabled: false}}}}
backends:
  gemini: {{provider: gemini, url: "{gemini}", model: gemini-2.5-flash, apiKey: {{env: KEY_GEMINI}}}}
  gemini-3: {{provider: gemini, url: "{gemini}", model: gemini-3-pro-preview, apiKey: {{env: KEY_GEMINI}}}}
  gemini-embed: {{provider: gemini, url: "{gemini}", model: gemini-embedding-001, apiKey: {{env: KEY_GEMINI}}}}
  vertex: &vertex
    {{provider: vertex, url: "{vertex}", project: fake-project, credentialsFile: "{file}", model: gemini-2.5-flash}}
  vertex-3: {{<<: *vertex, location: europe-west4, model: gemini-3-pro-preview}}
  vertex-embed: {{<<: *vertex, model: text-embedding-005}}
  vertex-claude: {{<<: *vertex, model: claude-sonnet-4-5@20250929}}
  claude: {{provider: anthropic, url: "{claude}", model: claude-sonnet-4-5, apiKey: {{env: KEY_CLAUDE}}}}
  other: {{provider: custom, url: "{other}", model: other-model, apiKey: {{env: KEY_OTHER}}}}
routes:
  gemini: {{models: [gemini], defaultBackend: {{name: gemini}}, retries: &quick {{backoff: 20ms, perBackend: 0}}}}
  gemini-3: {{models: [gemini-3], defaultBackend: {{name: gemini-3}}, retries: *quick}}
  gemini-embed: {{models: [gemini-embed], defaultBackend: {{name: gemini-embed}}, retries: *quick}}
  vertex: {{models: [vertex], defaultBackend: {{name: vertex}}, retries: *quick}}
  vertex-3: {{models: [vertex-3], defaultBackend: {{name: vertex-3}}, retries: *quick}}
  vertex-embed: {{models: [vertex-embed], defaultBackend: {{name: vertex-embed}}, retries: *quick}}
  vertex-claude: {{models: [vertex-claude], defaultBackend: {{name: vertex-claude}}, retries: *quick}}
  gemini-first:
    {{models: [gemini-first], defaultBackend: {{name: gemini}}, fallback: {{backends: [claude]}}, retries: *quick}}
  gemini-second:
    {{models: [gemini-second], defaultBackend: {{name: claude}}, fallback: {{backends: [gemini-3]}}, retries: *quick}}
  vertex-first:
    {{models: [vertex-first], defaultBackend: {{name: vertex}}, fallback: {{backends: [other]}}, retries: *quick}}
  vertex-second:
    {{models: [vertex-second], defaultBackend: {{name: other}}, fallback: {{backends: [vertex-3]}}, retries: *quick}}
"""
KEYS = {"KEY_GEMINI": "AIza-of-the-gateway", "KEY_CLAUDE": "sk-ant-of-the-gateway", "KEY_OTHER": "sk-other"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": CITY}},
    {"type": "function", "function": {"name": "get_time", "parameters": CITY}},
]
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
BOTH_MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
BOTH = pytest.mark.parametrize("model", ["gemini", "vertex"])
BOTH_OF_3 = pytest.mark.parametrize("model", ["gemini-3", "vertex-3"])


@dataclass(frozen=True, slots=True)
class Stage:
    """The gateway, the providers behind it and a client in front."""

    gateway: KortexProcess
    gemini: FakeGemini
    vertex: FakeVertex
    claude: FakeAnthropic
    other: FakeProvider
    google: FakeGoogleTokens
    client: openai.OpenAI

    def chat(self, model: str, *, stream: bool = False, **fields: Any) -> Any:
        """A completion; a stream is put together by the SDK's own accumulator."""
        fields.setdefault("messages", HELLO)
        if not stream:
            return self.client.chat.completions.create(model=model, **fields)
        options: Any = {"include_usage": True}
        with self.client.chat.completions.stream(model=model, stream_options=options, **fields) as events:
            return events.get_final_completion()

    def fake(self, model: str) -> FakeGemini:
        """Who serves a model."""
        return self.vertex if model.startswith("vertex") else self.gemini

    def sent(self, model: str) -> dict[str, Any]:
        """The last request for it."""
        return self.fake(model).requests[-1].json


@pytest.fixture(scope="module")
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Started once; use ``stage``."""
    file: Path = tmp_path_factory.mktemp("google") / "key.json"
    with (
        FakeGoogleTokens() as google,
        FakeGemini(name="gemini", api_key=KEYS["KEY_GEMINI"]) as gemini,
        FakeVertex(name="vertex", tokens=lambda: google.given) as vertex,
        FakeAnthropic(name="claude", api_key=KEYS["KEY_CLAUDE"]) as claude,
        FakeProvider(name="other", api_key=KEYS["KEY_OTHER"]) as other,
        KortexProcess(
            CONFIG.format(
                gemini=gemini.base_url,
                vertex=vertex.base_url,
                claude=claude.base_url,
                other=other.url,
                file=google.write_service_account(file),
            ),
            env=KEYS,
        ) as gateway,
        openai.OpenAI(base_url=gateway.base_url, api_key="client-key", max_retries=0, timeout=30) as client,
    ):
        yield Stage(gateway, gemini, vertex, claude, other, google, client)


@pytest.fixture
def stage(shared_stage: Stage) -> Stage:
    """Healthy providers that have not been asked anything yet."""
    for fake in (shared_stage.gemini, shared_stage.vertex, shared_stage.claude, shared_stage.other):
        fake.clear_faults()
        fake.clear()
    return shared_stage


@BOTH
@BOTH_MODES
def test_chat_reaches_google(stage: Stage, model: str, *, stream: bool) -> None:
    """The answer, its usage and its model are as the client expects them; the provider sees its own API only."""
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "hello [unicode]"}]
    metadata = {"team": "search", "Not A Label": "x"}
    completion = stage.chat(
        model, stream=stream, messages=messages, stop="END", seed=7, max_completion_tokens=99, metadata=metadata
    )
    choice = completion.choices[0]
    assert choice.message.content.startswith(f"{model} says: hello [unicode] naïve café, 日本語")
    assert (choice.finish_reason, completion.model, completion.object) == ("stop", model, "chat.completion")
    usage = completion.usage
    assert usage.prompt_tokens == 4 + 2
    assert usage.prompt_tokens_details.cached_tokens == 2
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    request = stage.fake(model).requests[0]
    if model == "gemini":
        assert request.path.startswith("/v1beta/models/gemini-2.5-flash:")
        assert request.headers["x-goog-api-key"] == KEYS["KEY_GEMINI"]
        assert "authorization" not in request.headers
        assert "labels" not in request.json
    else:
        place = "/v1beta1/projects/fake-project/locations/global/publishers/google/models/gemini-2.5-flash:"
        assert request.path.startswith(place)
        assert request.headers["authorization"].startswith("Bearer ya29.fake-")
        assert request.json["labels"] == {"team": "search"}
    assert request.json["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert request.json["generationConfig"] == {"maxOutputTokens": 99, "seed": 7, "stopSequences": ["END"]}


@BOTH
def test_streamed_usage_is_that_of_the_whole_answer(stage: Stage, model: str) -> None:
    """Of the counts that come with every event, the last are taken; only a stream has its cost beside them."""
    streamed = stage.chat(model, stream=True).usage.model_dump()
    assert streamed.pop("cost_currency") == "USD"
    assert float(streamed.pop("cost")) > 0
    assert streamed == stage.chat(model).usage.model_dump()


@BOTH_OF_3
@BOTH_MODES
@pytest.mark.parametrize("effort", [None, "low"], ids=["plain", "reasoning"])
def test_tool_loop_of_three_rounds_ends_in_an_answer(
    stage: Stage, model: str, effort: str | None, *, stream: bool
) -> None:
    """Parallel calls over three rounds, with a client that keeps nothing but OpenAI's fields.

    The fake refuses a loop whose thought signatures are missing, or are not those of their calls.
    """
    fields: dict[str, Any] = {"tools": TOOLS} | ({"reasoning_effort": effort} if effort else {})
    messages: list[Any] = [{"role": "user", "content": "[loop=3] [parallel] weather and time?"}]
    for turn in range(3):
        completion = stage.chat(model, stream=stream, messages=messages, **fields)
        message = completion.choices[0].message
        assert completion.choices[0].finish_reason == "tool_calls"
        assert [call.function.name for call in message.tool_calls] == ["get_weather", "get_time"]
        assert all(json.loads(call.function.arguments)["city"] for call in message.tool_calls)
        if effort:
            assert message.reasoning_content == f"round {turn} of 3"
        messages += answered(message, f"result {turn}")
    completion = stage.chat(model, stream=stream, messages=messages, **fields)
    name = stage.fake(model).name
    assert completion.choices[0].message.content.startswith(f"{name} read result 0; result 0; result 1")
    assert completion.choices[0].finish_reason == "stop"
    if effort:
        thinking = {"includeThoughts": True, "thinkingLevel": "LOW"}
        assert stage.sent(model)["generationConfig"]["thinkingConfig"] == thinking
        assert completion.usage.completion_tokens_details.reasoning_tokens == 5
    turns = [turn["parts"] for turn in stage.sent(model)["contents"] if turn["role"] == "model"]
    assert [[("thoughtSignature" in part) for part in parts] for parts in turns] == [[True, False]] * 3
    ids = [call["id"] for message in messages if message["role"] == "assistant" for call in message["tool_calls"]]
    assert len(set(ids)) == 6


def answered(message: Any, result: str) -> list[Any]:
    """The assistant's message as a client keeps it, and the results of its calls."""
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in message.tool_calls
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": result} for call in calls]
    return [{"role": "assistant", "content": message.content, "tool_calls": calls}, *results]


@BOTH_MODES
def test_tool_loop_goes_on_at_another_provider(stage: Stage, *, stream: bool) -> None:
    """From Claude to Gemini 3, which wants a signature of every call, and back to Claude."""
    messages: list[Any] = [{"role": "user", "content": "[loop=2] weather?"}]
    message = stage.chat("gemini-second", stream=stream, messages=messages, tools=TOOLS).choices[0].message
    messages += answered(message, "cloudy")
    stage.claude.always = Status(529)
    message = stage.chat("gemini-second", stream=stream, messages=messages, tools=TOOLS).choices[0].message
    signatures = [part.get("thoughtSignature") for part in stage.sent("gemini")["contents"][1]["parts"]]
    assert signatures == ["skip_thought_signature_validator"]
    messages += answered(message, "windy")
    stage.claude.clear_faults()
    completion = stage.chat("gemini-second", stream=stream, messages=messages, tools=TOOLS)
    assert completion.choices[0].message.content == "claude read cloudy; windy"
    assert "kortex" not in stage.claude.requests[-1].body.decode()


@BOTH
@BOTH_MODES
def test_named_tool_is_called_when_chosen(stage: Stage, model: str, *, stream: bool) -> None:
    """One call of that function."""
    choice: Any = {"type": "function", "function": {"name": "get_time"}}
    message = stage.chat(model, stream=stream, tools=TOOLS, tool_choice=choice).choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["get_time"]


@BOTH
@BOTH_MODES
def test_image_is_seen(stage: Stage, model: str, *, stream: bool) -> None:
    """By its data and by its address, which is not fetched here; a document beside them."""
    content = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        {"type": "image_url", "image_url": {"url": "https://images.invalid/cat.jpg"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
    ]
    completion = stage.chat(model, stream=stream, messages=[{"role": "user", "content": content}])
    assert completion.choices[0].message.content.endswith("[3 image]")
    address = {"mimeType": "image/jpeg", "fileUri": "https://images.invalid/cat.jpg"}
    assert stage.sent(model)["contents"][0]["parts"][2] == {"fileData": address}


@BOTH
@BOTH_MODES
def test_answer_follows_a_json_schema(stage: Stage, model: str, *, stream: bool) -> None:
    """By Gemini's own structured output."""
    schema = {"type": "object", "properties": {"age": {"type": "integer", "exclusiveMinimum": 0}}, "required": ["age"]}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    completion = stage.chat(model, stream=stream, response_format=wanted)
    assert json.loads(completion.choices[0].message.content) == {"age": 7}


@BOTH
@BOTH_MODES
def test_reasoning_is_shown(stage: Stage, model: str, *, stream: bool) -> None:
    """With a budget, and its tokens counted in the answer's."""
    completion = stage.chat(model, stream=stream, reasoning_effort="medium")
    assert completion.choices[0].message.reasoning_content == "round 0 of 1"
    assert completion.usage.completion_tokens_details.reasoning_tokens == 5
    assert stage.sent(model)["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 8_192


@BOTH
@pytest.mark.parametrize(
    ("error", "expected", "code"),
    [
        pytest.param(GeminiError("No.", "INVALID_ARGUMENT", 400), openai.BadRequestError, None, id="400"),
        pytest.param(EXHAUSTED, openai.RateLimitError, "rate_limit_exceeded", id="429"),
        pytest.param(OVERLOADED, openai.InternalServerError, "overloaded", id="503"),
        pytest.param(GeminiError("Oh.", "INTERNAL", 500), openai.InternalServerError, None, id="500"),
    ],
)
def test_error_has_openais_shape(
    stage: Stage, model: str, error: GeminiError, expected: type[openai.APIStatusError], code: str | None
) -> None:
    """The SDK raises the exception its users catch, and knows how long to wait."""
    stage.fake(model).always = Status(int(str(error.code)), error.document)
    with pytest.raises(expected, match=re.escape(error.message)) as caught:
        stage.chat(model)
    assert caught.value.code == code
    assert caught.value.response.headers.get("retry-after") == ("9" if error is EXHAUSTED else None)


@BOTH_MODES
@pytest.mark.parametrize("model", ["gemini-first", "vertex-first"])
@pytest.mark.parametrize(
    "error", [OVERLOADED, EXHAUSTED, GeminiError("No.", "PERMISSION_DENIED", 403)], ids=["503", "429", "403"]
)
def test_provider_of_another_dialect_answers_when_google_fails(
    stage: Stage, model: str, error: GeminiError, *, stream: bool
) -> None:
    """From the client's own request, without a credential of Google's."""
    stage.fake(model).always = Status(int(str(error.code)), error.document)
    completion = stage.chat(model, stream=stream)
    asked = stage.claude if model == "gemini-first" else stage.other
    assert completion.choices[0].message.content == f"{asked.name} says: hello"
    assert asked.requests[0].json["messages"] == HELLO
    assert "x-goog-api-key" not in asked.requests[0].headers
    assert "ya29" not in repr(asked.requests[0].header_list)


@BOTH_MODES
@pytest.mark.parametrize("model", ["gemini-second", "vertex-second"])
def test_google_answers_when_a_provider_of_another_dialect_fails(stage: Stage, model: str, *, stream: bool) -> None:
    """The other way round."""
    stage.claude.always = stage.other.always = Status(500)
    completion = stage.chat(model, stream=stream)
    assert completion.choices[0].message.content == f"{stage.fake(model).name} says: hello"
    assert "sk-" not in repr(stage.fake(model).requests[0].header_list)


@pytest.mark.parametrize("model", ["gemini-first", "vertex-first"])
def test_next_backend_answers_when_a_stream_begins_overloaded(stage: Stage, model: str) -> None:
    """A 200 whose first event is an error."""
    stage.fake(model).always = ErrorFirstEvent(OVERLOADED)
    completion = stage.chat(model, stream=True)
    assert completion.choices[0].message.content.endswith("says: hello")
    assert "gemini" not in completion.choices[0].message.content


@BOTH
def test_stream_ends_with_an_error_when_it_is_overloaded_later(stage: Stage, model: str) -> None:
    """What has been said cannot be taken back, and is not called an answer."""
    stage.fake(model).always = ErrorAfter(5, OVERLOADED)
    stream = stage.client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "[words=20]"}], stream=True
    )
    with pytest.raises(openai.APIError, match="overloaded"):
        list(stream)


@pytest.mark.parametrize("model", ["gemini-embed", "vertex-embed"])
def test_embeddings_are_had_in_both_formats(stage: Stage, model: str) -> None:
    """The SDK asks for base64 unless told otherwise; usage is what the provider tells, and else nothing."""
    texts = ["one two", "three"]
    default = stage.client.embeddings.create(model=model, input=texts, dimensions=4)
    floats = stage.client.embeddings.create(model=model, input=texts, dimensions=4, encoding_format="float")
    assert [item.embedding for item in default.data] == [pytest.approx(item.embedding) for item in floats.data]
    assert [len(item.embedding) for item in floats.data] == [4, 4]
    assert default.model == model
    if model == "vertex-embed":
        assert floats.usage.prompt_tokens == 3
        assert stage.sent(model)["parameters"] == {"autoTruncate": False, "outputDimensionality": 4}
    else:
        assert getattr(floats, "usage", None) is None
    raw = stage.client.embeddings.with_raw_response.create(model=model, input="x", encoding_format="base64")
    assert isinstance(json.loads(raw.text)["data"][0]["embedding"], str)


@BOTH_MODES
def test_claude_answers_on_vertex(stage: Stage, *, stream: bool) -> None:
    """In Anthropic's words, with the model in the path and Google's token."""
    messages = [{"role": "system", "content": "Be brief."}, *HELLO]
    completion = stage.chat("vertex-claude", stream=stream, messages=messages)
    assert completion.choices[0].message.content == "vertex says: hello"
    assert completion.usage.prompt_tokens_details.cached_tokens == 2
    request = stage.vertex.requests[0]
    method = "streamRawPredict" if stream else "rawPredict"
    place = "/v1/projects/fake-project/locations/global/publishers/anthropic/models"
    assert request.path == f"{place}/claude-sonnet-4-5@20250929:{method}"
    assert request.json["anthropic_version"] == "vertex-2023-10-16"
    assert "model" not in request.json
    assert "anthropic-version" not in request.headers


@BOTH_MODES
def test_tool_loop_of_claude_on_vertex(stage: Stage, *, stream: bool) -> None:
    """Its thoughts come back unchanged."""
    messages: list[Any] = [{"role": "user", "content": "[loop=2] [parallel] weather?"}]
    for turn in range(2):
        fields: dict[str, Any] = {"tools": TOOLS, "reasoning_effort": "low"}
        message = stage.chat("vertex-claude", stream=stream, messages=messages, **fields).choices[0].message
        assert message.reasoning_content == f"round {turn} of 2"
        messages += answered(message, f"result {turn}")
    completion = stage.chat("vertex-claude", stream=stream, messages=messages, tools=TOOLS, reasoning_effort="low")
    assert completion.choices[0].message.content.startswith("vertex read result 0; result 0; result 1")


def test_image_by_address_is_refused_for_claude_on_vertex(stage: Stage) -> None:
    """Before anybody is asked."""
    content = [{"type": "image_url", "image_url": {"url": "https://images.invalid/cat.jpg"}}]
    with pytest.raises(openai.BadRequestError, match=r"vertex-claude lacks content\.image_url"):
        stage.chat("vertex-claude", messages=[{"role": "user", "content": content}])
    assert stage.vertex.requests == []


def test_one_token_serves_all_backends_of_a_credential(stage: Stage) -> None:
    """One for each worker, however many backends use it and requests are made."""
    for model in ("vertex", "vertex-3", "vertex-claude"):
        stage.chat(model)
    assert len(stage.google.given) <= 2
    assert "ya29" not in stage.gateway.stderr + stage.gateway.stdout + json.dumps(stage.gateway.described())
