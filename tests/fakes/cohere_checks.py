"""What a fake refuses because Cohere does: https://docs.cohere.com/reference/chat and /reference/errors."""

from __future__ import annotations

from typing import Any

from tests.fakes.checks import Refused
from tests.fakes.provider_error import ProviderError
from tests.fakes.recorded import Recorded
from tests.fakes.steps import Json

CHAT_FIELDS = frozenset(
    {
        *("stream", "model", "messages", "tools", "strict_tools", "documents", "citation_options", "response_format"),
        *(
            "safety_mode",
            "max_tokens",
            "stop_sequences",
            "temperature",
            "seed",
            "frequency_penalty",
            "presence_penalty",
        ),
        *("k", "p", "logprobs", "tool_choice", "thinking", "priority"),
    }
)
EMBED_FIELDS = frozenset(
    {
        "model",
        "input_type",
        "texts",
        "images",
        "inputs",
        "max_tokens",
        "output_dimension",
        "embedding_types",
        "truncate",
    }
)
INPUT_TYPES = ("search_document", "search_query", "classification", "clustering", "image")
_PARTS = {
    "user": {"text", "image_url"},
    "assistant": {"text", "thinking"},
    "system": {"text"},
    "tool": {"text", "document"},
}


class CohereError(ProviderError):
    """An error in Cohere's shape."""

    @property
    def document(self) -> Json:
        return {"id": "0a1b2c3d", "message": self.message}


def refused(status: int, message: str) -> Refused:
    """A refusal in Cohere's shape."""
    return Refused(status, CohereError(message))


def check_key(request: Recorded, api_key: str | None) -> None:
    """Refused with 401 without the right key."""
    if api_key is not None and request.headers.get("authorization") != f"Bearer {api_key}":
        raise refused(401, "invalid api token")


def check_chat(body: Json) -> None:
    """Refused with 400 and 422."""
    _check_fields(body, CHAT_FIELDS)
    for name in ("model", "messages"):
        if not body.get(name):
            raise refused(400, f"a {name} parameter is required for this endpoint.")
    for name, most in (("temperature", 1), ("frequency_penalty", 1), ("presence_penalty", 1), ("p", 0.99)):
        if not 0 <= body.get(name, 0) <= most:
            raise refused(400, f"invalid request: {name} must be between 0 and {most} inclusive.")
    if body.get("frequency_penalty") and body.get("presence_penalty"):
        raise refused(400, "invalid request: cannot specify both frequency_penalty and presence_penalty.")
    if body.get("response_format") and (body.get("tools") or body.get("documents")):
        raise refused(400, "invalid request: response_format is not supported with RAG.")
    if body.get("tool_choice") not in {None, "REQUIRED", "NONE"}:
        raise refused(400, "invalid request: tool_choice must be REQUIRED or NONE.")
    if body.get("tool_choice") and not body.get("tools"):
        raise refused(400, "invalid request: tool_choice requires tools.")
    for tool in body.get("tools") or ():
        if tool["type"] != "function" or not isinstance(tool["function"].get("parameters"), dict):
            raise refused(422, "invalid request: tool.function.parameters is required.")
    thinking = body.get("thinking")
    if thinking and (thinking.get("type") not in {"enabled", "disabled"} or thinking.get("token_budget", 1) < 1):
        raise refused(400, "invalid request: token_budget must be a positive integer.")
    _check_messages(body["messages"])


def check_embed(body: Json) -> None:
    """Refused with 400 and 422."""
    _check_fields(body, EMBED_FIELDS)
    if body.get("input_type") not in INPUT_TYPES:
        raise refused(400, "invalid request: valid input_type must be provided with the provided model")
    if not body.get("texts") or len(body["texts"]) > 96:
        raise refused(400, "invalid request: total number of texts must be at most 96")
    if not set(body.get("embedding_types", ())) <= {"float", "int8", "uint8", "binary", "ubinary", "base64"}:
        raise refused(400, "invalid request: unknown embedding_types")


def _check_fields(body: Json, known: frozenset[str]) -> None:
    for name in sorted(set(body) - known):
        raise refused(422, f"invalid request: unknown field: parameter '{name}' is not a valid field")


def _check_messages(messages: list[Json]) -> None:
    waiting: list[str] = []
    for index, message in enumerate(messages):
        role = message["role"]
        if role not in _PARTS:
            raise refused(400, f"invalid request: messages[{index}].role is invalid")
        if role == "system" and index:
            raise refused(400, "system turn must be the first in the list")
        _check_content(message, role)
        if role == "tool":
            if message.get("tool_call_id") not in waiting:
                raise refused(400, "invalid request: tool_call_id does not match any tool call")
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            raise refused(400, "invalid request: every tool call must have a result")
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
    if waiting or messages[-1]["role"] in {"assistant", "system"}:
        raise refused(400, "invalid request: the last message must be from the user, or a tool's result")


def _check_content(message: Json, role: str) -> None:
    content: Any = message.get("content")
    for part in content if isinstance(content, list) else ():
        if part["type"] not in _PARTS[role]:
            raise refused(400, f"invalid request: content of type '{part['type']}' is not allowed in a {role} turn")
    if not content and not message.get("tool_calls"):
        raise refused(400, "message must not be empty in a turn")
