"""What the fake answers and refuses, byte for byte where it matters."""

from __future__ import annotations

import base64
import json
import ssl
import struct
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes import FakeProvider
from tests.fakes.replies.wording import UNICODE

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares every request the loading of the system's authorities
USER = {"role": "user", "content": "hello"}
CHAT = {"model": "m", "messages": [USER]}
CALLED = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": {}}]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "42"}


@pytest.fixture(name="fake", scope="module")
def _fake() -> Iterator[FakeProvider]:
    with FakeProvider(name="a", models=["m", "n"]) as fake:
        yield fake


def post(fake: FakeProvider, path: str, body: object, **headers: str) -> httpx.Response:
    """One POST; bytes are sent as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(fake.url + path, content=content, headers=headers, trust_env=False, verify=NO_TLS)


def answered(fake: FakeProvider, body: dict[str, Any], path: str = "/chat/completions") -> Any:
    """The JSON of a reply that must be a success."""
    reply = post(fake, path, body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def chunks(fake: FakeProvider, body: dict[str, Any], path: str = "/chat/completions") -> list[Any]:
    """The documents of a stream, which must end with [DONE]."""
    *events, done, rest = post(fake, path, {**body, "stream": True}).text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


# ---- refusals


def refused(reply: httpx.Response, status: int) -> dict[str, Any]:
    """The error of a reply that must be OpenAI's for ``status``."""
    assert reply.status_code == status
    error: dict[str, Any] = reply.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["type"] == "invalid_request_error"
    return error


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        pytest.param("/chat", CHAT, 404, "Invalid URL (POST /v1/chat)", id="unknown path"),
        pytest.param("/models", CHAT, 405, "Not allowed to POST on /v1/models.", id="wrong method"),
        pytest.param("/chat/completions", b"{", 400, "We could not parse the JSON body", id="bad json"),
        pytest.param("/chat/completions", b"", 400, "We could not parse the JSON body", id="empty body"),
        pytest.param("/chat/completions", b"[1]", 400, "We could not parse the JSON body", id="json array"),
        pytest.param("/chat/completions", b'{"model":"\xff"}', 400, "We could not parse the JSON body", id="not utf-8"),
        pytest.param("/completions", {"model": "m"}, 400, "Missing required parameter: 'prompt'.", id="no prompt"),
        pytest.param("/embeddings", {"model": "m"}, 400, "Missing required parameter: 'input'.", id="no input"),
        pytest.param(
            "/embeddings", {"model": "x", "input": ""}, 404, "The model `x` does not exist", id="unknown model"
        ),
    ],
)
def test_request_is_refused_when_it_is_no_call(
    fake: FakeProvider, path: str, body: object, status: int, message: str
) -> None:
    """In OpenAI's error JSON."""
    assert message in refused(post(fake, path, body), status)["message"]


@pytest.mark.parametrize(
    ("change", "code", "param", "message"),
    [
        pytest.param({"model": None}, "missing_required_parameter", "model", "must provide a model", id="no model"),
        pytest.param({"messages": None}, "missing_required_parameter", "messages", "Missing", id="no messages"),
        pytest.param({"messages": []}, "empty_array", "messages", "got an empty array", id="empty messages"),
        pytest.param({"messages": "hi"}, "invalid_type", "messages", "but got a string", id="messages a string"),
        pytest.param({"messages": ["hi"]}, "invalid_type", "messages", "but got an array", id="messages strings"),
        pytest.param({"temperature": "1"}, "invalid_type", "temperature", "expected a decimal", id="temperature"),
        pytest.param({"n": True}, "invalid_type", "n", "expected an integer, but got a boolean", id="n"),
        pytest.param({"stream": 1}, "invalid_type", "stream", "expected a boolean, but got an integer", id="stream"),
        pytest.param({"max_tokens": 1.5}, "invalid_type", "max_tokens", "but got a decimal", id="max_tokens"),
        pytest.param({"tools": {}}, "invalid_type", "tools", "but got an object instead.", id="tools"),
        pytest.param({"stream_options": {}}, None, "stream_options", "only allowed when 'stream'", id="options alone"),
        pytest.param({"stream": False, "stream_options": {}}, None, "stream_options", "only allowed", id="no stream"),
        pytest.param({"messages": [{"role": "robot"}]}, "invalid_value", "messages[0].role", "'robot'", id="role"),
        pytest.param({"messages": [USER, {"role": "user"}]}, None, "messages[1].content", "got null", id="content"),
        pytest.param({"messages": [USER, RESULT]}, None, "messages[1]", "must be followed", id="result without call"),
        pytest.param({"messages": [CALLED, USER]}, None, "messages[1]", "must be followed", id="call without result"),
        pytest.param({"messages": [USER, CALLED]}, None, "messages[1]", "must be followed", id="call at the end"),
    ],
)
def test_call_is_refused_when_a_field_is_wrong(
    fake: FakeProvider, change: dict[str, object], code: str | None, param: str, message: str
) -> None:
    """Saying what and where."""
    error = refused(post(fake, "/chat/completions", {**CHAT, **change}), 400)
    assert (error["code"], error["param"]) == (code, param)
    assert message in error["message"]


