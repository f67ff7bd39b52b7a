"""What a fake refuses because Gemini's generateContent does: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.checks import Refused
from tests.fakes.provider_error import ProviderError
from tests.fakes.recorded import Recorded
from tests.fakes.steps import Json

PLACEHOLDER = "skip_thought_signature_validator"
FIELDS = frozenset({"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings"})
KNOBS = frozenset(
    {
        *("stopSequences", "responseMimeType", "responseJsonSchema", "candidateCount", "maxOutputTokens"),
        *("temperature", "topP", "topK", "seed", "presencePenalty", "frequencyPenalty"),
        *("responseLogprobs", "logprobs", "thinkingConfig"),
    }
)
# https://ai.google.dev/api/generate-content#FIELDS.response_json_schema
KEYWORDS = frozenset(
    {
        *("$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems"),
        *("minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties"),
        *("required", "propertyOrdering"),
    }
)
KINDS = frozenset({"text", "inlineData", "fileData", "functionCall", "functionResponse"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_BUDGETS = {"pro": (128, 32_768), "flash-lite": (0, 24_576), "flash": (0, 24_576)}

Sign = Callable[[Json], str]


@dataclass(frozen=True, slots=True)
class GeminiError(ProviderError):
    """An error in Google's shape, ``type`` being the word for its ``code``: https://cloud.google.com/apis/design/errors."""

    details: tuple[Json, ...] = ()

    @property
    def document(self) -> Json:
        error = {"code": self.code, "message": self.message, "status": self.type}
        return {"error": {**error, "details": list(self.details)} if self.details else error}


OVERLOADED = GeminiError("The model is overloaded. Please try again later.", "UNAVAILABLE", 503)
EXHAUSTED = GeminiError(
    "Resource has been exhausted (e.g. check quota).",
    "RESOURCE_EXHAUSTED",
    429,
    details=({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "8.2s"},),
)


def refused(status: int, kind: str, message: str) -> Refused:
    """A refusal in Google's shape."""
    return Refused(status, GeminiError(message, kind, status))


def invalid(message: str) -> Refused:
    """400."""
    return refused(400, "INVALID_ARGUMENT", message)


def read_body(request: Recorded) -> Json:
    """The request's JSON object. Refused with 400."""
    try:
        return request.json
    except ValueError:
        raise invalid("Invalid JSON payload received.") from None


def check_body(request: Recorded, model: str, sign: Sign, *, cloud: bool) -> Json:
    """The same, checked. ``sign`` gives the signature of a function call of this fake's. Refused with 400."""
    body = read_body(request)
    _known(body, FIELDS | ({"labels"} if cloud else set()), "request")
    _check_contents(body, model, sign, cloud=cloud)
    _check_tools(body)
    _check_config(body, model)
    return body


def _known(value: Json, names: frozenset[str] | set[str], place: str) -> None:
    for name in value:
        if name not in names:
            raise invalid(f"Invalid JSON payload received. Unknown name \"{name}\" at '{place}': Cannot find field.")


