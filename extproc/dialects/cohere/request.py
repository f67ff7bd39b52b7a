"""A chat call → the body of ``POST /v2/chat``: https://docs.cohere.com/reference/chat

The order of the keys is fixed, what stays the same from call to call first and messages last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from extproc.dialects.base import UpstreamRequest
from extproc.dialects.cohere.features import EXTRA, SUPPORT
from extproc.dialects.cohere.messages import encode_messages
from extproc.dialects.cohere.reasoning import encode_reasoning
from extproc.dialects.cohere.sampling import encode_sampling
from extproc.dialects.cohere.schema import is_guaranteed
from extproc.dialects.cohere.tools import encode_tools
from extproc.errors import InvalidRequest, UnsupportedFeature
from extproc.openai.call import Call
from extproc.openai.features import Support, support_for, used_features

Json = dict[str, Any]

_OURS: Final = frozenset({"model", "messages", "stream", "tools", "tool_choice"})
_TAIL: Final = ("tools", "documents", "messages")
_JSON_ONLY: Final = "Answer with one valid JSON object and nothing else: no prose before or after it, no code fence."
_BY_SCHEMA: Final = "It must be valid by this JSON Schema:\n{}"


def encode_request(call: Call, model: str) -> UpstreamRequest:
    """``model`` is the provider's name for it. Raises InvalidRequest and UnsupportedFeature."""
    fields = call.fields()
    dropped = _judge(fields)
    own = _own_fields(fields.get(EXTRA))
    tools = encode_tools(fields)
    dropped.update(tools.dropped)
    output, instruction = _output_format(fields.get("response_format"), bound=bool(tools.tools or own.get("documents")))
    if instruction not in {None, _JSON_ONLY}:
        dropped.add("response_format.json_schema")
    messages = encode_messages(fields["messages"])
    if instruction is not None:
        _instruct(messages, instruction)
    parts: Json = {
        "model": model,
        "stream": call.stream,
        **encode_sampling(fields, dropped),
        "thinking": encode_reasoning(fields.get("reasoning_effort"), model, dropped),
        "response_format": output,
        "tool_choice": tools.choice,
        "strict_tools": tools.strict,
        "tools": tools.tools,
        "messages": messages,
    }
    body = {name: value for name, value in parts.items() if value is not None} | own
    for name in _TAIL:
        if name in body:
            body[name] = body.pop(name)
    return UpstreamRequest(body=orjson.dumps(body), dropped=tuple(sorted(dropped)))


def _judge(fields: Mapping[str, Any]) -> set[str]:
    """What is dropped by the table. Raises UnsupportedFeature for what it refuses."""
    judged = {feature: support_for(feature, SUPPORT) for feature in used_features(fields)}
    refused = sorted(feature for feature, support in judged.items() if support is Support.REFUSED)
    if refused:
        raise UnsupportedFeature(f"Cohere's API cannot do this: {', '.join(refused)}.", param=refused[0])
    return {feature for feature, support in judged.items() if support is Support.DROPPED}


def _output_format(wanted: Any, *, bound: bool) -> tuple[Json | None, str | None]:
    """``response_format``, or else an instruction: beside tools or documents, and for some schemas, there is none."""
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in {"json_object", "json_schema"}:
        return None, None
    given = wanted.get("json_schema") if kind == "json_schema" else None
    schema = given.get("schema") if isinstance(given, dict) else None
    if schema is None:
        return (None, _JSON_ONLY) if bound else ({"type": "json_object"}, None)
    if bound or not is_guaranteed(schema):
        return None, f"{_JSON_ONLY} {_BY_SCHEMA.format(orjson.dumps(schema).decode())}"
    return {"type": "json_object", "json_schema": schema}, None


def _instruct(messages: list[Json], instruction: str) -> None:
    if messages[0]["role"] == "system":
        messages[0] = {"role": "system", "content": f"{messages[0]['content']}\n\n{instruction}"}
    else:
        messages.insert(0, {"role": "system", "content": instruction})


def _own_fields(extra: Any) -> Json:
    """Cohere's own, over ours."""
    if extra is None:
        return {}
    if not isinstance(extra, dict):
        raise InvalidRequest(f"Invalid type for '{EXTRA}': expected an object.", param=EXTRA)
    foreign = sorted(_OURS & extra.keys())
    if foreign:
        place = f"{EXTRA}.{foreign[0]}"
        raise InvalidRequest(f"'{place}' cannot be set: use OpenAI's field.", param=place)
    return dict(extra)
