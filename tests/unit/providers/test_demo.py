"""The embedded provider ``demo``: what it answers, read with the official SDK's own types."""

from __future__ import annotations

import re
import struct
from base64 import b64decode
from dataclasses import replace
from decimal import Decimal
from enum import Enum
from math import hypot
from typing import Annotated, Any, Literal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from extproc.dialects.base import ClientReply
from extproc.errors import InvalidRequest
from extproc.framing.sse import SseFramer
from extproc.openai.call import Call, Operation, parse_call
from extproc.openai.usage import read_usage
from extproc.providers.demo import DEMO
from extproc.providers.demo.json_schema import NoValue, write_value
from extproc.providers.demo.json_schema.pattern import PatternNotWritable, write_pattern
from extproc.providers.demo.tokens import count_tokens, deltas, first_tokens

Json = dict[str, Any]

WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
FLIGHT: Json = {
    "type": "function",
    "function": {
        "name": "bookFlight",
        "description": "Reserves seats in a plane.",
        "parameters": {
            "type": "object",
            "properties": {"from_city": {"type": "string"}, "to": {"type": "string"}, "seats": {"type": "integer"}},
        },
    },
}
TIME: Json = {"type": "function", "function": {"name": "clock", "description": "Local time of a city."}}
NOTE: Json = {"type": "custom", "custom": {"name": "note", "description": "Keeps a text."}}


def user(content: object) -> Json:
    """A user's message."""
    return {"role": "user", "content": content}


def called(*names: str) -> Json:
    """An assistant's message that calls functions."""
    calls = [
        {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": "{}"}} for name in names
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(name: str, text: str) -> Json:
    """A tool's message that answers the call of ``name``."""
    return {"role": "tool", "tool_call_id": f"call_{name}", "content": text}


def parsed(operation: Operation, fields: Json) -> Call:
    """The call for a body with these fields."""
    return parse_call(operation, orjson.dumps({"model": "kortex-demo", **fields}))


def answered(call: Call) -> ClientReply:
    """The provider's reply."""
    assert DEMO.answer is not None
    return DEMO.answer(call, "kortex-demo")


def chat(content: object = "Hello there", **fields: object) -> ChatCompletion:
    """The reply to a chat, as the SDK reads it."""
    call = parsed(Operation.CHAT, {"messages": [user(content)], **fields})
    return ChatCompletion.model_validate_json(answered(call).body)


def completion(**fields: object) -> Completion:
    """The reply to prompts, as the SDK reads it."""
    return Completion.model_validate_json(answered(parsed(Operation.TEXT_COMPLETION, fields)).body)


def embeddings(**fields: object) -> list[list[float]]:
    """The vectors of inputs, as the SDK reads them."""
    body = answered(parsed(Operation.EMBEDDINGS, fields)).body
    return [item.embedding for item in CreateEmbeddingResponse.model_validate_json(body).data]


def streamed(call: Call, *, include_usage: bool = True) -> list[bytes]:
    """The events of the streamed answer to ``call``, which ended with ``[DONE]``."""
    framer = SseFramer(limit=1_000_000)
    events = framer.feed(answered(replace(call, stream=True, include_usage=include_usage)).body)
    assert framer.close() == []
    *chunks, done = [event.data for event in events]
    assert done == b"[DONE]"
    return chunks


def calls_of(message: ChatCompletionMessage) -> list[tuple[str, str, str]]:
    """Id, name and arguments of every call of a function."""
    calls = [call for call in message.tool_calls or [] if call.type == "function"]
    return [(call.id, call.function.name, call.function.arguments) for call in calls]


def arguments(message: ChatCompletionMessage) -> dict[str, Any]:
    """The arguments of every call, by the function's name."""
    return {name: orjson.loads(text) for _, name, text in calls_of(message)}


def gist(reply: ChatCompletion) -> object:
    """All that a whole reply and a reassembled stream must have alike."""
    choices = [
        (choice.index, choice.message.content or None, calls_of(choice.message), choice.finish_reason)
        for choice in reply.choices
    ]
    assert reply.usage is not None
    return reply.id, reply.model, reply.created, choices, reply.usage.model_dump()


@pytest.mark.parametrize("operation", Operation)
def test_provider_has_every_operation(operation: Operation) -> None:
    """Routing asks the record what the provider can do."""
    settings = DEMO.settings.model_validate({"provider": "demo"})
    assert DEMO.translator(operation, settings, "kortex-demo") is not None


def test_settings_need_nothing_but_the_provider() -> None:
    """A backend of the demo is one line of configuration."""
    assert DEMO.settings.model_validate({"provider": "demo"}).api_key is None


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        pytest.param(Operation.CHAT, {"messages": [user("Hi")], "stream": True}, id="chat"),
        pytest.param(Operation.TEXT_COMPLETION, {"prompt": "Hi"}, id="completion"),
        pytest.param(Operation.EMBEDDINGS, {"input": "Hi"}, id="embeddings"),
    ],
)
def test_answer_has_the_same_bytes_when_asked_again(operation: Operation, fields: Json) -> None:
    """Nothing depends on the clock, on chance or on earlier calls; another question has another answer."""
    call = parsed(operation, fields)
    assert answered(call) == answered(call)
    assert answered(call).body != answered(parsed(operation, {**fields, "user": "somebody", **_longer(fields)})).body


