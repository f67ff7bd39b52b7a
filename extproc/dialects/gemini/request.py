"""A chat call → the body of ``models/*:generateContent``: https://ai.google.dev/api/generate-content

The order of the keys is fixed: what stays the same from call to call first (tools, then the system's instruction) and
contents last, as the provider's implicit cache reads them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from extproc.dialects.base import UpstreamRequest
from extproc.dialects.gemini.features import support_of
from extproc.dialects.gemini.generation import encode_generation
from extproc.dialects.gemini.messages import encode_messages
from extproc.dialects.gemini.models import model_facts
from extproc.dialects.gemini.tools import encode_tools
from extproc.errors import InvalidRequest, UnsupportedFeature
from extproc.openai.call import Call
from extproc.openai.features import Support, support_for, used_features

Json = dict[str, Any]

EXTRAS: Final = ("gemini", "vertex")
"""The client's keys for Gemini's own fields: ``{"gemini": {"safetySettings": […], "tools": [{"googleSearch": {}}]}}``

The second is for those of Google Cloud alone, and dropped elsewhere.
"""

_OURS: Final = frozenset({"contents", "model"})
_TAIL: Final = ("toolConfig", "tools", "systemInstruction", "contents")
_STREAMED_ARGUMENTS: Final = "streamFunctionCallArguments"
# https://cloud.google.com/resource-manager/docs/labels-overview#requirements
_LABEL_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL: Final = re.compile(r"[a-z0-9_-]{0,63}")


def encode_request(call: Call, model: str, *, cloud: bool) -> UpstreamRequest:
    """``model`` is the provider's name for it. Raises InvalidRequest and UnsupportedFeature."""
    fields = call.fields()
    dropped = _judge(fields, model, cloud=cloud)
    facts = model_facts(model)
    conversation = encode_messages(fields["messages"], facts, cloud=cloud)
    tools = encode_tools(fields, dropped)
    config, instruction = encode_generation(fields, facts, dropped, with_tools=tools.tools is not None)
    system = [*conversation.system, {"text": instruction}] if instruction else conversation.system
    parts: Json = {
        "labels": _labels(fields, dropped) if cloud else None,
        "generationConfig": config or None,
        "toolConfig": tools.config,
        "tools": tools.tools,
        "systemInstruction": {"parts": system} if system else None,
        "contents": conversation.contents,
    }
    body = {name: value for name, value in parts.items() if value is not None}
    for name in EXTRAS if cloud else EXTRAS[:1]:
        body = _merged(body, fields.get(name), name)
    return UpstreamRequest(body=_json(body), dropped=tuple(sorted(dropped)))


def _judge(fields: Mapping[str, Any], model: str, *, cloud: bool) -> set[str]:
    """What is dropped by the table. Raises UnsupportedFeature for what it refuses."""
    table = support_of(model, cloud=cloud)
    judged = {feature: support_for(feature, table) for feature in used_features(fields)}
    refused = sorted(feature for feature, support in judged.items() if support is Support.REFUSED)
    if refused:
        raise UnsupportedFeature(f"Gemini's API cannot do this: {', '.join(refused)}.", param=refused[0])
    return {feature for feature, support in judged.items() if support is Support.DROPPED}


def _labels(fields: Mapping[str, Any], dropped: set[str]) -> Json | None:
    """Those that Google Cloud can take; of the others the field is named as dropped."""
    metadata = fields.get("metadata")
    wanted = {**metadata} if isinstance(metadata, dict) else {}
    taken = {
        name: value
        for name, value in wanted.items()
        if _LABEL_NAME.fullmatch(name) and isinstance(value, str) and _LABEL.fullmatch(value)
    }
    if len(taken) < len(wanted):
        dropped.add("metadata")
    user = fields.get("user")
    if isinstance(user, str) and user:
        if _LABEL.fullmatch(user) and "user" not in taken:
            taken["user"] = user
        else:
            dropped.add("user")
    return taken or None


def _merged(body: Json, extra: Any, name: str) -> Json:
    """Gemini's own fields over ours, object by object; tools beside ours. The cached part is still last."""
    if extra is None:
        return body
    if not isinstance(extra, dict):
        raise InvalidRequest(f"Invalid type for '{name}': expected an object.", param=name)
    foreign = sorted(_OURS & extra.keys())
    if foreign:
        place = f"{name}.{foreign[0]}"
        raise InvalidRequest(f"'{place}' cannot be set: use OpenAI's field.", param=place)
    own = dict(extra)
    tools = own.pop("tools", None)
    if tools is not None:
        if not isinstance(tools, list):
            raise InvalidRequest(f"Invalid type for '{name}.tools': expected an array.", param=f"{name}.tools")
        body["tools"] = [*body.get("tools", ()), *tools]
    merged = _over(body, own)
    calling = merged.get("toolConfig", {})
    calling = calling.get("functionCallingConfig") if isinstance(calling, dict) else None
    if isinstance(calling, dict) and calling.get(_STREAMED_ARGUMENTS):
        place = f"{name}.toolConfig.functionCallingConfig.{_STREAMED_ARGUMENTS}"
        raise UnsupportedFeature(f"'{place}' is not supported: arguments come in one piece.", param=place)
    for last in _TAIL:
        if last in merged:
            merged[last] = merged.pop(last)
    return merged


def _over(below: Json, above: Json) -> Json:
    merged = dict(below)
    for name, value in above.items():
        before = merged.get(name)
        merged[name] = _over(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        # An integer of more than 64 bits in a tool call's arguments.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
