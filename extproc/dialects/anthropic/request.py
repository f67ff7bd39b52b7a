"""A chat call → the body of ``POST /v1/messages``: https://platform.claude.com/docs/en/api/messages/create

The order of the keys is fixed: what stays the same from call to call first (tools, then system) and messages last, as
the provider's prompt cache reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from extproc.dialects.anthropic.features import support_of
from extproc.dialects.anthropic.messages import encode_messages
from extproc.dialects.anthropic.models import model_facts
from extproc.dialects.anthropic.reasoning import encode_reasoning
from extproc.dialects.anthropic.schema import Inexpressible, guaranteed_schema
from extproc.dialects.anthropic.tools import encode_tools
from extproc.dialects.base import UpstreamRequest
from extproc.errors import InvalidRequest, UnsupportedFeature
from extproc.openai.call import Call
from extproc.openai.features import Support, support_for, used_features

Json = dict[str, Any]

EXTRA: Final = "anthropic"
"""The client's key for Anthropic's own fields: ``{"anthropic": {"top_k": 5, "thinking": {…}, "betas": […]}}``."""

_BETA: Final = "anthropic-beta"
_OURS: Final = frozenset({"model", "messages", "stream", "max_tokens"})
_TAIL: Final = ("tools", "system", "messages")
# https://platform.claude.com/docs/en/api/service-tiers; OpenAI's other tiers have no counterpart.
_TIERS: Final = {"auto": "auto", "priority": "auto", "default": "standard_only"}
_JSON_ONLY: Final = "Answer with one valid JSON object and nothing else: no prose before or after it, no code fence."
_BY_SCHEMA: Final = "It must be valid by this JSON Schema:\n{}"


def encode_request(call: Call, model: str) -> UpstreamRequest:
    """``model`` is the provider's name for it. Raises InvalidRequest and UnsupportedFeature."""
    fields = call.fields()
    dropped = _judge(fields, model)
    facts = model_facts(model)
    conversation = encode_messages(fields["messages"], model, system_turns=facts.system_turns)
    tools = encode_tools(fields, facts, conversation.tools_used)
    reasoning = encode_reasoning(fields, facts, forced=tools.forced, unthought=conversation.unthought)
    output, instruction = _output_format(fields.get("response_format"), structured=facts.structured)
    if instruction is not None:
        conversation.system.append({"type": "text", "text": instruction})
    if instruction not in {None, _JSON_ONLY}:
        dropped.add("response_format.json_schema")
    if reasoning.effort:
        output = {"effort": reasoning.effort, **(output or {})}
    tier = fields.get("service_tier")
    if isinstance(tier, str) and tier not in _TIERS:
        dropped.add("service_tier")
    parts: Json = {
        "model": model,
        "max_tokens": reasoning.max_tokens,
        "stream": call.stream or None,
        "metadata": _metadata(fields),
        "service_tier": _TIERS.get(tier) if isinstance(tier, str) else None,
        **reasoning.sampling,
        "stop_sequences": _stop(fields.get("stop"), dropped),
        "thinking": reasoning.thinking,
        "output_config": output,
        "tool_choice": tools.choice,
        "tools": tools.tools or None,
        "system": _system(conversation.system),
        "messages": conversation.messages,
    }
    body = {name: value for name, value in parts.items() if value is not None}
    betas = _merge(body, fields.get(EXTRA))
    return UpstreamRequest(
        body=_json(body),
        headers=((_BETA, ",".join(betas)),) if betas else (),
        dropped=tuple(sorted({*dropped, *tools.dropped, *reasoning.dropped})),
    )


def _judge(fields: Mapping[str, Any], model: str) -> set[str]:
    """What is dropped by the table. Raises UnsupportedFeature for what it refuses."""
    table = support_of(model)
    judged = {feature: support_for(feature, table) for feature in used_features(fields)}
    refused = sorted(feature for feature, support in judged.items() if support is Support.REFUSED)
    if refused:
        raise UnsupportedFeature(f"Anthropic's API cannot do this: {', '.join(refused)}.", param=refused[0])
    return {feature for feature, support in judged.items() if support is Support.DROPPED}


def _output_format(wanted: Any, *, structured: bool) -> tuple[Json | None, str | None]:
    """``output_config``, or else an instruction: the provider has no guarantee for "any JSON", nor for every schema."""
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        return None, _JSON_ONLY
    if kind != "json_schema":
        return None, None
    given = wanted.get("json_schema")
    schema = given.get("schema") if isinstance(given, dict) else None
    if schema is None:
        return None, _JSON_ONLY
    try:
        if not structured:
            raise Inexpressible  # noqa: TRY301 - one way out for the model's and the schema's limits
        return {"format": {"type": "json_schema", "schema": guaranteed_schema(schema)}}, None
    except Inexpressible:
        return None, f"{_JSON_ONLY} {_BY_SCHEMA.format(_json(schema).decode())}"


def _metadata(fields: Mapping[str, Any]) -> Json | None:
    user = fields.get("safety_identifier") or fields.get("user")
    return {"user_id": user} if isinstance(user, str) and user else None


def _stop(stop: Any, dropped: set[str]) -> list[str] | None:
    """The provider refuses sequences of white space alone."""
    given = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise InvalidRequest("Invalid type for 'stop': expected a string or an array of strings.", param="stop")
    kept = [text for text in given if text.strip()]
    if len(kept) < len(given):
        dropped.add("stop")
    return kept or None


def _system(blocks: list[Json]) -> Any:
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return blocks[0]["text"]
    return blocks or None


def _merge(body: Json, extra: Any) -> list[str]:
    """Anthropic's own fields over ours, the cached part still last. Gives the betas, which travel in a header."""
    if extra is None:
        return []
    if not isinstance(extra, dict):
        raise InvalidRequest(f"Invalid type for '{EXTRA}': expected an object.", param=EXTRA)
    own = dict(extra)
    betas = own.pop("betas", None) or []
    if not isinstance(betas, list) or not all(isinstance(beta, str) and _is_token(beta) for beta in betas):
        raise InvalidRequest(f"Invalid value for '{EXTRA}.betas': expected names.", param=f"{EXTRA}.betas")
    foreign = sorted(_OURS & own.keys())
    if foreign:
        place = f"{EXTRA}.{foreign[0]}"
        raise InvalidRequest(f"'{place}' cannot be set: use OpenAI's field.", param=place)
    body.update(own)
    for name in _TAIL:
        if name in body:
            body[name] = body.pop(name)
    return betas


def _is_token(text: str) -> bool:
    return bool(text) and all(character.isalnum() or character in "-_." for character in text) and text.isascii()


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        # An integer of more than 64 bits in a tool call's arguments.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