def _longer(fields: Json) -> Json:
    return {name: f"{value} there" for name, value in fields.items() if isinstance(value, str)}


def test_reply_names_the_clients_model_when_the_backend_has_another() -> None:
    """The client reads the name it asked for; the gateway learns the provider's."""
    call = parsed(Operation.CHAT, {"model": "gpt-4o", "messages": [user("Hi")]})
    assert DEMO.answer is not None
    reply = DEMO.answer(call, "kortex-demo")
    assert (ChatCompletion.model_validate_json(reply.body).model, reply.model) == ("gpt-4o", "kortex-demo")


def test_chat_says_who_answers_and_what_was_asked() -> None:
    """The very first call somebody makes."""
    reply = chat("What is the capital of France?")
    assert reply.choices[0].message.content == (
        "Hello from kortex-demo, the demo model inside Kortex. "
        'You wrote "What is the capital of France?" '
        "I answer offline and always alike; connect a provider to Kortex for a model that thinks."
    )
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (7, 41, 48)


IMAGE: Json = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SOUND: Json = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
FILE: Json = {"type": "file", "file": {"filename": "report.pdf", "file_data": "AAAA"}}


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        pytest.param([user([{"type": "text", "text": "Hello parts"}])], '"Hello parts".', id="text part"),
        pytest.param([user([{"type": "text", "text": "A"}, IMAGE, IMAGE, SOUND, FILE])],
                     "2 images and 1 recording and 1 file (report.pdf)", id="attachments"),
        pytest.param([user([IMAGE])], "You have not written anything to me yet. With it came 1 image", id="no text"),
        pytest.param([{"role": "system", "content": "Be brief"}, user("A")], '"Be brief".', id="system"),
        pytest.param([{"role": "developer", "content": "Be kind"}, user("A")], '"Be kind".', id="developer"),
        pytest.param([user("First"), {"role": "assistant", "content": "?"}, user("Second")],
                     'You wrote "Second". It is message number 2', id="second turn"),
        pytest.param([{"role": "assistant", "content": "Hi"}], "You have not written anything", id="no user"),
        pytest.param([user("word " * 100)], f'"{"word " * 56}...', id="long text"),
        pytest.param([user("x" * 5_000)], f'"{"x" * 280} ...', id="long word"),
        pytest.param([user("a"), called("f", "g"), result("f", '{"t": 18}'), result("g", "It rains!")],
                     'f returned "{"t": 18}". g returned "It rains!" You had asked "a".', id="tool results"),
        pytest.param([user("a"), {"role": "function", "name": "f", "content": "18"}],
                     'f returned "18".', id="function result"),
    ],
)  # fmt: skip
def test_chat_refers_to_what_it_was_sent(messages: list[Json], said: str) -> None:
    """Whatever a client sends shows in the answer, so that its author sees it arrived."""
    assert said in str(chat(messages=messages).choices[0].message.content)


def test_choices_differ_when_several_are_asked_for() -> None:
    """``n`` answers, numbered, and all of them counted."""
    reply = chat(n=3)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    texts = [choice.message.content or "" for choice in reply.choices]
    assert len(set(texts)) == 3
    assert reply.usage is not None
    assert reply.usage.completion_tokens == sum(map(count_tokens, texts))


@pytest.mark.parametrize(
    ("fields", "text", "reason"),
    [
        pytest.param({"stop": ", the"}, "Hello from kortex-demo", "stop", id="stop"),
        pytest.param({"stop": ["demo", "", "from"]}, "Hello ", "stop", id="earliest stop"),
        pytest.param({"stop": "Hello"}, "", "stop", id="stop at the start"),
        pytest.param({"max_tokens": 5}, "Hello from kortex-demo", "length", id="max_tokens"),
        pytest.param({"max_completion_tokens": 2, "max_tokens": 9}, "Hello from", "length", id="newer name first"),
        pytest.param({"max_tokens": 2, "stop": " the"}, "Hello from", "length", id="limit before stop"),
        pytest.param({"max_tokens": 9, "stop": " kortex"}, "Hello from", "stop", id="stop before limit"),
    ],
)
def test_chat_ends_where_a_limit_says(fields: Json, text: str, reason: str) -> None:
    """Limits cut the text, never a token, and the finish reason tells which one it was."""
    choice = chat(**fields).choices[0]
    assert (choice.message.content, choice.finish_reason) == (text, reason)


