"""A chat call → the body of Converse and ConverseStream, which differ in their path alone.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
The order of the keys is fixed: what stays the same from call to call first (tools, then system) and messages last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from extproc.dialects.base import UpstreamRequest
from extproc.dialects.blocks.messages import encode_messages
from extproc.dialects.blocks.writing import JSON_ONLY, json_bytes, output_schema, stop_sequences
from extproc.dialects.converse.blocks import DOCUMENTS, BlockWriter
from extproc.dialects.converse.features import support_of
from extproc.dialects.converse.models import Model, model_facts
from extproc.dialects.converse.reasoning import Inference, encode_inference
from extproc.dialects.converse.tools import encode_tools
from extproc.errors import InvalidRequest, UnsupportedFeature
from extproc.framing.event_stream import CONTENT_TYPE
from extproc.openai.call import Call
from extproc.openai.features import Support, support_for, used_features

Json = dict[str, Any]

EXTRA: Final = "bedrock"
"""The client's key for Converse's own fields: ``{"bedrock": {"additionalModelRequestFields": {"top_k": 5}}}``."""

_OURS: Final = frozenset({"modelId", "messages", "system", "toolConfig"})
_TAIL: Final = ("toolConfig", "system", "messages")
_TIERS: Final = ("priority", "flex")
_AT_REST: Final = ("auto", "default")
# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#bedrock-runtime_Converse-request-requestMetadata
_METADATA: Final = re.compile(r"[A-Za-z0-9\s:_@$#=/+,\-.]{0,256}")
_MOST_METADATA: Final = 16


def encode_request(call: Call, model: str) -> UpstreamRequest:
    """``model`` is the provider's name for it. Raises InvalidRequest and UnsupportedFeature."""
    fields = call.fields()
    dropped = _judge(fields, model)
    facts = model_facts(model)
    conversation = encode_messages(fields["messages"], model, system_turns=False, documents=frozenset(DOCUMENTS))
    writer = BlockWriter(facts)
    tools = encode_tools(fields, facts, conversation.tools_used, writer)
    inference = encode_inference(fields, facts, forced=tools.forced, unthought=conversation.unthought)
    stop = stop_sequences(fields.get("stop"), dropped)
    if stop:
        inference.config["stopSequences"] = stop
    output, instruction = _output(fields.get("response_format"), facts, inference, dropped)
    system = writer.system(conversation.system)
    if instruction is not None:
        system.append({"text": instruction})
    parts: Json = {
        "additionalModelRequestFields": inference.native | tools.native,
        "inferenceConfig": inference.config,
        "outputConfig": output,
        "requestMetadata": _metadata(fields.get("metadata"), dropped),
        "serviceTier": _tier(fields.get("service_tier"), dropped),
        "toolConfig": tools.config,
        "system": system,
        "messages": [
            {"role": turn["role"], "content": writer.content(turn["content"])} for turn in conversation.messages
        ],
    }
    body = {name: value for name, value in parts.items() if value}
    _merge(body, fields.get(EXTRA))
    return UpstreamRequest(
        body=json_bytes(body),
        headers=(("accept", CONTENT_TYPE),) if call.stream else (),
        dropped=tuple(sorted({*dropped, *writer.dropped, *tools.dropped, *inference.dropped})),
    )


def _judge(fields: Mapping[str, Any], model: str) -> set[str]:
    """What is dropped by the table. Raises UnsupportedFeature for what it refuses."""
    table = support_of(model)
    judged = {feature: support_for(feature, table) for feature in used_features(fields)}
    refused = sorted(feature for feature, support in judged.items() if support is Support.REFUSED)
    if refused:
        raise UnsupportedFeature(f"Bedrock's Converse API cannot do this: {', '.join(refused)}.", param=refused[0])
    return {feature for feature, support in judged.items() if support is Support.DROPPED}


def _output(wanted: Any, model: Model, inference: Inference, dropped: set[str]) -> tuple[Json, str | None]:
    """``outputConfig``, and an instruction where the schema cannot be guaranteed."""
    schema, instruction = output_schema(wanted, structured=model.structured)
    output: Json = {"effort": inference.effort} if inference.effort else {}
    if schema is not None:
        given = wanted["json_schema"]
        described = {name: given[name] for name in ("name", "description") if isinstance(given.get(name), str)}
        definition = {"schema": json_bytes(schema).decode(), **described}
        output["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": definition}}
    if instruction not in {None, JSON_ONLY}:
        dropped.add("response_format.json_schema")
    return output, instruction


def _metadata(given: Any, dropped: set[str]) -> Json:
    """OpenAI's tags for its dashboard are AWS's for its logs, but for some characters. Raises InvalidRequest."""
    if given is not None and not isinstance(given, dict):
        raise InvalidRequest("Invalid type for 'metadata': expected an object.", param="metadata")
    items = (given or {}).items()
    fitting = {
        name: value
        for name, value in items
        if name and isinstance(value, str) and _METADATA.fullmatch(name) and _METADATA.fullmatch(value)
    }
    kept = dict(list(fitting.items())[:_MOST_METADATA])
    if len(kept) < len(items):
        dropped.add("metadata")
    return kept


def _tier(tier: Any, dropped: set[str]) -> Json | None:
    if tier in _TIERS:
        return {"type": tier}
    if tier is not None and tier not in _AT_REST:
        dropped.add("service_tier")
    return None


def _merge(body: Json, extra: Any) -> None:
    """Converse's own fields over ours, member by member where both are objects, the cached part still last."""
    if extra is None:
        return
    if not isinstance(extra, dict):
        raise InvalidRequest(f"Invalid type for '{EXTRA}': expected an object.", param=EXTRA)
    foreign = sorted(_OURS & extra.keys())
    if foreign:
        place = f"{EXTRA}.{foreign[0]}"
        raise InvalidRequest(f"'{place}' cannot be set: use OpenAI's field.", param=place)
    for name, value in extra.items():
        ours = body.get(name)
        body[name] = ours | value if isinstance(ours, dict) and isinstance(value, dict) else value
    for name in _TAIL:
        if name in body:
            body[name] = body.pop(name)
