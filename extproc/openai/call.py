"""The client's request as a value: which operation, which model, and the bytes it came in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from extproc.errors import InvalidRequest
from extproc.openai.json_text import JsonTextError, parse_object
from extproc.openai.tool_call_id import MARK


class Operation(StrEnum):
    """What is asked of a model; the values are OpenTelemetry's ``gen_ai.operation.name``."""

    CHAT = "chat"
    TEXT_COMPLETION = "text_completion"
    EMBEDDINGS = "embeddings"


OPERATION_PATHS: Final = {
    "/v1/chat/completions": Operation.CHAT,
    "/v1/completions": Operation.TEXT_COMPLETION,
    "/v1/embeddings": Operation.EMBEDDINGS,
}


def path_of(target: str) -> str:
    """The path of a request's target, without the query.

    That of an operation is also without the slash behind it that some clients put there.
    """
    path = target.partition("?")[0]
    bare = path.removesuffix("/")
    return bare if bare in OPERATION_PATHS else path


_LONGEST_MODEL: Final = 1_024
"""Characters. Paths of model files are names too; the limit keeps the headers that carry the name small."""

_REQUIRED: Final[dict[Operation, tuple[str, tuple[type, ...], str]]] = {
    Operation.CHAT: ("messages", (list,), "an array"),
    Operation.TEXT_COMPLETION: ("prompt", (str, list), "a string or an array"),
    Operation.EMBEDDINGS: ("input", (str, list), "a string or an array"),
}
_COUNTS: Final = ("max_completion_tokens", "max_tokens", "n", "best_of")
"""What limits and budgets reckon with. Some servers also take ``"5000"`` and ``5000.0``, which nobody would count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One client request. ``body`` is valid JSON whose root is an object; ``model`` is the client's name for it."""

    operation: Operation
    model: str
    body: bytes
    stream: bool = False
    include_usage: bool = False
    carries: bool = False
    """Whether an id in it holds something for a provider: see ``extproc.openai.tool_call_id``."""
    base64: bool = False
    """Whether embeddings are to come as base64 of their floats."""
    created: int = 0
    """Unix seconds at which it arrived: the date of replies of providers that give none."""
    upstream_model: str = ""
    """The provider's name for the model, once a provider is asked."""
    reply_id: str = ""
    """The provider's id of the request, once it replies: for formats whose replies have no id of their own."""

    def fields(self) -> dict[str, Any]:
        """The body, parsed anew at every call: a translator that needs the values asks once. Raises InvalidRequest."""
        try:
            parsed: dict[str, Any] = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            # Valid JSON all the same, but with a number that no double can hold, such as 1e999.
            message = "The body of your request has a number that is too large."
            raise InvalidRequest(message) from None
        return parsed


def parse_call(operation: Operation, body: bytes) -> Call:
    """Read a client's body strictly. Raises InvalidRequest saying what is wrong and where."""
    return read_call(operation, body)[0]


def read_call(operation: Operation, body: bytes) -> tuple[Call, dict[str, Any]]:
    """The same, with the body's fields. Raises InvalidRequest."""
    try:
        fields = parse_object(body)
    except JsonTextError as error:
        raise InvalidRequest(_json_problem(error)) from None
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise _wrong_type("model", "a non-empty string", fields)
    if len(model) > _LONGEST_MODEL:
        message = f"Invalid value for 'model': longer than {_LONGEST_MODEL} characters."
        raise InvalidRequest(message, param="model")
    if not model.isprintable():
        # The name travels in headers between the stages and back to the client.
        message = "Invalid value for 'model': it has characters that cannot be printed."
        raise InvalidRequest(message, param="model")
    name, types, wanted = _REQUIRED[operation]
    if not isinstance(fields.get(name), types) or not fields[name]:
        raise _wrong_type(name, f"{wanted}, not empty", fields)
    if operation is Operation.CHAT:
        _check_messages(fields["messages"])
    _check_counts(fields)
    stream = fields.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise _wrong_type("stream", "true or false", fields)
    if stream and operation is Operation.EMBEDDINGS:
        message = "'stream' is not supported by embeddings: leave it out."
        raise InvalidRequest(message, param="stream")
    call = Call(
        operation=operation,
        model=model,
        body=body,
        stream=bool(stream),
        include_usage=_include_usage(fields, stream=bool(stream)),
        carries=MARK.encode() in body,
        base64=operation is Operation.EMBEDDINGS and fields.get("encoding_format") == "base64",
    )
    return call, fields


def _json_problem(error: JsonTextError) -> str:
    return f"We could not parse the JSON body of your request: {error}."


def _check_messages(messages: list[Any]) -> None:
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            text = f"Invalid type for 'messages[{index}]': expected an object, but got {_type_name(message)} instead."
            raise InvalidRequest(text, param=f"messages[{index}]")


def _check_counts(fields: dict[str, Any]) -> None:
    for name in _COUNTS:
        value = fields.get(name)
        if value is not None and type(value) is not int:
            raise _wrong_type(name, "an integer", fields)


def _include_usage(fields: dict[str, Any], *, stream: bool) -> bool:
    options = fields.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise _wrong_type("stream_options", "an object", fields)
    if not stream:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise InvalidRequest(message, param="stream_options")
    include = options.get("include_usage")
    if include is not None and not isinstance(include, bool):
        message = (
            "Invalid type for 'stream_options.include_usage': expected true or false, "
            f"but got {_type_name(include)} instead."
        )
        raise InvalidRequest(message, param="stream_options.include_usage")
    return bool(include)


def _wrong_type(name: str, wanted: str, fields: dict[str, Any]) -> InvalidRequest:
    if name not in fields:
        return InvalidRequest(f"Missing required parameter: '{name}'.", param=name)
    value = fields[name]
    got = f"an empty {_type_name(value).split()[-1]}" if value in ("", [], {}) else _type_name(value)
    return InvalidRequest(f"Invalid type for '{name}': expected {wanted}, but got {got} instead.", param=name)


def _type_name(value: object) -> str:
    names: dict[type, str] = {
        bool: "a boolean",
        int: "an integer",
        float: "a decimal number",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), "null")