@pytest.mark.parametrize(
    ("messages", "tools", "tokens"),
    [
        pytest.param([user("one, two")], None, 3, id="words and marks"),
        pytest.param([{"role": "system", "content": "a b"}, user([{"type": "text", "text": "c"}, IMAGE])], None, 3,
                     id="every message, no image"),
        pytest.param([user("a"), called("get_f"), result("get_f", "18 C")], None, 1 + 3 + 2, id="calls and results"),
        pytest.param([user("a")], [TIME], 1 + 38, id="tools"),
    ],
)  # fmt: skip
def test_prompt_tokens_count_messages_and_tools(messages: list[Json], tools: list[Json] | None, tokens: int) -> None:
    """The rule of tokens.py over all text of the request; a tool counts as its JSON."""
    usage = chat(messages=messages, tools=tools).usage
    assert usage is not None
    assert usage.prompt_tokens == tokens


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        pytest.param("What is the weather in Paris, in fahrenheit, for 3 days?",
                     {"get_weather": {"city": "Paris", "unit": "fahrenheit", "days": 3}}, id="name mentioned"),
        pytest.param("Book flights from San Francisco, CA to New York for 2",
                     {"bookFlight": {"from_city": "San Francisco", "to": "New York", "seats": 2}}, id="prepositions"),
        pytest.param("Weather and a flight to Rome",
                     {"get_weather": {"city": "Rome", "unit": "celsius", "days": 1},
                      "bookFlight": {"from_city": "Weather and a flight to Rome", "to": "Rome", "seats": 1}},
                     id="two names mentioned"),
        pytest.param("Which cities are big?",
                     {"get_weather": {"city": "Which cities are big?", "unit": "celsius", "days": 1}}, id="required"),
        pytest.param("What is the local time?", {"clock": {}}, id="description mentioned"),
    ],
)  # fmt: skip
def test_tools_are_called_when_the_text_speaks_of_them(text: str, calls: Json) -> None:
    """Every tool whose name is mentioned, else one whose description is, with arguments out of the text."""
    choice = chat(text, tools=[WEATHER, FLIGHT, TIME], tool_choice="required").choices[0]
    assert arguments(choice.message) == calls
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)


@pytest.mark.parametrize(
    ("text", "fields", "names"),
    [
        pytest.param("Hello", {}, [], id="auto, nothing mentioned"),
        pytest.param("Hello, give me the list of all", {"tool_choice": "auto"}, [], id="auto, empty words"),
        pytest.param("weather", {"tool_choice": "auto"}, ["get_weather"], id="auto, mentioned"),
        pytest.param("weather", {"tool_choice": "none"}, [], id="none"),
        pytest.param("Hello", {"tool_choice": "required"}, ["get_weather"], id="required"),
        pytest.param("weather", {"tool_choice": {"type": "function", "function": {"name": "bookFlight"}}},
                     ["bookFlight"], id="named"),
        pytest.param("weather and flight", {}, ["get_weather", "bookFlight"], id="parallel"),
        pytest.param("weather and flight", {"parallel_tool_calls": False}, ["get_weather"], id="one at a time"),
        pytest.param("weather", {"tool_choice": {"type": "allowed_tools", "allowed_tools": {
            "mode": "required", "tools": [{"type": "function", "function": {"name": "clock"}}]}}},
            ["clock"], id="allowed tools"),
        pytest.param("weather", {"tool_choice": {"type": "allowed_tools", "allowed_tools": {
            "mode": "auto", "tools": [{"type": "function", "function": {"name": "clock"}}]}}},
            [], id="allowed tools, none mentioned"),
    ],
)  # fmt: skip
def test_tool_choice_decides_what_is_called(text: str, fields: Json, names: list[str]) -> None:
    """https://platform.openai.com/docs/api-reference/chat/create#chat-create-tool_choice"""
    message = chat(text, tools=[WEATHER, FLIGHT, TIME], **fields).choices[0].message
    assert [name for _, name, _ in calls_of(message)] == names
    assert (message.content is None) == bool(names)


def test_tools_are_not_called_again_when_they_have_answered() -> None:
    """An agent's loop ends."""
    messages = [user("weather in Oslo"), called("get_weather"), result("get_weather", "rain")]
    choice = chat(messages=messages, tools=[WEATHER], tool_choice="required").choices[0]
    assert (calls_of(choice.message), choice.finish_reason) == ([], "stop")
    assert 'get_weather returned "rain".' in str(choice.message.content)


def test_tools_are_called_again_when_the_user_speaks_after_them() -> None:
    """Old results do not stand in the way of a new question."""
    messages = [user("weather in Oslo"), called("get_weather"), result("get_weather", "rain"), user("weather in Rome")]
    message = chat(messages=messages, tools=[WEATHER]).choices[0].message
    assert arguments(message)["get_weather"]["city"] == "Rome"


