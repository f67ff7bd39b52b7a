"""POST models/*:generateContent, whole and streamed, and embeddings: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tests.fakes.replies.embeddings import DEFAULT_SIZE, vector_of
from tests.fakes.replies.example import example_of
from tests.fakes.replies.persona import Call
from tests.fakes.replies.wording import REASONING_TOKENS, pieces, said_by, tokens_in
from tests.fakes.steps import Json, Reply, Send, compact, event_reply, json_reply


def signature(call: Json) -> str:
    """What shows that a function call is this fake's own, and unchanged."""
    text = json.dumps([call["name"], call.get("args", {})], sort_keys=True)
    return base64.b64encode(hashlib.sha256(b"fake" + text.encode()).digest()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The answer. A user's ``[loop=3]`` asks for three rounds of function calls."""

    parts: list[Json]
    prompt_tokens: int
    thought: bool

    @property
    def usage(self) -> Json:
        """Thoughts beside the candidates' tokens."""
        texts = [str(part["text"]) for part in self.parts if "text" in part and not part.get("thought")]
        calls = sum("functionCall" in part for part in self.parts)
        candidates = sum(len(pieces(text)) for text in texts) + REASONING_TOKENS * calls
        thoughts = REASONING_TOKENS if self.thought else 0
        return {
            "promptTokenCount": self.prompt_tokens,
            "candidatesTokenCount": candidates,
            "cachedContentTokenCount": 2,
            **({"thoughtsTokenCount": thoughts} if thoughts else {}),
            "totalTokenCount": self.prompt_tokens + candidates + thoughts,
        }


def answer(call: Call, *, stream: bool, ids: bool) -> Reply:
    """The reply to a checked request. ``ids``: function calls have ids, as those of newer models do."""
    said = _said(call, ids=ids)
    if stream:
        return event_reply(*(_event(document) for document in _events(call, said)))
    return json_reply({**_candidate(said.parts, "STOP"), "usageMetadata": said.usage, **_tail(call)})


def embed(texts: list[str], size: int | None) -> list[tuple[float, ...]]:
    """The vectors of these texts."""
    size = size or DEFAULT_SIZE
    return [struct.unpack(f"<{size}f", vector_of(text, size)) for text in texts]


def _texts(content: Json) -> str:
    return " ".join(part["text"] for part in content["parts"] if "text" in part)


def _said(call: Call, *, ids: bool) -> Said:
    contents: list[Json] = call.body["contents"]
    config = call.body.get("generationConfig", {})
    asked = " ".join(filter(None, (_texts(content) for content in contents if content["role"] == "user")))
    sent = [part for content in contents for part in content["parts"]]
    results = [part["functionResponse"] for part in sent if "functionResponse" in part]
    rounds = sum(any("functionCall" in part for part in content["parts"]) for content in contents)
    wanted = int(found[1]) if (found := re.search(r"\[loop=(\d+)\]", asked)) else 1
    thinks = bool(config.get("thinkingConfig", {}).get("includeThoughts"))
    parts: list[Json] = [{"text": f"round {rounds} of {wanted}", "thought": True}] if thinks else []
    mode = call.body.get("toolConfig", {}).get("functionCallingConfig", {}).get("mode", "AUTO")
    if call.body.get("tools") and mode != "NONE" and rounds < wanted:
        parts += _calls(call, asked, rounds, ids=ids)
    else:
        parts.append({"text": _text(call, asked, results)})
    return Said(parts=parts, prompt_tokens=4 * len(contents) + tokens_in(asked), thought=thinks)


def _text(call: Call, asked: str, results: list[Json]) -> str:
    wanted = call.body.get("generationConfig", {}).get("responseJsonSchema")
    if wanted is not None:
        return json.dumps(example_of(wanted, asked), ensure_ascii=False)
    if results:
        return f"{call.persona.name} read " + "; ".join(str(next(iter(one["response"].values()))) for one in results)
    parts = [part for content in call.body["contents"] for part in content["parts"]]
    images = sum("inlineData" in part or "fileData" in part for part in parts)
    return said_by(call.persona.name, asked) + (f" [{images} image]" if images else "")


def _calls(call: Call, asked: str, rounds: int, *, ids: bool) -> Iterator[Json]:
    declared: list[Json] = [one for tool in call.body["tools"] for one in tool.get("functionDeclarations", ())]
    config = call.body.get("toolConfig", {}).get("functionCallingConfig", {})
    names = config.get("allowedFunctionNames") or [one["name"] for one in declared]
    schemas = {one["name"]: one.get("parametersJsonSchema", {"type": "object"}) for one in declared}
    for position, name in enumerate((names * 2)[: 2 if "[parallel]" in asked else 1]):
        made: Json = {"name": name, "args": example_of(schemas[name], f"{asked[:40]} {rounds}")}
        signed = {"thoughtSignature": signature(made)} if position == 0 else {}
        if ids:
            made = {"id": f"fc-{call.fingerprint[:12]}{rounds}{position}", **made}
        yield {"functionCall": made, **signed}


def _candidate(parts: list[Json], finish: str | None = None) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
    return {"candidates": [{**candidate, "finishReason": finish} if finish else candidate]}


def _tail(call: Call) -> Json:
    return {
        "modelVersion": call.persona.model_in_replies(call.body["model"]),
        "responseId": call.fingerprint[:24],
    }


def _event(document: Json) -> Send:
    return Send(b"data: " + compact(document) + b"\r\n\r\n")


def _events(call: Call, said: Said) -> Iterator[Json]:
    early = {"usageMetadata": {"promptTokenCount": said.prompt_tokens, "totalTokenCount": said.prompt_tokens}}
    for part in said.parts:
        for piece in pieces(part["text"]) if "text" in part else ("",):
            yield {**_candidate([{**part, "text": piece} if "text" in part else part]), **early, **_tail(call)}
    yield {**_candidate([{"text": ""}], "STOP"), "usageMetadata": said.usage, **_tail(call)}
