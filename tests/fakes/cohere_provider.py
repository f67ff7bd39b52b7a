"""A provider that speaks Cohere's API, version 2, and is as strict as the real one."""

from __future__ import annotations

from tests.fakes import cohere_checks as checks
from tests.fakes.checks import Refused
from tests.fakes.openai_provider import FakeProvider
from tests.fakes.recorded import Recorded
from tests.fakes.replies import cohere
from tests.fakes.replies.persona import Call
from tests.fakes.steps import HeaderList, Reply, json_reply


class FakeCohere(FakeProvider):
    """As ``FakeProvider``; its ``base_url`` is what a backend is given."""

    def _own_headers(self, request: Recorded) -> HeaderList:
        return (("x-debug-trace-id", f"trace_{request.number}"), ("x-endpoint-monthly-call-limit", "1000"))

    def _answer(self, request: Recorded) -> Reply:
        try:
            checks.check_key(request, self.api_key)
            if request.method == "POST" and request.path == "/v2/chat":
                body = request.json
                checks.check_chat(body)
                return cohere.answer(Call(persona=self._persona, body=body, asked=body["messages"]))
            if request.method == "POST" and request.path == "/v2/embed":
                body = request.json
                checks.check_embed(body)
                return cohere.embed(Call(persona=self._persona, body=body, asked=body["texts"]))
            if request.method == "GET" and request.path == "/v1/models":
                names = self._persona.listed_models
                return json_reply({"models": [{"name": name, "endpoints": ["chat"]} for name in names]})
            raise checks.refused(404, "invalid path")
        except Refused as refused:
            return refused.reply