def test_custom_tool_gets_the_text() -> None:
    """https://platform.openai.com/docs/guides/function-calling#custom-tools"""
    call = parsed(Operation.CHAT, {"messages": [user("Note this: milk")], "tools": [NOTE]})
    whole = orjson.loads(answered(call).body)["choices"][0]["message"]["tool_calls"]
    assert [made["custom"] for made in whole] == [{"name": "note", "input": "Note this: milk"}]
    deltas_of_calls = [
        made
        for data in streamed(call, include_usage=False)
        for made in orjson.loads(data)["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert deltas_of_calls[0] == {"index": 0, **whole[0], "custom": {"name": "note", "input": ""}}
    assert "".join(made["custom"]["input"] for made in deltas_of_calls) == "Note this: milk"


def test_ids_of_calls_differ_in_one_reply() -> None:
    """A client answers each call by its id."""
    reply = chat("weather and flight", tools=[WEATHER, FLIGHT], n=2)
    ids = [call_id for choice in reply.choices for call_id, _, _ in calls_of(choice.message)]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("limit", "calls", "reason"),
    [
        pytest.param(500, [("get_weather", '{"city":"Oslo","unit":"celsius","days":1}'), ("clock", "{}")],
                     "tool_calls", id="enough"),
        pytest.param(9, [("get_weather", '{"city":"Oslo"')], "length", id="in the arguments"),
        pytest.param(1, [("get_weather", "")], "length", id="after the name"),
    ],
)  # fmt: skip
def test_tool_calls_are_cut_when_tokens_run_out(limit: int, calls: list[tuple[str, str]], reason: str) -> None:
    """As from a real model: arguments that end in the middle, and ``length``."""
    choice = chat("weather in Oslo, and the clock", tools=[WEATHER, TIME], max_tokens=limit).choices[0]
    assert ([call[1:] for call in calls_of(choice.message)], choice.finish_reason) == (calls, reason)


class Unit(Enum):
    """A class of its own, so that the schema refers to it."""

    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


class Leaf(BaseModel):
    """Where the recursion of ``Branch`` ends."""

    kind: Literal["leaf"]


class Branch(BaseModel):
    """Needs a branch or a leaf, and may have more branches."""

    kind: Literal["branch"]
    left: Branch | Leaf
    more: list[Branch]


class Strict(BaseModel):
    """One property for each thing that schemas say."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=3, max_length=20)
    code: str = Field(pattern=r"^[A-Z]{2}-\d{3,5}(?:/[a-z]+)?$")
    unit: Unit
    ratio: float = Field(gt=0, lt=0.5)
    price: Decimal = Field(ge=1)
    quarters: float = Field(ge=1.1, multiple_of=0.25)
    even: int = Field(ge=1, multiple_of=2)
    below: int = Field(lt=-3)
    tags: set[str] = Field(min_length=3)
    pair: tuple[int, str]
    counts: dict[str, int] = Field(min_length=2)
    choice: int | list[str]
    version: Literal[2] = 2
    maybe: Annotated[str, Field(max_length=4)] | None
    none: None
    flag: bool
    anything: Any
    long: str = Field(min_length=300)
    branches: list[Branch]


@pytest.mark.parametrize(
    "text", ["", "Tell me about Rome, in fahrenheit, 7 or -4 or 0.3", "x" * 10_000, "日本語のテスト"]
)
@pytest.mark.parametrize(
    "adapter",
    [
        pytest.param(TypeAdapter(Strict), id="model"),
        pytest.param(TypeAdapter(Branch), id="recursive"),
        pytest.param(TypeAdapter(list[Strict]), id="list"),
        pytest.param(TypeAdapter(dict[str, Leaf]), id="dict"),
        pytest.param(TypeAdapter(Strict | Leaf), id="union"),
    ],
)
def test_json_fits_the_schema_when_one_is_given(adapter: TypeAdapter[Any], text: str) -> None:
    """Pydantic writes the schema and reads the answer."""
    schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": adapter.json_schema()}}
    content = chat([{"type": "text", "text": text}], response_format=schema).choices[0].message.content
    adapter.validate_json(content or "")


def nested(levels: int) -> Json:
    """Arrays in arrays, none of them empty."""
    schema: Json = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "array", "minItems": 1, "items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        pytest.param({}, {}, id="any object"),
        pytest.param({"type": "string"}, "Oslo", id="root of another type"),
        pytest.param({"properties": {"a": {"default": 5, "type": "integer"}}}, {"a": 5}, id="default"),
        pytest.param({"properties": {"a": {"type": ["null", "integer"]}}}, {"a": 3}, id="null last"),
        pytest.param({"properties": {"a": {"enum": ["x", "y"], "default": "y"}}}, {"a": "y"}, id="default of an enum"),
        pytest.param({"properties": {"a": {"enum": ["bergen", "oslo"]}}}, {"a": "oslo"}, id="enum mentioned"),
        pytest.param({"properties": {"a": {"type": "string"}, "b": {"type": "string", "examples": ["e"]}}},
                     {"a": "Oslo", "b": "e"}, id="example when phrases ran out"),
        pytest.param({"properties": {"a": {"type": "string", "format": "date"}}}, {"a": "2026-01-01"}, id="format"),
        pytest.param({"required": ["a"]}, {"a": "Oslo"}, id="required only"),
        pytest.param({"required": ["a"], "additionalProperties": {"type": "integer"}}, {"a": 3}, id="required, typed"),
        pytest.param({"properties": {"a": False, "b": True}}, {"b": "Oslo"}, id="what cannot be is left out"),
        pytest.param({"allOf": [{"properties": {"a": {"type": "integer"}}}, {"properties": {"a": {"minimum": 9}}}]},
                     {"a": 9}, id="allOf"),
        pytest.param({"properties": {"a": {"$ref": "#/$defs/x~1y/0"}}, "$defs": {"x/y": [{"const": 7}]}}, {"a": 7},
                     id="pointer"),
        pytest.param({"properties": {"a": {"$ref": "#"}, "b": {"type": "integer"}}}, {"b": 3}, id="recursion ends"),
        pytest.param({"properties": {"a": {"type": "array", "maxItems": 0}}}, {"a": []}, id="no items"),
        pytest.param({"properties": {"a": {"items": {"type": "integer"}, "minItems": 2}}}, {"a": [3, 2]}, id="items"),
        pytest.param({"type": ["integer", "string"], "minimum": 2, "maximum": 1}, "Oslo", id="second type"),
        pytest.param({"properties": {"a": {"enum": [True, 3]}}}, {"a": 3}, id="number mentioned"),
        pytest.param({"properties": {"a": {"type": "integer", "multipleOf": 0}}}, {"a": 3}, id="multiple of nothing"),
        pytest.param({"type": "string", "pattern": "^a+b+$", "minLength": 5, "maxLength": 6}, "aaabbb", id="pattern"),
        pytest.param({"type": "string", "pattern": "^a+$", "maxLength": 0}, "", id="no such pattern"),
        pytest.param({"properties": {"from": {"type": "string"}}}, {"from": "3 days in Oslo"}, id="no direction"),
        pytest.param({"type": "array", "minItems": 2, "uniqueItems": True, "items": {"enum": ["x", "y"]}}, ["x", "y"],
                     id="unique items"),
        pytest.param({"properties": {"a": {"exclusiveMinimum": True, "minimum": 4}}}, {"a": 5}, id="draft 4 bound"),
        pytest.param({"properties": {"a": {"type": "integer", "maximum": 10**30, "minimum": 10**29}}},
                     {"a": 1e29}, id="huge"),
    ],
)  # fmt: skip
def test_values_come_from_the_schema_and_the_text(schema: Json, value: object) -> None:
    """The rules in the docstring of json_schema/value.py, one by one."""
    assert write_value(schema, "3 days in Oslo") == value


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"required": ["a"], "properties": {"a": False}}, id="false"),
        pytest.param(nested(60), id="too deep"),
        pytest.param({"type": "number", "minimum": 1.7e308}, id="too large a number"),
        pytest.param({"required": ["a"], "properties": {"a": {"$ref": "#"}}}, id="endless"),
        pytest.param({"$ref": "https://example.com/schema"}, id="reference to elsewhere"),
        pytest.param({"$ref": "#/nowhere"}, id="reference to nothing"),
        pytest.param({"type": "integer", "minimum": 2, "maximum": 1}, id="number bounds"),
        pytest.param({"type": "string", "minLength": 2, "maxLength": 1}, id="string bounds"),
        pytest.param({"type": "array", "minItems": 2, "maxItems": 1}, id="array bounds"),
        pytest.param({"type": "array", "minItems": 2, "uniqueItems": True, "items": {"const": 1}}, id="never unique"),
        pytest.param({"enum": []}, id="empty enum"),
        pytest.param({"anyOf": [False, False]}, id="no alternative"),
        pytest.param({"type": "array", "minItems": 10**9}, id="too many items"),
        pytest.param({"type": "string", "minLength": 10**9}, id="too long"),
        pytest.param({"const": "x" * 1_000_000}, id="too large a constant"),
    ],
)
def test_schema_is_refused_when_nothing_fits(schema: Json) -> None:
    """The model does not make up an answer that the client would have to refuse."""
    with pytest.raises(NoValue):
        write_value(schema, "Hi")
    schema = {"type": "object", "required": ["value"], "properties": {"value": {"anyOf": [schema]}}, **schema}
    with pytest.raises(InvalidRequest, match="Invalid schema for function 'f': ") as refused:
        chat(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}], tool_choice="required")
    assert refused.value.param == "tools[0].function.parameters"


def test_schema_is_filled_as_far_as_it_goes_when_it_doubles_at_every_level() -> None:
    """References make two to the thirtieth values out of thirty lines: optional ones are left out."""
    branches = {
        f"d{level}": {"type": "object", "properties": {name: {"$ref": f"#/$defs/d{level + 1}"} for name in "ab"}}
        for level in range(30)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": {**branches, "d30": {"type": "string"}}}
    assert 1_000 < len(orjson.dumps(write_value(schema, "Hi"))) < 1_000_000


def test_json_object_is_an_object() -> None:
    """JSON mode without a schema."""
    content = chat("Hi", response_format={"type": "json_object"}).choices[0].message.content
    assert 'You wrote "Hi".' in orjson.loads(content or "")["answer"]


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[a-z]+$",
        r"^\d{3}-\d{2}-\d{4}$",
        r"^(\([0-9]{3}\))?[0-9]{3}-[0-9]{4}$",
        r"^[^@\s]+@[^@]+\.[a-z]{2,}$",
        r"^(?:a|b){2,3}c*$",
        r"^\+?[1-9]\d{1,14}$",
        r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$",
        r"^[\s\S]{2}[^\w\s]\D\W\S$",
        r"^\u0041\x42\t[\]\-\\]\.$",
        r"^(?P<year>\d{4})x??y*?\b[$^.]$",
        r"^{}[a-]$",
    ],
)
@pytest.mark.parametrize("repeat", [1, 4])
def test_pattern_matches_what_is_written_for_it(pattern: str, repeat: int) -> None:
    """Python's own engine is the judge."""
    assert re.search(pattern, write_pattern(pattern, repeat))


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "[", "[]", "*a", "\\", r"(a)\1", r"\p{L}", "(?i)a", "a{9999}", "x" * 501, "(a", "(" * 40, r"\ud800"],
)
def test_pattern_is_refused_when_it_cannot_be_written(pattern: str) -> None:
    """Broken, unknown or too long; the property then gets an ordinary text."""
    with pytest.raises(PatternNotWritable):
        write_pattern(pattern, 1)
    assert write_value({"type": "string", "pattern": pattern}, "to Oslo") == "Oslo"


