"""A provider that speaks Anthropic's Messages API, and is as strict as the real one."""

from __future__ import annotations

from tests.fakes import anthropic_checks as checks
from tests.fakes.checks import Refused
from tests.fakes.openai_provider import FakeProvider
from tests.fakes.recorded import Recorded
from tests.fakes.replies import messages
from tests.fakes.replies.persona import Call
from tests.fakes.steps import HeaderList, Reply


class FakeAnthropic(FakeProvider):
    """As ``FakeProvider``, with ``x-api-key`` for its key. Faults that bring an error take an ``AnthropicError``."""

    def _own_headers(self, request: Recorded) -> HeaderList:
        return (
            ("request-id", f"req_{self.name}_{request.number}"),
            ("anthropic-organization-id", "org-secret"),
            ("anthropic-ratelimit-requests-remaining", "99"),
        )

    def _answer(self, request: Recorded) -> Reply:
        try:
            version = checks.check_headers(request, self.api_key)
            if request.path != f"{self._prefix}/messages" or request.method != "POST":
                raise checks.refused(404, "not_found_error", "Not found")
            body = checks.check_body(request, version, messages.signature)
            models = self._persona.models
            if models is not None and body["model"] not in models:
                raise checks.refused(404, "not_found_error", f"model: {body['model']}")
            return messages.answer(Call(persona=self._persona, body=body, asked=body["messages"]))
        except Refused as refused:
            return refused.reply
