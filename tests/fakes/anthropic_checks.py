"""What a fake refuses because Anthropic's Messages API does: https://platform.claude.com/docs/en/api/messages/create."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from tests.fakes.checks import Refused
from tests.fakes.provider_error import ProviderError
from tests.fakes.recorded import Recorded
from tests.fakes.steps import Json

VERSIONS = ("2023-06-01", "2026-10-21")
FIELDS = frozenset(
    {
        *("model", "max_tokens", "messages", "system", "tools", "tool_choice", "stream", "metadata", "service_tier"),
        *("temperature", "top_p", "top_k", "stop_sequences", "thinking", "output_config", "container"),
    }
)
SAMPLING = ("temperature", "top_p", "top_k")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TOOL_ID = re.compile(r"[A-Za-z0-9_-]+")
_IMAGES = {"image/jpeg", "image/png", "image/gif", "image/webp"}
_BLOCKS = {
    "user": {"text", "image", "document", "tool_result"},
    "assistant": {"text", "tool_use", "thinking", "redacted_thinking"},
    "system": {"text"},
}


class AnthropicError(ProviderError):
    """An error in Anthropic's shape: https://platform.claude.com/docs/en/api/errors."""

    @property
    def document(self) -> Json:
        return {"type": "error", "error": {"type": self.type, "message": self.message}, "request_id": "req_fake"}


OVERLOADED = AnthropicError("Overloaded", "overloaded_error")


def refused(status: int, kind: str, message: str) -> Refused:
    """A refusal in Anthropic's shape."""
    return Refused(status, AnthropicError(message, kind))


def invalid(message: str) -> Refused:
    """400."""
    return refused(400, "invalid_request_error", message)


def check_headers(request: Recorded, api_key: str | None) -> str:
    """The version asked for. Refused without one, and without the right key."""
    if api_key is not None and request.headers.get("x-api-key") != api_key:
        raise refused(401, "authentication_error", "invalid x-api-key")
    version = request.headers.get("anthropic-version")
    if version not in VERSIONS:
        raise invalid("anthropic-version: header is required")
    return version


def check_body(request: Recorded, version: str, signature: Any) -> Json:
    """The request's JSON object. ``signature`` is the function that signs thoughts. Refused with 400."""
    try:
        body = request.json
    except ValueError:
        raise invalid("The request body is not valid JSON") from None
    refused_fields = frozenset(SAMPLING) if version != VERSIONS[0] else frozenset()
    check_document(body, FIELDS - refused_fields, ("model", "max_tokens", "messages"), signature)
    return body


def check_document(body: Json, known: frozenset[str], required: tuple[str, ...], signature: Any) -> None:
    """The same for a body that another host has taken from its envelope. Refused with 400."""
    unknown = sorted(set(body) - known)
    if unknown:
        raise invalid(f"{unknown[0]}: Extra inputs are not permitted")
    for name in required:
        if name not in body:
            raise invalid(f"{name}: Field required")
    if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1:
        raise invalid("max_tokens: must be greater than or equal to 1")
    _check_tools(body)
    _check_messages(body)
    _check_thinking(body, signature)