RESPONSE_FORMATS: list[Json | None] = [None, {"type": "json_object"}]


@settings(deadline=None)
@given(
    content=st.text(),
    n=st.integers(1, 3),
    max_tokens=st.none() | st.integers(1, 60),
    stop=st.none() | st.lists(st.text(max_size=2), max_size=2),
    tools=st.none() | st.just([WEATHER, FLIGHT]),
    forced=st.booleans(),
    response_format=st.sampled_from(RESPONSE_FORMATS),
)
def test_stream_says_what_the_whole_reply_says(
    content: str, *, forced: bool, tools: list[Json] | None, **fields: object
) -> None:
    """The official SDK puts the chunks together."""
    if tools:
        fields.update(tools=tools, tool_choice="required" if forced else "auto")
    call = parsed(Operation.CHAT, {"messages": [user(content)], **fields})
    reply = answered(call)
    whole = ChatCompletion.model_validate_json(reply.body)
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for data in streamed(call):
        state.handle_chunk(ChatCompletionChunk.model_validate_json(data))
    assert gist(state.current_completion_snapshot) == gist(whole)
    assert reply.usage == read_usage(orjson.loads(reply.body)["usage"])


def test_stream_comes_in_the_order_a_real_one_does() -> None:
    """Role, words, finish reason; the usage chunk last."""
    call = parsed(Operation.CHAT, {"messages": [user("Hi")], "max_tokens": 2})
    chunks = [ChatCompletionChunk.model_validate_json(data) for data in streamed(call)]
    seen = [
        (choice.delta.role, choice.delta.content, choice.finish_reason) for chunk in chunks for choice in chunk.choices
    ]
    assert seen == [
        ("assistant", "", None),
        (None, "Hello", None),
        (None, " from", None),
        (None, None, "length"),
    ]
    assert [chunk.usage is None for chunk in chunks] == [True, True, True, True, False]
    assert all("usage" in orjson.loads(data) for data in streamed(call))


