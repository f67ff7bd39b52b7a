"""A provider that speaks Bedrock's runtime API, checks every signature, and is as strict as the real one."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, replace
from urllib.parse import unquote

from botocore.credentials import Credentials

from tests.fakes import anthropic_checks, converse_checks, event_stream
from tests.fakes.aws_signature import signature_problem
from tests.fakes.checks import Refused
from tests.fakes.converse_checks import AwsError, invalid, refused
from tests.fakes.faults.fault import Fault
from tests.fakes.openai_provider import FakeProvider
from tests.fakes.recorded import Recorded
from tests.fakes.replies import converse, messages
from tests.fakes.replies.persona import Call
from tests.fakes.replies.wording import tokens_in
from tests.fakes.steps import HeaderList, Json, Reply, Send, compact, json_reply

REGION = "us-east-1"
CREDENTIALS = Credentials("AKIAFAKE", "the-secret-of-the-fake", "the-session-token")
PROFILE = Credentials("AKIAPROFILE", "the-secret-of-a-profile")
_PATH = re.compile(r"/model/(?P<model>[^/]+)/(?P<action>[a-z-]+)")
_INVOKED = anthropic_checks.FIELDS - {"model", "stream"} | {"anthropic_version", "anthropic_beta"}


@dataclass(frozen=True, slots=True)
class ExceptionAfter(Fault):
    """Sends ``events`` messages of a binary stream, then an exception as the last one."""

    events: int
    error: AwsError

    def apply(self, reply: Reply) -> Reply:
        kind = str(self.error.type)
        told = event_stream.exception(kind[:1].lower() + kind[1:], compact(self.error.document))
        if not any(value == "application/vnd.amazon.eventstream" for _, value in reply.headers):
            raise ValueError("a fault waits for a binary stream, but the reply is none")
        return reply.truncate(self.events).insert(self.events, Send(told))


class FakeBedrock(FakeProvider):
    """As ``FakeProvider``. ``api_key`` None: requests are signed with ``CREDENTIALS`` or ``PROFILE``.

    Faults that bring an error take an ``AwsError``.
    """

    def _own_headers(self, request: Recorded) -> HeaderList:
        return (("x-amzn-requestid", f"req-{self.name}-{request.number}"),)

    def _answer(self, request: Recorded) -> Reply:
        try:
            self._check_credential(request)
            found = _PATH.fullmatch(request.path)
            if found is None or request.method != "POST" or ":" in request.path:
                # Names that are not escaped meet no operation, or a signature that does not match.
                raise refused("UnknownOperationException", "")
            return self._act(request, unquote(found["model"]), found["action"])
        except Refused as problem:
            return problem.reply

    def _check_credential(self, request: Recorded) -> None:
        if self.api_key is not None:
            if request.headers.get("authorization") != f"Bearer {self.api_key}":
                raise refused("AccessDeniedException", "Authentication failed: Please make sure your API Key is valid.")
            return
        known = {credentials.access_key: credentials for credentials in (CREDENTIALS, PROFILE)}
        key = request.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
        if key not in known:
            raise refused("AccessDeniedException", "The security token included in the request is invalid.")
        problem = signature_problem(request, known[key], region=REGION, service="bedrock")
        if problem is not None:
            raise refused("AccessDeniedException", problem)

    def _act(self, request: Recorded, model: str, action: str) -> Reply:
        if self._persona.models is not None and model not in self._persona.models:
            raise invalid("The provided model identifier is invalid.")
        try:
            body = request.json
        except ValueError:
            raise invalid("The request body is not valid JSON.") from None
        call = Call(persona=self._persona, body=body, asked=body.get("messages"))
        match action:
            case "converse" | "converse-stream":
                operation = "Converse" if action == "converse" else "ConverseStream"
                converse_checks.check_body(body, operation, messages.signature)
                return converse.answer(call, stream=action == "converse-stream")
            case "invoke" if "titan-embed" in model:
                return _titan(body)
            case "invoke" if "cohere.embed" in model:
                return _cohere(body)
            case "invoke" | "invoke-with-response-stream":
                return _claude(call, model, stream=action != "invoke")
            case _:
                raise refused("UnknownOperationException", "")


def _claude(call: Call, model: str, *, stream: bool) -> Reply:
    """Anthropic's answer, for a stream in AWS's messages."""
    if call.body.get("anthropic_version") != "bedrock-2023-05-31":
        raise invalid("anthropic_version: Field required")
    try:
        anthropic_checks.check_document(call.body, _INVOKED, ("max_tokens", "messages"), messages.signature)
    except Refused as problem:
        raise invalid(problem.error.message) from None
    reply = messages.answer(replace(call, body={**call.body, "model": model, "stream": stream}))
    if not stream:
        return reply
    events = (step.payload.partition(b"data: ")[2] for step in reply.body if isinstance(step, Send))
    chunks = ({"bytes": base64.b64encode(data.strip()).decode(), "p": "abc"} for data in events)
    return converse.binary_reply(*(event_stream.event("chunk", compact(chunk)) for chunk in chunks))


def _titan(body: Json) -> Reply:
    if set(body) - {"inputText", "dimensions", "normalize", "embeddingTypes"} or not isinstance(body["inputText"], str):
        raise invalid("Malformed input request: extraneous key is not permitted, please reformat your input.")
    vector = _vector(body["inputText"], body.get("dimensions", 8))
    return json_reply({"embedding": vector, "inputTextTokenCount": tokens_in(body["inputText"])})


def _cohere(body: Json) -> Reply:
    unknown = set(body) - {"texts", "input_type", "truncate", "embedding_types", "output_dimension"}
    if unknown or "input_type" not in body or not 0 < len(body["texts"]) <= 96:
        raise invalid("Malformed input request: please reformat your input and try again.")
    vectors = [_vector(text, body.get("output_dimension", 8)) for text in body["texts"]]
    count = str(sum(map(tokens_in, body["texts"])))
    document = {
        "id": "x",
        "embeddings": {"float": vectors},
        "texts": body["texts"],
        "response_type": "embeddings_by_type",
    }
    return json_reply(document, headers=(("x-amzn-bedrock-input-token-count", count),))


def _vector(text: str, size: int) -> list[float]:
    """Numbers that a 32-bit float holds exactly."""
    return [byte / 256 for byte in hashlib.shake_128(text.encode()).digest(size)]
