"""Providers that speak Gemini's generateContent, and are as strict as AI Studio and Vertex AI are."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import unquote

from tests.fakes import anthropic_checks, gemini_checks
from tests.fakes.checks import Refused
from tests.fakes.openai_provider import FakeProvider
from tests.fakes.recorded import Recorded
from tests.fakes.replies import generate_content, messages
from tests.fakes.replies.persona import Call
from tests.fakes.steps import HeaderList, Json, Reply, json_reply

_AI_STUDIO = re.compile(r"/v1beta/models/([^/:]+):(\w+)")
_VERTEX = re.compile(
    r"/v1(?:beta1)?/projects/fake-project/locations/([a-z0-9-]+)/publishers/(google|anthropic)/models/([^/:]+):(\w+)"
)


class FakeGemini(FakeProvider):
    """As ``FakeProvider``, with ``x-goog-api-key`` for its key. Faults that bring an error take a ``GeminiError``."""

    def _own_headers(self, request: Recorded) -> HeaderList:
        return (("x-gemini-service-tier", "standard"), ("server-timing", f"gfet4t7; dur={request.number}"))

    def _answer(self, request: Recorded) -> Reply:
        try:
            if self.api_key is not None and request.headers.get("x-goog-api-key") != self.api_key:
                raise gemini_checks.invalid("API key not valid. Please pass a valid API key.")
            if (request.method, request.path) == ("GET", "/v1beta/models"):
                names = self._persona.listed_models
                return json_reply({"models": [{"name": f"models/{name}", "displayName": name} for name in names]})
            found = _AI_STUDIO.fullmatch(request.path)
            if found is None or request.method != "POST":
                raise gemini_checks.refused(404, "NOT_FOUND", "Requested entity was not found.")
            return self._generate(request, unquote(found[1]), found[2], cloud=False)
        except Refused as refused:
            return refused.reply

    def _generate(self, request: Recorded, model: str, method: str, *, cloud: bool) -> Reply:
        models = self._persona.models
        if models is not None and model not in models:
            message = f"models/{model} is not found for API version v1beta, or is not supported for {method}."
            raise gemini_checks.refused(404, "NOT_FOUND", message)
        if method == "batchEmbedContents" and not cloud:
            return _embed_batch(gemini_checks.read_body(request), model)
        if method == "predict" and cloud:
            return _predict(gemini_checks.read_body(request))
        if method not in {"generateContent", "streamGenerateContent"}:
            raise gemini_checks.refused(404, "NOT_FOUND", f"Method {method} is not found.")
        if method == "streamGenerateContent" and request.query != "alt=sse":
            raise gemini_checks.invalid("this fake streams server-sent events only")
        body = gemini_checks.check_body(request, model, generate_content.signature, cloud=cloud)
        call = Call(persona=self._persona, body={**body, "model": model}, asked=body["contents"])
        stream = method == "streamGenerateContent"
        return generate_content.answer(call, stream=stream, ids="gemini-3" in model)


class FakeVertex(FakeGemini):
    """Vertex AI of the project ``fake-project``. ``tokens`` gives the access tokens that are good at this moment."""

    def __init__(self, *, tokens: Callable[[], Collection[str]], **options: Any) -> None:
        super().__init__(**options)
        self._tokens = tokens

    def _answer(self, request: Recorded) -> Reply:
        try:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme != "Bearer" or token not in self._tokens():
                message = "Request had invalid authentication credentials. Expected OAuth 2 access token."
                raise gemini_checks.refused(401, "UNAUTHENTICATED", message)
            found = _VERTEX.fullmatch(request.path)
            if found is None or request.method != "POST":
                raise gemini_checks.refused(404, "NOT_FOUND", "Requested entity was not found.")
            if found[2] == "anthropic":
                return self._claude(request, unquote(found[3]), found[4])
            return self._generate(request, unquote(found[3]), found[4], cloud=True)
        except Refused as refused:
            return refused.reply

    def _claude(self, request: Recorded, model: str, method: str) -> Reply:
        """https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai"""
        if method not in {"rawPredict", "streamRawPredict"}:
            raise gemini_checks.refused(404, "NOT_FOUND", f"Method {method} is not found.")
        body = dict(gemini_checks.read_body(request))
        if body.pop("anthropic_version", None) != "vertex-2023-10-16":
            raise anthropic_checks.invalid("anthropic_version: Field required")
        if bool(body.get("stream")) != (method == "streamRawPredict"):
            raise anthropic_checks.invalid("stream: must be as the method is")
        known = anthropic_checks.FIELDS - {"model"}
        anthropic_checks.check_document(body, known, ("max_tokens", "messages"), messages.signature)
        asked = {**body, "model": model}
        return messages.answer(Call(persona=self._persona, body=asked, asked=body["messages"]))


def _embed_batch(body: Json, model: str) -> Reply:
    texts, size = [], None
    for one in body["requests"]:
        if one["model"] != f"models/{model}":
            raise gemini_checks.invalid("* BatchEmbedContentsRequest.model: must match the model of each request")
        texts.append(one["content"]["parts"][0]["text"])
        size = one.get("outputDimensionality")
    return json_reply({"embeddings": [{"values": vector} for vector in generate_content.embed(texts, size)]})


def _predict(body: Json) -> Reply:
    texts = [instance["content"] for instance in body["instances"]]
    vectors = generate_content.embed(texts, body["parameters"].get("outputDimensionality"))
    return json_reply(
        {
            "predictions": [
                {"embeddings": {"values": vector, "statistics": {"token_count": len(text.split()), "truncated": False}}}
                for text, vector in zip(texts, vectors, strict=True)
            ],
            "metadata": {"billableCharacterCount": sum(map(len, texts))},
        }
    )