def test_stream_has_no_usage_when_nobody_asked() -> None:
    """Not even an empty member; the gateway learns it all the same."""
    call = parsed(Operation.CHAT, {"messages": [user("Hi")], "stream": True})
    chunks = [orjson.loads(data) for data in streamed(call, include_usage=False)]
    assert all(chunk["choices"] and "usage" not in chunk for chunk in chunks)
    assert answered(call).usage is not None


@settings(deadline=None)
@given(st.text())
def test_deltas_are_words_and_add_up_to_the_text(text: str) -> None:
    """Nothing is lost between two deltas, and counting agrees with cutting."""
    assert "".join(deltas(text)) == text
    assert count_tokens(text) == len(
        re.findall(r"[0-9A-Za-z_\x7f-\u1fff]+|[^\x00-\x20\x7f-\u1fff\w]|[\u2000-\U0010ffff]", text)
    )
    tokens = count_tokens(text)
    for limit in {0, tokens // 2, tokens}:
        assert text.startswith(first_tokens(text, limit))
        assert count_tokens(first_tokens(text, limit)) == limit
    assert count_tokens(first_tokens(text, tokens + 1)) == tokens


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("Hello, world  again. ", ["Hello", ",", " world", "  again", ".", " "], id="words"),
        pytest.param("snake_case don't", ["snake_case", " don", "'", "t"], id="underscore and apostrophe"),
        pytest.param("Größe 日本", ["Größe", " 日", "本"], id="alphabets and ideographs"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_deltas_follow_the_token_rule(text: str, parts: list[str]) -> None:
    """The examples of the rule."""
    assert deltas(text) == parts


def test_deltas_hold_more_tokens_when_the_text_is_long() -> None:
    """A chunk weighs a hundred times what a word does: the number of chunks is bounded."""
    parts = deltas("word " * 10_000)
    assert 128 < len(parts) <= 256
    assert "".join(parts) == "word " * 10_000


@pytest.mark.parametrize(
    ("fields", "texts", "reasons"),
    [
        pytest.param({"prompt": "One", "max_tokens": 4}, [" ... Hello"], ["length"], id="string"),
        pytest.param({"prompt": "One", "max_tokens": 4, "echo": True}, ["One ... Hello"], ["length"], id="echo"),
        pytest.param({"prompt": "One", "max_tokens": 0, "echo": True}, ["One"], ["length"], id="echo only"),
        pytest.param({"prompt": ["One", "Two"], "n": 2, "max_tokens": 4, "echo": True},
                     ["One ... Hello", "One ... This", "Two ... Hello", "Two ... This"], ["length"] * 4,
                     id="list and n"),
        pytest.param({"prompt": [5, 6], "stop": " from", "echo": True}, ["5 6 ... Hello"], ["stop"], id="tokens"),
        pytest.param({"prompt": [[5], [6, 7]], "stop": " ...", "echo": True}, ["5", "6 7"], ["stop"] * 2,
                     id="token lists"),
    ],
)  # fmt: skip
def test_completion_goes_on_from_the_prompt(fields: Json, texts: list[str], reasons: list[str]) -> None:
    """Every prompt, ``n`` times; streamed as whole."""
    whole = completion(**fields)
    assert [choice.text for choice in whole.choices] == texts
    assert [choice.finish_reason for choice in whole.choices] == reasons
    pieces = [""] * len(texts)
    ends = {}
    for data in streamed(parsed(Operation.TEXT_COMPLETION, fields), include_usage=False):
        [choice] = orjson.loads(data)["choices"]
        pieces[choice["index"]] += choice["text"]
        ends[choice["index"]] = choice["finish_reason"]
    assert (pieces, [ends[index] for index in range(len(texts))]) == (texts, reasons)


def test_completion_refers_to_its_prompt_and_counts() -> None:
    """What was echoed is the prompt's, not the answer's."""
    reply = completion(prompt="Once upon a time", echo=True)
    assert 'go on from "Once upon a time".' in reply.choices[0].text
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (4, count_tokens(reply.choices[0].text) - 4)


def test_embeddings_are_near_when_words_are_shared() -> None:
    """Enough of a meaning to try a vector store with."""
    cat, kitten, money = embeddings(input=["The cat sat on the mat.", "a cat sat on my mat", "quarterly revenue grew"])
    assert cosine(cat, kitten) > 0.4
    assert abs(cosine(cat, money)) < 0.2


def cosine(first: list[float], second: list[float]) -> float:
    """Of unit vectors."""
    return sum(one * other for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("size", [1, 2, 256, 1536])
@pytest.mark.parametrize("given", ["a", " ", "!", [7, 8], "word " * 300, list("abcdefghijklmnopqrstuvwxyz")])
def test_embeddings_are_unit_vectors(given: object, size: int) -> None:
    """Of the size asked for, whatever the text: also where the words cancel out, as some do in one dimension."""
    for vector in embeddings(input=given, dimensions=size):
        assert len(vector) == size
        assert hypot(*vector) == pytest.approx(1, abs=1e-6)


def test_embeddings_are_the_same_numbers_when_encoded() -> None:
    """The official SDK asks for base64, which is little-endian 32-bit floats."""
    fields = {"input": ["one", "two words"]}
    reply = orjson.loads(answered(parsed(Operation.EMBEDDINGS, {**fields, "encoding_format": "base64"})).body)
    decoded = [list(struct.unpack("<256f", b64decode(item["embedding"]))) for item in reply["data"]]
    assert decoded == embeddings(**fields)
    assert (reply["usage"], [item["index"] for item in reply["data"]]) == (
        {"prompt_tokens": 3, "total_tokens": 3},
        [0, 1],
    )


def _tool(**function: object) -> list[Json]:
    return [{"type": "function", "function": function}]


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        pytest.param({"n": 0}, "n",
                     "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead.",
                     id="n below"),
        pytest.param({"n": 129}, "n",
                     "Invalid 'n': integer above maximum value. Expected a value <= 128, but got 129 instead.",
                     id="n above"),
        pytest.param({"n": True}, "n",
                     "Invalid type for 'n': expected an integer, but got a boolean instead.", id="n type"),
        pytest.param({"max_tokens": "x"}, "max_tokens",
                     "Invalid type for 'max_tokens': expected an integer, but got a string instead.", id="max_tokens"),
        pytest.param({"max_completion_tokens": 1.5}, "max_completion_tokens",
                     "Invalid type for 'max_completion_tokens': expected an integer, but got a decimal number instead.",
                     id="max_completion_tokens"),
        pytest.param({"max_tokens": 0}, "max_tokens",
                     "Invalid 'max_tokens': integer below minimum value. Expected a value >= 1, but got 0 instead.",
                     id="no tokens"),
        pytest.param({"stop": 1}, "stop",
                     "Invalid type for 'stop': expected one of a string or array of strings, but got an "
                     "integer instead.", id="stop"),
        pytest.param({"stop": ["a", 1]}, "stop[1]",
                     "Invalid type for 'stop[1]': expected a string, but got an integer instead.", id="stop member"),
        pytest.param({"stop": list("abcde")}, "stop",
                     "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with "
                     "length 5 instead.", id="stops"),
        pytest.param({"messages": [{"content": "a"}]}, "messages[0].role",
                     "Missing required parameter: 'messages[0].role'.", id="no role"),
        pytest.param({"messages": [user("a"), {"role": "robot", "content": "a"}]}, "messages[1].role",
                     "Invalid value: 'robot'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', "
                     "and 'developer'.", id="role"),
        pytest.param({"messages": [{"role": "user"}]}, "messages[0].content",
                     "Missing required parameter: 'messages[0].content'.", id="no content"),
        pytest.param({"messages": [user(None)]}, "messages[0].content",
                     "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got "
                     "null instead.", id="content"),
        pytest.param({"messages": [user([{"type": "video"}])]}, "messages[0].content[0].type",
                     "Invalid value: 'video'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', "
                     "'audio', and 'file'.", id="part"),
        pytest.param({"messages": [user([{"type": "image_url", "image_url": "http://a"}])]},
                     "messages[0].content[0].image_url",
                     "Invalid type for 'messages[0].content[0].image_url': expected an object, but got a string "
                     "instead.", id="image"),
        pytest.param({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].tool_call_id",
                     "Missing required parameter: 'messages[0].tool_call_id'.", id="no call id"),
        pytest.param({"messages": [{"role": "assistant", "tool_calls": [{"type": "function", "id": "a", "function": {
                         "name": "f", "arguments": {}}}]}]}, "messages[0].tool_calls[0].function.arguments",
                     "Invalid type for 'messages[0].tool_calls[0].function.arguments': expected a string, but got an "
                     "object instead.", id="arguments"),
        pytest.param({"tools": {}}, "tools",
                     "Invalid type for 'tools': expected an array of objects, but got an object instead.", id="tools"),
        pytest.param({"tools": []}, "tools",
                     "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array "
                     "instead.", id="no tools"),
        pytest.param({"tools": [1]}, "tools[0]",
                     "Invalid type for 'tools[0]': expected an object, but got an integer instead.", id="tool"),
        pytest.param({"tools": [{"type": "web"}]}, "tools[0].type",
                     "Invalid value: 'web'. Supported values are: 'function' and 'custom'.", id="tool type"),
        pytest.param({"tools": _tool()}, "tools[0].function.name",
                     "Missing required parameter: 'tools[0].function.name'.", id="tool name"),
        pytest.param({"tools": _tool(name="f" * 65)}, "tools[0].function.name",
                     "Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64, but "
                     "got a string with length 65 instead.", id="long tool name"),
        pytest.param({"tools": _tool(name="f", parameters=[])}, "tools[0].function.parameters",
                     "Invalid type for 'tools[0].function.parameters': expected an object, but got an array instead.",
                     id="parameters"),
        pytest.param({"tool_choice": "auto"}, "tool_choice",
                     "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
                     id="choice without tools"),
        pytest.param({"tools": _tool(name="f"), "tool_choice": 1}, "tool_choice",
                     "Invalid type for 'tool_choice': expected one of a string or object, but got an integer instead.",
                     id="choice type"),
        pytest.param({"tools": _tool(name="f"), "tool_choice": "any"}, "tool_choice",
                     "Invalid value: 'any'. Supported values are: 'none', 'auto', and 'required'.", id="choice"),
        pytest.param({"tools": _tool(name="f"), "tool_choice": {"type": "function", "function": {"name": "g"}}},
                     "tool_choice",
                     "Invalid value for 'tool_choice': tool choice 'g' not found in 'tools' parameter.",
                     id="no such tool"),
        pytest.param({"tools": _tool(name="f"), "parallel_tool_calls": 1}, "parallel_tool_calls",
                     "Invalid type for 'parallel_tool_calls': expected a boolean, but got an integer instead.",
                     id="parallel"),
        pytest.param({"response_format": {"type": "xml"}}, "response_format.type",
                     "Invalid value: 'xml'. Supported values are: 'text', 'json_object', and 'json_schema'.",
                     id="format"),
        pytest.param({"response_format": {"type": "json_schema"}}, "response_format.json_schema",
                     "Missing required parameter: 'response_format.json_schema'.", id="no schema"),
        pytest.param({"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"not": {},
                         "enum": []}}}}, "response_format.json_schema.schema",
                     "Invalid schema for response_format 's': an enum is empty.", id="schema"),
    ],
)  # fmt: skip
def test_chat_is_refused_in_openais_words_when_a_field_is_wrong(fields: Json, param: str, message: str) -> None:
    """Fields that the model reads are checked, and the error names the place."""
    with pytest.raises(InvalidRequest) as refused:
        chat(**fields)
    assert (refused.value.message, refused.value.param) == (message, param)