def test_encoding_is_refused_when_unknown(fake: FakeProvider) -> None:
    """Embeddings come as floats or base64."""
    error = refused(post(fake, "/embeddings", {"model": "m", "input": "x", "encoding_format": "hex"}), 400)
    assert (error["code"], error["param"]) == ("invalid_value", "encoding_format")


def test_method_is_named_when_it_is_the_wrong_one(fake: FakeProvider) -> None:
    """405 says what is allowed."""
    reply = httpx.get(f"{fake.url}/chat/completions", trust_env=False, verify=NO_TLS)
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"authorization": "Bearer sk-right"}, 200, id="right"),
        pytest.param({"authorization": "Bearer sk-wrong"}, 401, id="wrong"),
        pytest.param({"authorization": "sk-right"}, 401, id="no bearer"),
        pytest.param({}, 401, id="missing"),
    ],
)
def test_key_is_checked_when_one_is_set(headers: dict[str, str], status: int) -> None:
    """And never repeated in the error; a changed key counts at once."""
    with FakeProvider(api_key="sk-right") as fake:
        reply = post(fake, "/chat/completions", CHAT, **headers)
        assert reply.status_code == status
        assert status == 200 or reply.json()["error"]["code"] == "invalid_api_key"
        assert "sk-" not in reply.text
        fake.api_key = "sk-new"
        assert post(fake, "/chat/completions", CHAT, **headers).status_code == 401


def test_unknown_fields_pass_when_sent(fake: FakeProvider) -> None:
    """As at vLLM and most others; null is as good as absent."""
    answered(fake, {**CHAT, "top_k": 5, "temperature": None, "tools": None, "stop": None, "n": None})


def test_path_needs_its_prefix_when_another_is_set() -> None:
    """KServe's models live under /openai/v1."""
    with FakeProvider(prefix="/openai/v1") as fake:
        assert fake.url == f"{fake.base_url}/openai/v1"
        assert post(fake, "/chat/completions", CHAT).status_code == 200
        assert (
            httpx.post(f"{fake.base_url}/v1/chat/completions", json=CHAT, trust_env=False, verify=NO_TLS).status_code
            == 404
        )
        assert (
            httpx.post(
                f"{fake.base_url}/openai/v1chat/completions", json=CHAT, trust_env=False, verify=NO_TLS
            ).status_code
            == 404
        )


# ---- chat


