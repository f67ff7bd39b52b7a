"""Providers that speak OpenAI's API and word what was used in a way of their own, each as in its own reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.fakes.faults import Edited
from tests.fakes.openai_provider import FakeProvider
from tests.fakes.recorded import Recorded
from tests.fakes.steps import Json, Reply


def _without_details(usage: Json) -> Json:
    return {name: usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}


def _cached(usage: Json) -> int:
    return int(usage["prompt_tokens_details"]["cached_tokens"])


def _deepseek(document: Json) -> Json:
    """https://api-docs.deepseek.com/guides/kv_cache"""
    usage = document["usage"]
    hit = _cached(usage)
    cache = {"prompt_cache_hit_tokens": hit, "prompt_cache_miss_tokens": usage["prompt_tokens"] - hit}
    reasoning = {"reasoning_tokens": usage["completion_tokens_details"]["reasoning_tokens"]}
    return document | {"usage": _without_details(usage) | cache | {"completion_tokens_details": reasoning}}


def _groq(document: Json) -> Json:
    """In a stream it stands apart: https://console.groq.com/docs/api-reference#chat-create"""
    usage = document["usage"] | {"queue_time": 0.05, "total_time": 0.2}
    if document["object"] == "chat.completion":
        return document | {"usage": usage, "x_groq": {"id": "req_01"}}
    return document | {"usage": None, "x_groq": {"id": "req_01", "usage": usage}}


def _ollama(document: Json) -> Json:
    """https://docs.ollama.com/api/openai-compatibility"""
    return document | {"usage": _without_details(document["usage"])}


def _together(document: Json) -> Json:
    """https://docs.together.ai/reference/chat-completions-1"""
    usage = document["usage"]
    return document | {"usage": _without_details(usage) | {"cached_tokens": _cached(usage)}}


def _xai(document: Json) -> Json:
    """Reasoning is not part of the completion: https://docs.x.ai/docs/guides/reasoning"""
    usage = document["usage"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    return document | {"usage": usage | {"completion_tokens": usage["completion_tokens"] - reasoning}}


WORDINGS: Final[Mapping[str, Callable[[Json], Json]]] = {
    "deepseek": _deepseek,
    "groq": _groq,
    "ollama": _ollama,
    "together": _together,
    "xai": _xai,
}


class FakeCompatible(FakeProvider):
    """As ``FakeProvider``, by the name of one of ``WORDINGS``."""

    def _answer(self, request: Recorded) -> Reply:
        return Edited(self._worded).apply(super()._answer(request))

    def _worded(self, document: Json) -> Json:
        return WORDINGS[self.name](document) if document.get("usage") else document