@pytest.mark.parametrize(
    ("operation", "fields", "param"),
    [
        pytest.param(Operation.TEXT_COMPLETION, {"prompt": "a", "echo": 1}, "echo", id="echo"),
        pytest.param(Operation.TEXT_COMPLETION, {"prompt": ["a", 1]}, "prompt[1]", id="prompt"),
        pytest.param(Operation.TEXT_COMPLETION, {"prompt": [1, "a"]}, "prompt[1]", id="token"),
        pytest.param(Operation.TEXT_COMPLETION, {"prompt": [1, -1]}, "prompt[1]", id="negative token"),
        pytest.param(
            Operation.TEXT_COMPLETION, {"prompt": "a" * 50_000, "echo": True, "n": 100}, "n", id="echo of all"
        ),
        pytest.param(Operation.TEXT_COMPLETION, {"prompt": "a", "max_tokens": -1}, "max_tokens", id="max_tokens"),
        pytest.param(Operation.EMBEDDINGS, {"input": ["a", ""]}, "input[1]", id="empty input"),
        pytest.param(Operation.EMBEDDINGS, {"input": [[]]}, "input[0]", id="empty tokens"),
        pytest.param(Operation.EMBEDDINGS, {"input": ["a"] * 2_049}, "input", id="too many inputs"),
        pytest.param(Operation.EMBEDDINGS, {"input": "a " * 300_001}, "input", id="too many tokens"),
        pytest.param(Operation.EMBEDDINGS, {"input": "a", "dimensions": 0}, "dimensions", id="dimensions"),
        pytest.param(Operation.EMBEDDINGS, {"input": "a", "dimensions": 1_537}, "dimensions", id="many dimensions"),
        pytest.param(Operation.EMBEDDINGS, {"input": "a", "encoding_format": "hex"}, "encoding_format", id="encoding"),
    ],
)
def test_request_is_refused_when_a_field_is_wrong(operation: Operation, fields: Json, param: str) -> None:
    """The other operations check theirs too, and none writes gigabytes for a small request."""
    with pytest.raises(InvalidRequest) as refused:
        answered(parsed(operation, fields))
    assert refused.value.param == param


def test_knobs_change_nothing_when_they_are_none_of_the_models() -> None:
    """What OpenAI accepts is accepted."""
    knobs: Json = {
        "temperature": 2, "top_p": 0.1, "seed": 7, "logprobs": True, "top_logprobs": 3, "logit_bias": {"1": -100},
        "presence_penalty": 1, "user": "me", "store": True, "metadata": {"a": "b"}, "reasoning_effort": "high",
        "service_tier": "auto", "n": None, "stop": None, "max_tokens": None, "response_format": {"type": "text"},
        "parallel_tool_calls": False, "stream_options": None, "modalities": ["text"], "unheard_of": [1],
    }  # fmt: skip
    assert chat(**knobs).choices == chat().choices
