"""What a fake refuses because Bedrock's Converse does: https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference.html

The shape is judged by botocore's own model of the service.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from typing import Any

import botocore.session
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from tests.fakes.checks import Refused
from tests.fakes.provider_error import ProviderError
from tests.fakes.steps import Json

STATUSES = {
    "AccessDeniedException": 403,
    "ModelErrorException": 424,
    "ModelTimeoutException": 408,
    "ResourceNotFoundException": 404,
    "ServiceUnavailableException": 503,
    "ThrottlingException": 429,
    "UnknownOperationException": 404,
    "ValidationException": 400,
}


class AwsError(ProviderError):
    """An error in AWS's shape; ``type`` is the exception's name, which travels in a header."""

    @property
    def document(self) -> Json:
        return {"message": self.message}


def refused(exception: str, message: str) -> Refused:
    """A refusal in AWS's shape."""
    name = f"{exception}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    return Refused(STATUSES[exception], AwsError(message, exception), (("x-amzn-errortype", name),))


def invalid(message: str) -> Refused:
    """400."""
    return refused("ValidationException", message)


@functools.cache
def service() -> ServiceModel:
    """Loading it takes a moment."""
    return botocore.session.get_session().get_service_model("bedrock-runtime")


def shape_problems(body: Json, operation: str) -> str:
    """What botocore objects to; empty when it would send it."""
    shape = service().operation_model(operation).input_shape
    report = ParamValidator().validate({"modelId": "m", **_as_sdk(body)}, shape)
    return str(report.generate_report()) if report.has_errors() else ""


def _as_sdk(value: Any) -> Any:
    """The body as a user of the SDK holds it: bytes where the wire has base64."""
    if isinstance(value, list):
        return [_as_sdk(item) for item in value]
    if not isinstance(value, dict):
        return value
    blobs = {"bytes", "redactedContent"}
    return {
        name: base64.b64decode(part, validate=True) if name in blobs and isinstance(part, str) else _as_sdk(part)
        for name, part in value.items()
    }


def check_body(body: Json, operation: str, signature: Callable[[str], str]) -> None:
    """``signature`` is the function that signs thoughts. Refused with 400."""
    problems = shape_problems(body, operation)
    if problems:
        raise invalid(f"1 validation error detected: {problems}")
    for block in body.get("system", ()):
        if "text" in block and not block["text"].strip():
            raise invalid("The text field in the SystemContentBlock object is blank.")
    _check_messages(body, signature)
    _check_thinking(body)


def _check_messages(body: Json, signature: Callable[[str], str]) -> None:
    messages = body.get("messages", [])
    if not messages or messages[0]["role"] != "user":
        raise invalid("A conversation must start with a user message. Try again with a conversation that does.")
    waiting: list[str] = []
    seen: set[str] = set()
    names: list[str] = []
    before = ""
    for index, message in enumerate(messages):
        place = f"messages.{index}"
        if message["role"] == before or message["role"] not in {"user", "assistant"}:
            raise invalid("A conversation must alternate between user and assistant roles.")
        for position, block in enumerate(message["content"]):
            _check_block(block, f"{place}.content.{position}", signature)
        _check_results(message["content"], waiting, place)
        waiting = [block["toolUse"]["toolUseId"] for block in message["content"] if "toolUse" in block]
        if len(set(waiting)) < len(waiting) or seen & set(waiting):
            raise invalid("The toolUseIds must be unique.")
        seen |= set(waiting)
        names += [block["document"]["name"] for block in message["content"] if "document" in block]
        before = message["role"]
    if waiting:
        raise invalid("Expected toolResult blocks for the toolUse blocks of the previous turn.")
    if len(set(names)) < len(names):
        raise invalid("Duplicate document file names are not allowed.")
    if seen and not body.get("toolConfig"):
        raise invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")


def _check_results(content: list[Json], waiting: list[str], place: str) -> None:
    results = [block["toolResult"]["toolUseId"] for block in content if "toolResult" in block]
    if set(results) - set(waiting):
        raise invalid(f"The number of toolResult blocks at {place}.content exceeds the toolUse blocks before.")
    if set(waiting) - set(results):
        raise invalid(f"Expected toolResult blocks at {place}.content for the following Ids: {', '.join(waiting)}")
    kinds = {kind for block in content for kind in block}
    if "document" in kinds and "text" not in kinds:
        raise invalid(f"Add a text block to {place}.content, which has a document.")


def _check_block(block: Json, place: str, signature: Callable[[str], str]) -> None:
    if len(block) != 1:
        raise invalid(f"The ContentBlock object at {place} must set one of its keys.")
    match block:
        case {"text": text} if not text.strip():
            raise invalid(f"The text field in the ContentBlock object at {place} is blank. Add text to the text field.")
        case {"reasoningContent": {"reasoningText": thought}} if thought["signature"] != signature(thought["text"]):
            raise invalid("The model returned the following errors: Invalid `signature` in `thinking` block")


def _check_thinking(body: Json) -> None:
    thinking = body.get("additionalModelRequestFields", {}).get("thinking", {"type": "disabled"})
    if thinking["type"] != "enabled":
        return
    if not 1024 <= thinking["budget_tokens"] < body.get("inferenceConfig", {}).get("maxTokens", 0):
        raise invalid("The model returned the following errors: `max_tokens` must be greater than the budget.")
    called = [message for message in body["messages"] if message["role"] == "assistant"][-1:]
    for message in called:
        kinds = [kind for block in message["content"] for kind in block]
        if "toolUse" in kinds and kinds[0] != "reasoningContent":
            raise invalid("The model returned the following errors: Expected `thinking`, but found `tool_use`.")
