"""What a fake refuses because OpenAI does, in OpenAI's words, so that a gateway that sends nonsense is found out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.fakes.provider_error import ProviderError
from tests.fakes.recorded import Recorded
from tests.fakes.steps import HeaderList, Json, Reply, json_reply


class Refused(Exception):
    """The request is not answered: ``status`` and ``error`` say why."""

    def __init__(self, status: int, error: ProviderError, headers: HeaderList = ()) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers = headers

    @property
    def reply(self) -> Reply:
        """What the client gets."""
        return json_reply(self.error.document, status=self.status, headers=self.headers)


@dataclass(frozen=True, slots=True)
class Kind:
    """A JSON type by the name it has in OpenAI's messages."""

    name: str
    accepts: Callable[[object], bool]


STRING = Kind("a string", lambda value: isinstance(value, str))
BOOLEAN = Kind("a boolean", lambda value: isinstance(value, bool))
INTEGER = Kind("an integer", lambda value: isinstance(value, int) and not isinstance(value, bool))
DECIMAL = Kind("a decimal", lambda value: isinstance(value, int | float) and not isinstance(value, bool))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
OBJECTS = Kind(
    "an array of objects", lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value)
)
TEXTS = Kind("one of a string or array of strings", lambda value: isinstance(value, str | list))
CHOICE = Kind("one of a string or object", lambda value: isinstance(value, str | dict))

_SAMPLING = {
    "frequency_penalty": DECIMAL,
    "logit_bias": OBJECT,
    "max_tokens": INTEGER,
    "n": INTEGER,
    "presence_penalty": DECIMAL,
    "seed": INTEGER,
    "stop": TEXTS,
    "stream": BOOLEAN,
    "stream_options": OBJECT,
    "temperature": DECIMAL,
    "top_p": DECIMAL,
    "user": STRING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an operation's body must hold: ``required`` fields, and the types of the ``known`` ones; others pass."""

    required: tuple[str, ...]
    known: Mapping[str, Kind] = field(default_factory=dict)


CHAT = Rules(
    required=("model", "messages"),
    known=_SAMPLING
    | {
        "model": STRING,
        "messages": OBJECTS,
        "logprobs": BOOLEAN,
        "max_completion_tokens": INTEGER,
        "metadata": OBJECT,
        "parallel_tool_calls": BOOLEAN,
        "reasoning_effort": STRING,
        "response_format": OBJECT,
        "store": BOOLEAN,
        "tool_choice": CHOICE,
        "tools": OBJECTS,
        "top_logprobs": INTEGER,
    },
)
COMPLETIONS = Rules(required=("model", "prompt"), known=_SAMPLING | {"model": STRING, "prompt": TEXTS, "echo": BOOLEAN})
EMBEDDINGS = Rules(
    required=("model", "input"),
    known={"model": STRING, "input": TEXTS, "dimensions": INTEGER, "encoding_format": STRING, "user": STRING},
)


def check_key(request: Recorded, api_key: str | None) -> None:
    """Refused with 401 unless the request has this bearer key; None asks for none."""
    if api_key is None or request.headers.get("authorization") == f"Bearer {api_key}":
        return
    if "authorization" in request.headers:
        message = (
            "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys."
        )
    else:
        message = (
            "You didn't provide an API key. You need to provide your API key in an Authorization header using "
            "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        )
    raise Refused(401, ProviderError(message, "invalid_request_error", "invalid_api_key"))


def check_model(model: str, models: tuple[str, ...] | None) -> None:
    """Refused with 404 when ``models`` are given and ``model`` is none of them."""
    if models is not None and model not in models:
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Refused(404, ProviderError(message, "invalid_request_error", "model_not_found"))


def unknown_path(request: Recorded) -> Refused:
    """No such operation."""
    message = f"Invalid URL ({request.method} {request.path})"
    return Refused(404, ProviderError(message, "invalid_request_error"))


def wrong_method(request: Recorded, allowed: str) -> Refused:
    """The operation has another method."""
    message = (
        f"Not allowed to {request.method} on {request.path}. (HINT: Perhaps you meant to use a different HTTP method?)"
    )
    return Refused(405, ProviderError(message, "invalid_request_error", "method_not_supported"), (("allow", allowed),))


def check_body(request: Recorded, rules: Rules) -> Json:
    """The JSON object in the body, fit for ``rules``; Refused with 400 when it is not."""
    try:
        body = request.json
    except ValueError as error:
        hint = "The OpenAI API expects a JSON payload, but what was sent was not valid JSON."
        raise _invalid(f"We could not parse the JSON body of your request. (HINT: {hint})") from error
    for name in rules.required:
        if body.get(name) is None:
            message = (
                "you must provide a model parameter" if name == "model" else f"Missing required parameter: '{name}'."
            )
            raise _invalid(message, name, "missing_required_parameter")
    for name, kind in rules.known.items():
        value = body.get(name)
        if value is not None and not kind.accepts(value):
            message = f"Invalid type for '{name}': expected {kind.name}, but got {_name_of(value)} instead."
            raise _invalid(message, name, "invalid_type")
    if body.get("stream_options") is not None and body.get("stream") is not True:
        raise _invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    if body.get("encoding_format", "float") not in {"float", "base64"}:
        message = f"Invalid value: '{body['encoding_format']}'. Supported values are: 'float' and 'base64'."
        raise _invalid(message, "encoding_format", "invalid_value")
    if "messages" in rules.required:
        _check_messages(body["messages"])
    return body


def _check_messages(messages: list[Json]) -> None:
    if not messages:
        message = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        raise _invalid(message, "messages", "empty_array")
    roles = ("system", "assistant", "user", "function", "tool", "developer")
    for index, said in enumerate(messages):
        role = said.get("role")
        if role not in roles:
            named = ", ".join(f"'{known}'" for known in roles[:-1])
            text = f"Invalid value: '{role}'. Supported values are: {named}, and '{roles[-1]}'."
            raise _invalid(text, f"messages[{index}].role", "invalid_value")
        content = said.get("content")
        if content is None and role == "assistant":
            continue
        if not isinstance(content, str | list):
            text = f"Invalid value for 'content': expected a string, got {_name_of(content)}."
            raise _invalid(text, f"messages[{index}].content")
    for index in _unanswered(messages):
        raise _invalid(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id', and each of those must have such a message before it.",
            f"messages[{index}]",
        )


def _unanswered(messages: list[Json]) -> Iterator[int]:
    """Where a tool call has no result, or a result no call."""
    open_calls: set[object] = set()
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_calls:
                yield index
            open_calls.discard(message.get("tool_call_id"))
            continue
        if open_calls:
            yield index
        open_calls = {call.get("id") for call in message.get("tool_calls") or ()}
    if open_calls:
        yield len(messages) - 1


def _invalid(message: str, param: str | None = None, code: str | None = None) -> Refused:
    return Refused(400, ProviderError(message, "invalid_request_error", code, param))


def _name_of(value: object) -> str:
    if value is None:
        return "null"
    return next(kind.name for kind in (BOOLEAN, STRING, INTEGER, DECIMAL, OBJECT, _ARRAY) if kind.accepts(value))


_ARRAY = Kind("an array", lambda value: isinstance(value, list))
