"""A chat call → the body of ``POST /v1/messages``: https://platform.claude.com/docs/en/api/messages/create

The order of the keys is fixed: what stays the same from call to call first (tools, then system) and messages last, as
the provider's prompt cache reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.dialects.anthropic.features import support_of
from extproc.dialects.anthropic.hosting import Hosting
from extproc.dialects.anthropic.tools import encode_tools
from extproc.dialects.base import UpstreamRequest
from extproc.dialects.blocks.messages import encode_messages
from extproc.dialects.blocks.models import model_facts
from extproc.dialects.blocks.reasoning import encode_reasoning
from extproc.dialects.blocks.writing import JSON_ONLY, json_bytes, output_schema, stop_sequences
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


def encode_request(call: Call, model: str, hosting: Hosting) -> UpstreamRequest:
    """``model`` is the provider's name for it. Raises InvalidRequest and UnsupportedFeature."""
    fields = call.fields()
    dropped = _judge(fields, model, hosting)
    facts = model_facts(model)
    conversation = encode_messages(fields["messages"], model, system_turns=facts.system_turns)
    if not hosting.fetches:
        _refuse_addresses(conversation.messages)
    tools = encode_tools(fields, facts, conversation.tools_used)
    reasoning = encode_reasoning(fields, facts, forced=tools.forced, unthought=conversation.unthought)
    schema, instruction = output_schema(fields.get("response_format"), structured=facts.structured)
    output: Json = {"effort": reasoning.effort} if reasoning.effort else {}
    if schema is not None:
        output["format"] = {"type": "json_schema", "schema": schema}
    if instruction is not None:
        conversation.system.append({"type": "text", "text": instruction})
    if instruction not in {None, JSON_ONLY}:
        dropped.add("response_format.json_schema")
    tier = fields.get("service_tier")
    if isinstance(tier, str) and tier not in _TIERS:
        dropped.add("service_tier")
    parts: Json = {
        "anthropic_version": hosting.version,
        "model": model if hosting.model_in_body else None,
        "max_tokens": reasoning.max_tokens,
        "stream": (call.stream and hosting.stream_in_body) or None,
        "metadata": _metadata(fields),
        "service_tier": _TIERS.get(tier) if isinstance(tier, str) else None,
        **reasoning.sampling,
        "stop_sequences": stop_sequences(fields.get("stop"), dropped),
        "thinking": reasoning.thinking,
        "output_config": output or None,
        "tool_choice": tools.choice,
        "tools": tools.tools or None,
        "system": _system(conversation.system),
        "messages": conversation.messages,
    }
    body = {name: value for name, value in parts.items() if value is not None}
    betas = _merge(body, fields.get(EXTRA))
    if betas and hosting.betas_in_body:
        body, betas = {"anthropic_beta": betas, **body}, []
    return UpstreamRequest(
        body=json_bytes(body),
        headers=((_BETA, ",".join(betas)),) if betas else (),
        dropped=tuple(sorted({*dropped, *tools.dropped, *reasoning.dropped})),
    )


def _judge(fields: Mapping[str, Any], model: str, hosting: Hosting) -> set[str]:
    """What is dropped by the table. Raises UnsupportedFeature for what it refuses."""
    table = support_of(model, fetches=hosting.fetches)
    judged = {feature: support_for(feature, table) for feature in used_features(fields)}
    refused = sorted(feature for feature, support in judged.items() if support is Support.REFUSED)
    if refused:
        raise UnsupportedFeature(f"Anthropic's API cannot do this: {', '.join(refused)}.", param=refused[0])
    return {feature for feature, support in judged.items() if support is Support.DROPPED}


def _refuse_addresses(messages: list[Json]) -> None:
    for message in messages:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if isinstance(block.get("source"), dict) and block["source"].get("type") == "url":
                words = "Claude fetches no addresses where this backend serves it: send the file as a data URL."
                raise UnsupportedFeature(words, param="messages")


def _metadata(fields: Mapping[str, Any]) -> Json | None:
    user = fields.get("safety_identifier") or fields.get("user")
    return {"user_id": user} if isinstance(user, str) and user else None


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
