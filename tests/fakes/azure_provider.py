"""A resource of Azure OpenAI: deployments, API versions, two kinds of credentials, remarks of its content filter."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from urllib.parse import parse_qs, unquote

from tests.fakes import checks
from tests.fakes.checks import Refused
from tests.fakes.openai_provider import OPERATIONS, FakeProvider
from tests.fakes.provider_error import ProviderError
from tests.fakes.recorded import Recorded
from tests.fakes.replies.persona import Call
from tests.fakes.steps import HeaderList, Json, Reply, Send, event

_SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
FILTERED: Json = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {**_SAFE, "violence": {"filtered": True, "severity": "high"}},
        },
    }
}


class _Filtered(ProviderError):
    @property
    def document(self) -> Json:
        return FILTERED


class FakeAzure(FakeProvider):
    """As ``FakeProvider``, with ``api-key`` for its key, or one of ``tokens`` as bearer. A ``[violence]`` is filtered.

    ``deployments``: those that exist. ``tokens`` may grow while it runs.
    """

    def __init__(self, *, name: str, api_key: str, deployments: Collection[str], tokens: Collection[str] = ()) -> None:
        super().__init__(name=name, api_key=api_key, prefix="/openai", served_model="gpt-4o-2024-11-20")
        self.deployments = deployments
        self.tokens = tokens

    def _own_headers(self, request: Recorded) -> HeaderList:
        return (("apim-request-id", f"apim_{self.name}_{request.number}"), ("x-ms-region", "Sweden Central"))

    def _answer(self, request: Recorded) -> Reply:
        try:
            self._check_credential(request)
            deployment, path = self._place(request)
            body = checks.check_body(request, OPERATIONS[path].rules)
            if (deployment or body["model"]) not in self.deployments:
                raise _refused(404, "DeploymentNotFound", "The API deployment for this resource does not exist.")
            _check_content(body)
            reply = OPERATIONS[path].answer(Call(persona=self._persona, body=body, asked=body[OPERATIONS[path].asked]))
            return _remarked(reply, body) if reply.is_stream else reply
        except Refused as refused:
            return refused.reply

    def _check_credential(self, request: Recorded) -> None:
        key, bearer = request.headers.get("api-key"), request.headers.get("authorization", "")
        if key == self.api_key or bearer.removeprefix("Bearer ") in self.tokens:
            return
        raise _refused(401, "401", "Access denied due to invalid subscription key or wrong API endpoint.")

    def _place(self, request: Recorded) -> tuple[str | None, str]:
        """The deployment, where the path names one, and the operation."""
        path = request.path.removeprefix(self._prefix)
        if path.startswith("/v1/") and path.removeprefix("/v1") in OPERATIONS and not request.query:
            return None, path.removeprefix("/v1")
        _, _, rest = path.partition("/deployments/")
        deployment, slash, operation = rest.partition("/")
        versions = parse_qs(request.query).get("api-version")
        if not versions or slash + operation not in OPERATIONS:
            raise _refused(404, "404", "Resource not found")
        return unquote(deployment), slash + operation


def _check_content(body: Json) -> None:
    if "[violence]" in json.dumps(body):
        raise Refused(400, _Filtered())


def _refused(status: int, code: str, message: str) -> Refused:
    return Refused(status, ProviderError(message, None, code))


def _remarked(reply: Reply, body: Json) -> Reply:
    """What is remarked of the prompt first, and of the answer behind its first words, each in a chunk of its own."""
    chunks = [step for step in reply.body if isinstance(step, Send)]
    head = {"id": "", "object": "", "created": 0, "model": ""}
    results = [{"prompt_index": 0, "content_filter_results": _SAFE}]
    offsets = {"check_offset": 0, "start_offset": 0, "end_offset": 99}
    remark = {"index": 0, "finish_reason": None, "content_filter_results": _SAFE, "content_filter_offsets": offsets}
    before = event({**head, "choices": [], "prompt_filter_results": results})
    behind = event({**head, "choices": [remark]})
    return replace(reply, body=(before, *chunks[:2], behind, *chunks[2:])) if "messages" in body else reply