def test_whole_reply_is_complete_when_not_streamed(fake: FakeProvider) -> None:
    """Every field that a client reads, usage with its details."""
    reply = answered(fake, {**CHAT, "messages": [{"role": "system", "content": "be kind"}, USER]})
    assert reply["id"].startswith("chatcmpl-")
    assert reply["object"] == "chat.completion"
    assert reply["model"] == "m-2025-08-01"
    assert reply["system_fingerprint"].startswith("fp_")
    assert reply["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "a says: hello", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    usage = reply["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (11, 8, 19)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 2
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 5


def test_reply_is_the_same_when_asked_again(fake: FakeProvider) -> None:
    """To the byte; and its id also when only the model or the options differ, but not at another fake."""
    assert post(fake, "/chat/completions", CHAT).content == post(fake, "/chat/completions", CHAT).content
    one = answered(fake, CHAT)
    other = answered(fake, {"temperature": 1, **CHAT, "model": "n"})
    assert (one["id"], one["created"]) == (other["id"], other["created"])
    with FakeProvider(name="b") as elsewhere:
        assert answered(elsewhere, CHAT)["id"] != one["id"]


def test_model_in_replies_is_the_one_told_when_set() -> None:
    """Whole and streamed."""
    with FakeProvider(served_model="real-name") as fake:
        assert answered(fake, CHAT)["model"] == "real-name"
        assert {chunk["model"] for chunk in chunks(fake, CHAT)} == {"real-name"}


@pytest.mark.parametrize("wants_usage", [True, False])
def test_stream_says_the_same_as_the_whole_reply(fake: FakeProvider, wants_usage: bool) -> None:
    """The role first, then pieces, the end, and usage in a chunk of its own only when asked for."""
    whole = answered(fake, CHAT)
    asked = {**CHAT, "stream_options": {"include_usage": True}} if wants_usage else CHAT
    parts = chunks(fake, asked)
    if wants_usage:
        last = parts.pop()
        assert (last["choices"], last["usage"]) == ([], whole["usage"])
        assert all(part["usage"] is None for part in parts)
    assert all(wants_usage or "usage" not in part for part in parts)
    assert {part["id"] for part in parts} == {whole["id"]}
    assert {part["object"] for part in parts} == {"chat.completion.chunk"}
    deltas = [part["choices"][0]["delta"] for part in parts]
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None}
    assert [delta["content"] for delta in deltas[1:-1]] == ["a", " says:", " hello"]
    assert deltas[-1] == {}
    assert [part["choices"][0]["finish_reason"] for part in parts] == [None] * 4 + ["stop"]


def test_text_is_exact_when_it_is_all_of_unicode(fake: FakeProvider) -> None:
    """Raw UTF-8 on the wire, whole and in pieces, echoed and made up."""
    asked = {**CHAT, "messages": [{"role": "user", "content": "ß\u2028🧪 [unicode]"}]}
    wanted = f"a says: ß\u2028🧪 [unicode] {UNICODE}"
    assert answered(fake, asked)["choices"][0]["message"]["content"] == wanted
    assert "".join(part["choices"][0]["delta"].get("content", "") for part in chunks(fake, asked)) == wanted
    assert "🧪".encode() in post(fake, "/chat/completions", asked).content
    assert max(len(character.encode()) for character in UNICODE) == 4


def test_answer_has_as_many_words_as_asked_for(fake: FakeProvider) -> None:
    """For long streams."""
    parts = chunks(fake, {**CHAT, "messages": [{"role": "user", "content": "[words=300]"}]})
    assert sum(" word" in part["choices"][0]["delta"].get("content", "") for part in parts) == 300