def _check_contents(body: Json, model: str, sign: Sign, *, cloud: bool) -> None:
    contents = body.get("contents")
    if not contents:
        raise invalid("* GenerateContentRequest.contents: contents is not specified")
    system = body.get("systemInstruction")
    if system is not None:
        _known(system, {"parts"}, "system_instruction")
        list(_check_parts(system, "system_instruction", cloud=cloud))
    if contents[0].get("role") != "user":
        raise invalid("Please ensure that multiturn requests alternate between user and model, beginning with user.")
    waiting: list[tuple[str, str]] = []
    for index, content in enumerate(contents):
        place = f"contents[{index}]"
        _known(content, {"role", "parts"}, place)
        if content.get("role") not in {"user", "model"}:
            raise invalid("Please use a valid role: user, model.")
        parts = list(_check_parts(content, place, cloud=cloud))
        answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
        calls = [part for part in parts if "functionCall" in part]
        if (answers or waiting) and len(answers) != len(waiting):
            raise invalid(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        if [(answer["id"], answer["name"]) for answer in answers] != waiting:
            raise invalid("Please ensure that function response turn comes immediately after a function call turn.")
        if calls and content["role"] != "model":
            raise invalid("Please ensure that function call turns are the model's.")
        if calls and "gemini-3" in model and "thoughtSignature" not in calls[0]:
            raise invalid(f"Function call is missing a thought_signature in functionCall parts, position {index}.")
        _check_signatures(calls, sign)
        waiting = [(part["functionCall"]["id"], part["functionCall"]["name"]) for part in calls]
    if waiting:
        raise invalid("Please ensure that function call turn is followed by a function response turn.")


def _check_signatures(calls: list[Json], sign: Sign) -> None:
    for part in calls:
        signature = part.get("thoughtSignature", PLACEHOLDER)
        if signature not in (PLACEHOLDER, sign(part["functionCall"])):
            raise invalid("Thought signature is not valid")


def _check_parts(content: Json, place: str, *, cloud: bool) -> Iterator[Json]:
    parts = content.get("parts")
    if not parts:
        raise invalid(f"* {place}.parts: contents.parts must not be empty.")
    for index, part in enumerate(parts):
        where = f"{place}.parts[{index}]"
        _known(part, KINDS | {"thoughtSignature"}, where)
        if len(KINDS & part.keys()) != 1 or part.get("text") == "":
            raise invalid(f"* {where}.data: required oneof field 'data' must have one initialized field")
        if "inlineData" in part:
            _check_blob(part["inlineData"], where)
        if "fileData" in part:
            _known(part["fileData"], {"mimeType", "fileUri"}, where)
            if cloud and "mimeType" not in part["fileData"]:
                raise invalid("Unable to submit request because it must have a mimeType parameter.")
        if "functionResponse" in part:
            _known(part["functionResponse"], {"id", "name", "response", "parts"}, where)
            if not isinstance(part["functionResponse"]["response"], dict):
                raise invalid(f"{where}.function_response.response: must be an object")
        yield part


def _check_blob(blob: Json, where: str) -> None:
    _known(blob, {"mimeType", "data"}, where)
    try:
        base64.b64decode(blob["data"], validate=True)
    except (KeyError, binascii.Error):
        raise invalid(f"Invalid value at '{where}.inline_data.data' (TYPE_BYTES), Base64 decoding failed") from None


def _check_tools(body: Json) -> None:
    declared = []
    for tool in body.get("tools", ()):
        _known(tool, {"functionDeclarations", "googleSearch"}, "tools")
        declared += tool.get("functionDeclarations", [])
    names = [declaration.get("name", "") for declaration in declared]
    for declaration in declared:
        _known(declaration, {"name", "description", "parametersJsonSchema"}, "tools.function_declarations")
        if not _NAME.fullmatch(declaration.get("name", "")):
            raise invalid("Invalid function name. Must start with a letter or an underscore.")
        schema = declaration.get("parametersJsonSchema", {"type": "object"})
        if schema.get("type") != "object":
            raise invalid("functionDeclaration parameters schema should be of type OBJECT.")
        check_schema(schema)
    if len(set(names)) < len(names):
        raise invalid("Duplicate function declaration found")
    config = body.get("toolConfig", {}).get("functionCallingConfig")
    if config is None:
        return
    _known(config, {"mode", "allowedFunctionNames"}, "tool_config.function_calling_config")
    allowed = config.get("allowedFunctionNames", [])
    if allowed and (config["mode"] not in {"ANY", "VALIDATED"} or not set(allowed) <= set(names)):
        raise invalid("allowed_function_names may only name declared functions, in the modes ANY and VALIDATED.")


def check_schema(schema: Any) -> None:
    """Refused with 400 for a keyword that is not documented."""
    if not isinstance(schema, dict):
        return
    _known(schema, KEYWORDS, "schema")
    if "$ref" in schema and any(not name.startswith("$") for name in schema):
        raise invalid("If $ref is set, no other properties may be set")
    for name in ("properties", "$defs"):
        for part in schema.get(name, {}).values():
            check_schema(part)
    for name in ("items", "additionalProperties"):
        check_schema(schema.get(name))
    for part in (*schema.get("anyOf", ()), *schema.get("prefixItems", ())):
        check_schema(part)


def _check_config(body: Json, model: str) -> None:
    config = body.get("generationConfig", {})
    _known(config, KNOBS, "generation_config")
    if not 0 <= config.get("temperature", 1) <= 2:
        raise invalid("temperature must be in the range [0.0, 2.0].")
    if not 1 <= config.get("candidateCount", 1) <= 8:
        raise invalid("candidate_count must be in the range [1, 8].")
    if len(config.get("stopSequences", ())) > 5:
        raise invalid("Too many stop sequences.")
    if abs(config.get("seed", 0)) >= 1 << 31:
        raise invalid("Invalid value at 'generation_config.seed' (TYPE_INT32)")
    if "logprobs" in config and not config.get("responseLogprobs"):
        raise invalid("logprobs may only be set when response_logprobs is true.")
    if "responseJsonSchema" in config:
        if config.get("responseMimeType") != "application/json":
            raise invalid("response_json_schema requires response_mime_type application/json")
        check_schema(config["responseJsonSchema"])
    if body.get("tools") and "responseMimeType" in config and "gemini-3" not in model:
        raise invalid("Function calling with a response mime type: 'application/json' is unsupported")
    _check_thinking(config.get("thinkingConfig", {}), model)


def _check_thinking(config: Json, model: str) -> None:
    _known(config, {"includeThoughts", "thinkingBudget", "thinkingLevel"}, "thinking_config")
    if "thinkingLevel" in config and "gemini-3" not in model:
        raise invalid("Thinking level is not supported for this model.")
    if "thinkingLevel" in config and "thinkingBudget" in config:
        raise invalid("You can only set only one of thinking budget and thinking level.")
    if config.get("thinkingLevel") == "MINIMAL" and ("pro" in model or re.search(r"gemini-3\.[7-9]", model)):
        raise invalid("Thinking level MINIMAL is not supported for this model.")
    if "thinkingBudget" in config:
        least, most = next(span for line, span in _BUDGETS.items() if line in model)
        if not least <= config["thinkingBudget"] <= most:
            raise invalid(f"The thinking budget is invalid. Please choose a value between {least} and {most}.")
