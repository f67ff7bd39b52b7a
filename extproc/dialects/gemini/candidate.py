"""One candidate on its way to the client: parts of a reply, or of a stream's event, → deltas of a chat message.

Whole replies are put together from the same deltas that streams are made of.
https://ai.google.dev/api/generate-content#candidate
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from extproc.dialects.gemini.thoughts import Thoughts
from extproc.errors import UpstreamError

Json = dict[str, Any]

# https://ai.google.dev/api/generate-content#FinishReason
_FINISH: Final = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
        ),
        "content_filter",
    ),
}
# The model failed at its own format; with nothing said there is no answer.
_FAILED: Final = frozenset(
    {
        *("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
        *("MISSING_THOUGHT_SIGNATURE", "OTHER", "IMAGE_OTHER", "NO_IMAGE"),
    }
)
_WITHHELD: Final = "The model's provider withheld its answer ({})."


class Said:
    """What a candidate has said so far. ``reply`` is the reply's own id: calls that have none are named after it."""

    __slots__ = ("_calls", "_finish", "_finish_message", "_ids", "_reply", "_spoke", "_text", "_thoughts", "index")

    def __init__(self, reply: str, index: int) -> None:
        self.index = index
        self._reply = reply
        self._text: list[str] = []
        self._thoughts = Thoughts()
        self._calls = 0
        self._ids: set[str] = set()
        self._spoke = False
        self._finish: str | None = None
        self._finish_message: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the provider has said why it ended."""
        return self._finish is not None

    def add(self, candidate: Mapping[str, Any]) -> Iterator[Json]:
        """The deltas for the client. Raises UpstreamError when the model has failed and said nothing."""
        content = candidate.get("content") or {}
        for part in content.get("parts") or ():
            delta = self._delta(part)
            if delta is not None:
                yield delta
        annotations = list(self._annotations(candidate))
        if annotations:
            yield {"annotations": annotations}
        reason = candidate.get("finishReason")
        if isinstance(reason, str) and reason != "FINISH_REASON_UNSPECIFIED":
            self._finish = reason
            message = candidate.get("finishMessage")
            self._finish_message = message if isinstance(message, str) and message else None
            if reason in _FAILED and not self._spoke:
                told = self._finish_message or f"The model ended without an answer ({reason})."
                raise UpstreamError(told, status=502, code=reason.lower())

    def finish_reason(self) -> str:
        """OpenAI's word for why it ended; a reason not known yet is an end like any other."""
        finish = _FINISH.get(self._finish or "", "stop")
        return "tool_calls" if finish == "stop" and self._calls else finish

    def refusal(self) -> str | None:
        """The sentence for ``message.refusal``, where a filter has left nothing of the answer."""
        if self._spoke or self.finish_reason() != "content_filter":
            return None
        return self._finish_message or _WITHHELD.format(self._finish)

    def _delta(self, part: Mapping[str, Any]) -> Json | None:
        signature = part.get("thoughtSignature")
        signature = signature if isinstance(signature, str) else ""
        call = part.get("functionCall")
        if isinstance(call, dict):
            return self._call(call, signature)
        text = part.get("text")
        if isinstance(text, str):
            if part.get("thought") is True:
                return {"reasoning_content": text} if text else None
            if text or signature:
                self._thoughts.write(len(text), signature)
            return self._say(text) if text else None
        blob = part.get("inlineData")
        if isinstance(blob, dict):
            # Where other gateways put them too: OpenAI's chat completions have no place for images that a model made.
            self._spoke = True
            url = f"data:{blob.get('mimeType')};base64,{blob.get('data')}"
            return {"images": [{"type": "image_url", "image_url": {"url": url}}]}
        code = _code(part)
        if code is not None:
            self._thoughts.write(len(code), "")
            return self._say(code)
        return None

    def _say(self, text: str) -> Json:
        self._spoke = True
        self._text.append(text)
        return {"content": text}

    def _call(self, call: Mapping[str, Any], signature: str) -> Json:
        self._spoke = True
        position = self._calls
        self._calls += 1
        identifier = self._thoughts.call_id(self._own_id(call.get("id"), position), signature)
        arguments = json.dumps(call.get("args") or {}, ensure_ascii=False, separators=(",", ":"))
        function = {"name": str(call.get("name", "")), "arguments": arguments}
        return {"tool_calls": [{"index": position, "id": identifier, "type": "function", "function": function}]}

    def _own_id(self, given: Any, position: int) -> str:
        own = given if isinstance(given, str) and given else f"call_{self._reply}_{self.index}_{position}"
        if own in self._ids:
            own = f"{own}_{position}"
        self._ids.add(own)
        return own

    def _annotations(self, candidate: Mapping[str, Any]) -> Iterator[Json]:
        """Web pages that the answer rests on, or repeats, as annotations of their part of the text.

        https://ai.google.dev/gemini-api/docs/google-search#attributing_sources_with_inline_citations and
        https://ai.google.dev/api/generate-content#citationmetadata
        """
        text = "".join(self._text).encode("utf-8", "replace")
        grounding = candidate.get("groundingMetadata") or {}
        pages = [chunk.get("web") for chunk in grounding.get("groundingChunks") or ()]
        for support in grounding.get("groundingSupports") or ():
            for index in support.get("groundingChunkIndices") or ():
                page = pages[index] if index < len(pages) else None
                if isinstance(page, dict):
                    yield _cited(text, support.get("segment") or {}, page)
        repeated = candidate.get("citationMetadata") or {}
        # The two platforms have two names for them.
        for source in repeated.get("citationSources") or repeated.get("citations") or ():
            if source.get("uri"):
                yield _cited(text, source, source)


def _cited(text: bytes, place: Mapping[str, Any], page: Mapping[str, Any]) -> Json:
    """Places are in bytes of UTF-8, where OpenAI counts characters."""
    start, end = (
        len(text[: int(place.get(name) or 0)].decode("utf-8", "ignore")) for name in ("startIndex", "endIndex")
    )
    cited = {"start_index": start, "end_index": end, "url": page.get("uri"), "title": page.get("title") or ""}
    return {"type": "url_citation", "url_citation": cited}


def logprobs(candidate: Mapping[str, Any]) -> Json | None:
    """OpenAI's ``logprobs``: https://ai.google.dev/api/generate-content#LogprobsResult"""
    result = candidate.get("logprobsResult")
    if not isinstance(result, dict):
        return None
    chosen = result.get("chosenCandidates") or []
    tops = result.get("topCandidates") or []
    content = []
    for position, token in enumerate(chosen):
        others = tops[position].get("candidates") or [] if position < len(tops) else []
        content.append({**_logprob(token), "top_logprobs": [_logprob(other) for other in others]})
    return {"content": content, "refusal": None}


def _logprob(token: Mapping[str, Any]) -> Json:
    text = str(token.get("token", ""))
    return {"token": text, "logprob": token.get("logProbability", 0.0), "bytes": list(text.encode("utf-8", "replace"))}


def _code(part: Mapping[str, Any]) -> str | None:
    """Code that the provider ran for the model, and what came of it: part of the answer, as people write code."""
    match part:
        case {"executableCode": {"code": str() as code, **rest}}:
            return f"\n```{str(rest.get('language', '')).lower()}\n{code.strip()}\n```\n"
        case {"codeExecutionResult": {"output": str() as output}}:
            return f"\n```\n{output.strip()}\n```\n"
    return None