def test_answer_is_cut_short_when_tokens_are_limited(fake: FakeProvider) -> None:
    """A piece is a token; finish_reason says so."""
    for limit in ("max_tokens", "max_completion_tokens"):
        choice = answered(fake, {**CHAT, limit: 2})["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("a says:", "length")
        assert chunks(fake, {**CHAT, limit: 2})[-1]["choices"][0]["finish_reason"] == "length"
        assert answered(fake, {**CHAT, limit: 3})["choices"][0]["finish_reason"] == "stop"


def test_every_choice_has_its_index_when_several_are_asked_for(fake: FakeProvider) -> None:
    """Whole and streamed."""
    wanted = ["a says: hello", "a says: hello (choice 2)", "a says: hello (choice 3)"]
    choices = answered(fake, {**CHAT, "n": 3})["choices"]
    assert [(choice["index"], choice["message"]["content"]) for choice in choices] == list(enumerate(wanted))
    spoken = ["", "", ""]
    for part in chunks(fake, {**CHAT, "n": 3}):
        spoken[part["choices"][0]["index"]] += part["choices"][0]["delta"].get("content", "")
    assert spoken == wanted


def test_parts_of_text_are_read_when_content_is_a_list(fake: FakeProvider) -> None:
    """Other parts, such as images, are accepted and not described."""
    parts = [
        {"type": "text", "text": "what is"},
        {"type": "image_url", "image_url": {"url": "data:"}},
        {"type": "text", "text": "this"},
    ]
    reply = answered(fake, {**CHAT, "messages": [{"role": "user", "content": parts}]})
    assert reply["choices"][0]["message"]["content"] == "a says: what is this"


def test_long_text_is_quoted_in_part_when_echoed(fake: FakeProvider) -> None:
    """Twenty megabytes need not come back."""
    reply = answered(fake, {**CHAT, "messages": [{"role": "user", "content": "x" * 5000}]})
    assert reply["choices"][0]["message"]["content"] == f"a says: {'x' * 2000}… (5000 characters)"


# ---- tools and structured answers

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"enum": ["C", "F"]},
                "wind": {"type": ["number", "null"]},
                "tags": {"type": "array", "items": {"type": "boolean"}},
            },
        },
    },
}
TIME = {"type": "function", "function": {"name": "time"}}
TOOLS = {**CHAT, "tools": [WEATHER, TIME]}
ARGUMENTS = {"city": "hello", "days": 7, "unit": "C", "wind": 1.5, "tags": [True]}
PARALLEL = {**TOOLS, "messages": [{"role": "user", "content": "[parallel]"}]}


def test_tool_is_called_when_there_is_one(fake: FakeProvider) -> None:
    """With arguments that fit its schema, and no text."""
    choice = answered(fake, TOOLS)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["id"].startswith("call_")
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == ARGUMENTS


