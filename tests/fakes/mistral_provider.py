"""A provider that speaks OpenAI's API as Mistral does: strict about fields, ids and turns, with its own replies."""

from __future__ import annotations

from tests.fakes import checks, mistral_checks
from tests.fakes.checks import Refused
from tests.fakes.openai_provider import FakeProvider
from tests.fakes.recorded import Recorded
from tests.fakes.replies import embeddings, mistral
from tests.fakes.replies.persona import Call
from tests.fakes.steps import HeaderList, Reply


class FakeMistral(FakeProvider):
    """As ``FakeProvider``. A request with ``reasoning_effort`` is answered with thoughts."""

    def _own_headers(self, request: Recorded) -> HeaderList:
        return (("mistral-correlation-id", f"cor_{request.number}"), ("x-kong-request-id", f"kong_{request.number}"))

    def _answer(self, request: Recorded) -> Reply:
        try:
            checks.check_key(request, self.api_key)
            path = request.path.removeprefix(self._prefix)
            if path == "/embeddings":
                body = request.json
                mistral_checks.check_embeddings(body)
                asked = {**body, "dimensions": body.get("output_dimension")}
                return embeddings.answer(Call(persona=self._persona, body=asked, asked=body["input"]))
            if path != "/chat/completions":
                raise checks.unknown_path(request)
            body = mistral_checks.check_body(request)
            return mistral.answer(Call(persona=self._persona, body=body, asked=body["messages"]))
        except Refused as refused:
            return refused.reply