def _check_tools(body: Json) -> None:
    for index, tool in enumerate(body.get("tools", ())):
        place = f"tools.{index}"
        if not _TOOL_NAME.fullmatch(tool.get("name", "")):
            raise invalid(f"{place}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        schema = tool.get("input_schema")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise invalid(f"{place}.input_schema.type: Field required")
        if {"oneOf", "anyOf", "allOf"} & schema.keys():
            raise invalid(f"{place}.input_schema: does not support oneOf, allOf, or anyOf at the top level")
        if tool.get("strict") and schema.get("additionalProperties") is not False:
            raise invalid(f"{place}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    choice = body.get("tool_choice")
    if choice is not None and not body.get("tools"):
        raise invalid("tool_choice: may only be specified while providing tools")
    if choice and choice["type"] == "tool" and choice["name"] not in {tool["name"] for tool in body["tools"]}:
        raise invalid(f"Tool '{choice['name']}' not found in provided tools")


def _check_messages(body: Json) -> None:
    messages = body["messages"]
    if not messages:
        raise invalid("messages: at least one message is required")
    if messages[0]["role"] != "user":
        raise invalid('messages: first message must use the "user" role')
    waiting: list[str] = []
    seen: set[str] = set()
    before = ""
    for index, message in enumerate(messages):
        role, place = message["role"], f"messages.{index}"
        if role not in _BLOCKS:
            raise invalid(f"{place}.role: Input should be 'user' or 'assistant'")
        if role == before:
            raise invalid(f'messages: roles must alternate between "user" and "assistant", but found multiple "{role}"')
        blocks = list(_blocks(message, place))
        _check_results(blocks, waiting, place)
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if len(set(waiting)) < len(waiting) or seen & set(waiting):
            raise invalid("messages: `tool_use` ids must be unique")
        seen |= set(waiting)
        before = role
    if waiting:
        raise invalid("messages: `tool_use` ids were found without `tool_result` blocks immediately after")
    if seen and not body.get("tools"):
        raise invalid("Requests which include `tool_use` or `tool_result` blocks must define tools")


def _check_results(blocks: list[Json], waiting: list[str], place: str) -> None:
    results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    if [block["type"] for block in blocks[: len(results)]] != ["tool_result"] * len(results):
        raise invalid(f"{place}: tool_result blocks must come first in the content")
    for identifier in results:
        if identifier not in waiting:
            raise invalid(f"{place}: unexpected `tool_use_id` found in `tool_result` blocks: {identifier}")
    if set(waiting) - set(results):
        raise invalid(f"{place}: `tool_use` ids were found without `tool_result` blocks immediately after")


def _blocks(message: Json, place: str) -> Iterator[Json]:
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not blocks:
        raise invalid(f"{place}: all messages must have non-empty content")
    for index, block in enumerate(blocks):
        where = f"{place}.content.{index}"
        if block["type"] not in _BLOCKS[message["role"]]:
            raise invalid(f"{where}: Input tag '{block['type']}' found using 'type' does not match")
        _check_block(block, where)
        yield block


def _check_block(block: Json, where: str) -> None:
    match block["type"]:
        case "text" if not block["text"].strip():
            raise invalid(f"{where}: text content blocks must contain non-whitespace text")
        case "tool_use" if not _TOOL_ID.fullmatch(block["id"]) or not isinstance(block["input"], dict):
            raise invalid(f"{where}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
        case "image" | "document":
            _check_source(block["source"], where)
        case "thinking" if not block.get("signature"):
            raise invalid(f"{where}.signature: Field required")


def _check_source(source: Json, where: str) -> None:
    if source["type"] == "url" and not source["url"].startswith("https://"):
        raise invalid(f"{where}.source.url: Only HTTPS URLs are supported.")
    if source["type"] != "base64":
        return
    if source["media_type"] not in _IMAGES | {"application/pdf"}:
        raise invalid(
            f"{where}.source.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"
        )
    try:
        base64.b64decode(source["data"], validate=True)
    except binascii.Error:
        raise invalid(f"{where}.source.data: invalid base64 data") from None


def _check_thinking(body: Json, signature: Any) -> None:
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "thinking" and block["signature"] != signature(block["thinking"]):
                raise invalid("Invalid `signature` in `thinking` block")
    temperature = body.get("temperature")
    if temperature is not None and not 0 <= temperature <= 1:
        raise invalid("temperature: range: 0..1")
    thinking = body.get("thinking", {"type": "disabled"})
    if thinking["type"] == "disabled":
        return
    if thinking["type"] == "enabled" and not 1024 <= thinking["budget_tokens"] < body["max_tokens"]:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`, which is at least 1024")
    if temperature not in {None, 1}:
        raise invalid("`temperature` may only be set to 1 when thinking is enabled")
    if body.get("tool_choice", {"type": "auto"})["type"] in {"any", "tool"}:
        raise invalid("Thinking may not be enabled when tool_choice forces tool use.")
    called = [message for message in body["messages"] if message["role"] == "assistant"][-1:]
    for message in called:
        kinds = [block["type"] for block in message["content"]] if isinstance(message["content"], list) else []
        if thinking["type"] == "enabled" and "tool_use" in kinds and "thinking" not in kinds[0]:
            raise invalid("Expected `thinking` or `redacted_thinking`, but found `tool_use`.")