@pytest.mark.parametrize(
    ("body", "names"),
    [
        pytest.param(TOOLS, ["weather"], id="first"),
        pytest.param(
            {**TOOLS, "tool_choice": {"type": "function", "function": {"name": "time"}}}, ["time"], id="chosen"
        ),
        pytest.param(PARALLEL, ["weather", "time"], id="parallel"),
        pytest.param({**PARALLEL, "tools": [TIME]}, ["time", "time"], id="parallel with one tool"),
        pytest.param({**PARALLEL, "parallel_tool_calls": False}, ["weather"], id="parallel forbidden"),
        pytest.param({**TOOLS, "tool_choice": "none"}, [], id="none"),
        pytest.param({**TOOLS, "tools": []}, [], id="no tools"),
    ],
)
def test_these_tools_are_called_when_asked_so(fake: FakeProvider, body: dict[str, Any], names: list[str]) -> None:
    """Whole, and streamed with arguments in several fragments under the index of their call."""
    whole = answered(fake, body)["choices"][0]["message"].get("tool_calls", [])
    assert [call["function"]["name"] for call in whole] == names
    assert len({call["id"] for call in whole}) == len(names)
    streamed: list[dict[str, Any]] = []
    fragments: list[int] = []
    for part in chunks(fake, body):
        for call in part["choices"][0]["delta"].get("tool_calls", []):
            if "id" in call:
                assert call["index"] == len(streamed)
                streamed.append({"id": call["id"], "type": call["type"], "function": call["function"]})
                fragments.append(0)
            else:
                streamed[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
                fragments[call["index"]] += 1
    assert streamed == whole
    assert all(count >= 2 for count in fragments)


def test_results_are_quoted_when_tools_have_answered(fake: FakeProvider) -> None:
    """And no tool is called again until the user speaks."""
    calls = {**CALLED, "tool_calls": [{"id": "call_1"}, {"id": "call_2"}]}
    results = [RESULT, {**RESULT, "tool_call_id": "call_2", "content": [{"type": "text", "text": "ÿes"}]}]
    asked = {**TOOLS, "messages": [USER, calls, *results]}
    assert answered(fake, asked)["choices"][0]["message"]["content"] == "a read call_1: 42; call_2: ÿes"
    again = {**asked, "messages": [*asked["messages"], {"role": "assistant", "content": "so"}, USER]}
    assert answered(fake, again)["choices"][0]["finish_reason"] == "tool_calls"


def test_answer_is_json_when_asked_for(fake: FakeProvider) -> None:
    """Any object, or one that fits the schema, references included."""
    schema = {
        "type": "object",
        "properties": {
            "name": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "kind": {"const": "x"},
            "inner": {"$ref": "#/$defs/Inner"},
        },
        "$defs": {"Inner": {"type": "object", "properties": {"list": {"type": "array"}, "none": {"type": "null"}}}},
    }
    for wanted, value in (
        ({"type": "json_object"}, {"answer": "a says: hello"}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
            {"name": "a says: hello", "kind": "x", "inner": {"list": ["a says: hello"], "none": None}},
        ),
    ):
        reply = answered(fake, {**CHAT, "response_format": wanted})
        assert json.loads(reply["choices"][0]["message"]["content"]) == value


# ---- the other operations


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        pytest.param("once", ["a says: once"], id="text"),
        pytest.param(["one", "two"], ["a says: one", "a says: two"], id="texts"),
        pytest.param([1, 2], ["a says: 1 2"], id="tokens"),
        pytest.param([[1], [2, 3]], ["a says: 1", "a says: 2 3"], id="lists of tokens"),
    ],
)
def test_prompts_are_completed_when_asked(fake: FakeProvider, prompt: object, texts: list[str]) -> None:
    """Whole and streamed, with usage."""
    asked = {"model": "m", "prompt": prompt}
    whole = answered(fake, asked, "/completions")
    assert whole["object"] == "text_completion"
    assert [choice["text"] for choice in whole["choices"]] == texts
    assert whole["usage"]["completion_tokens"] > len(texts)
    parts = chunks(fake, {**asked, "stream_options": {"include_usage": True}}, "/completions")
    assert parts.pop()["usage"] == whole["usage"]
    spoken = [""] * len(texts)
    for part in parts:
        spoken[part["choices"][0]["index"]] += part["choices"][0]["text"]
    assert spoken == texts
    assert answered(fake, {**asked, "max_tokens": 1}, "/completions")["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("given", "count"),
    [
        pytest.param("text", 1, id="text"),
        pytest.param(["one", "two", "one"], 3, id="texts"),
        pytest.param([1, 2], 1, id="tokens"),
        pytest.param([[1], [2, 3]], 2, id="lists of tokens"),
    ],
)
@pytest.mark.parametrize("size", [None, 3])
def test_embeddings_are_the_same_numbers_in_both_encodings(
    fake: FakeProvider, given: object, count: int, size: int | None
) -> None:
    """Of length one, as many as asked for, equal for equal texts."""
    asked = {"model": "m", "input": given} | ({} if size is None else {"dimensions": size})
    plain = answered(fake, asked, "/embeddings")
    packed = answered(fake, {**asked, "encoding_format": "base64"}, "/embeddings")
    vectors = [item["embedding"] for item in plain["data"]]
    assert [item["index"] for item in plain["data"]] == list(range(count))
    assert {len(vector) for vector in vectors} == {size or 8}
    assert [
        list(struct.unpack(f"<{size or 8}f", base64.b64decode(item["embedding"]))) for item in packed["data"]
    ] == vectors
    assert all(abs(sum(number * number for number in vector) - 1) < 1e-6 for vector in vectors)
    assert count < 3 or (vectors[0] == vectors[2] and vectors[0] != vectors[1])
    assert plain["usage"]["prompt_tokens"] == plain["usage"]["total_tokens"] > 0


def test_models_are_listed_when_asked(fake: FakeProvider) -> None:
    """All, one, and none that does not exist."""
    listed = httpx.get(f"{fake.url}/models", trust_env=False, verify=NO_TLS).json()
    assert [model["id"] for model in listed["data"]] == ["m", "n"]
    assert httpx.get(f"{fake.url}/models/m", trust_env=False, verify=NO_TLS).json() == listed["data"][0]
    assert (
        httpx.get(f"{fake.url}/models/x", trust_env=False, verify=NO_TLS).json()["error"]["code"] == "model_not_found"
    )


def test_reply_is_late_when_there_is_latency() -> None:
    """Before the headers."""
    with FakeProvider(latency=0.2) as fake:
        started = time.monotonic()
        answered(fake, CHAT)
        assert time.monotonic() - started >= 0.2
