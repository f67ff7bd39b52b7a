"""Failures put into words for the client: what happened, at which backend, and no more than it may know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from extproc.errors import CredentialUnavailable, InternalError, UpstreamError
from extproc.exchange.verdict import REDIRECTED, Reason, Verdict
from extproc.openai.error_body import AttemptSummary
from extproc.routing.target import Target

# Envoy's response code details: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_conn_man/response_code_details
_LOCAL: Final = (
    (re.compile(r"TLS_error|CERTIFICATE_VERIFY_FAILED", re.IGNORECASE), Reason.CONNECT_FAILURE, 503, "tls_failure"),
    (re.compile(r"connection_failure|connection_timeout|no_healthy"), Reason.CONNECT_FAILURE, 503, "connect_failure"),
    (re.compile(r"timeout"), Reason.TIMEOUT, 504, "timeout"),
    (re.compile(r"overflow"), Reason.OVERLOADED, 503, "overloaded"),
    (re.compile(r"ext_proc|cluster_not_found|route_not_found|direct_response"), Reason.GATEWAY, 503, "gateway_failure"),
    (re.compile(r""), Reason.RESET, 502, "connection_reset"),
)
_SENTENCES: Final = {
    "tls_failure": "The TLS certificate of the backend '{}' could not be verified.",
    "connect_failure": "The backend '{}' could not be reached.",
    "timeout": "The backend '{}' did not answer in time.",
    "overloaded": "The backend '{}' is at its limit of concurrent requests.",
    "gateway_failure": "The gateway could not prepare the request for the backend '{}'.",
    "connection_reset": "The backend '{}' closed the connection before it answered.",
}
_BROKEN: Final = {
    Reason.TRUNCATED: (502, "stream_truncated", "The backend '{}' ended its stream before the answer was complete."),
    Reason.IDLE: (504, "stream_idle_timeout", "The backend '{}' stopped sending in the middle of its answer."),
    Reason.DEADLINE: (504, "timeout", "The request's total time ran out while the backend '{}' was answering."),
}
_OUR_CREDENTIAL: Final = "The backend '{}' refused the gateway's credential (status {}); the operator has to mend it."
_FIRST_STANDARD_GAP: Final = 505
_SHORTEST_PART: Final = 4
"""Characters of a credential that tell more than whose it is."""


def local_failure(details: str, backend: str) -> tuple[UpstreamError, Reason]:
    """A reply that Envoy made itself, by its response code details."""
    reason, status, code = next(row[1:] for row in _LOCAL if row[0].search(details))
    return UpstreamError(_SENTENCES[code].format(backend), status=status, code=code), reason


def broken() -> InternalError:
    """What a client may know of a bug."""
    return InternalError("The gateway failed to serve this request. Its log has the details under the request id.")


def redirected(status: int, backend: str) -> UpstreamError:
    """A redirect is not followed: the body and the credential would go where the config does not say."""
    message = f"The backend '{backend}' redirects elsewhere (status {status}); the operator has to mend its url."
    return UpstreamError(message, status=502, code=REDIRECTED)


def broken_stream(reason: Reason, backend: str) -> UpstreamError:
    """A stream that did not come to its end; ``reason`` is TRUNCATED, IDLE or DEADLINE."""
    status, code, sentence = _BROKEN[reason]
    return UpstreamError(sentence.format(backend), status=status, code=code)


def redact(error: UpstreamError, verdict: Verdict, target: Target) -> UpstreamError:
    """The error without what only the operator may see: our credential, whole or as providers quote it in pieces.

    Statuses of providers that HTTP does not know (529, 520 …) become the standard one of their class.
    """
    try:
        credential = target.credential()
    except CredentialUnavailable:
        credential = None
    message = error.message
    if verdict.reason is Reason.UNAUTHORIZED:
        message = _OUR_CREDENTIAL.format(target.backend, error.status)
    return UpstreamError(
        _without(credential, message),
        status=_standard(error.status),
        type=error.type,
        code=None if error.code is None else _without(credential, error.code),
        param=None if error.param is None else _without(credential, error.param),
        retry_after=error.retry_after,
    )


def _without(credential: str | None, text: str) -> str:
    """The text with ``***`` for the credential, and for its beginning where a long message was cut in its middle."""
    if not credential:
        return text
    text = text.replace(credential, "***")
    for length in range(len(credential) - 1, _SHORTEST_PART - 1, -1):
        if text.endswith(credential[:length]):
            return text[:-length] + "***"
    return text


def final_error(error: UpstreamError, attempts: Sequence[AttemptSummary]) -> UpstreamError:
    """What the client is told when nobody is left to ask: the last error, in its own status, and who was tried."""
    if len(attempts) == 1:
        return error
    tried = ", ".join(f"{attempt.backend}: {attempt.outcome}" for attempt in attempts)
    return UpstreamError(
        f"{error.message} (No backend answered; tried {tried}.)",
        status=error.status,
        type=error.type,
        code=error.code,
        param=error.param,
        retry_after=error.retry_after,
    )


def _standard(status: int) -> int:
    if status >= _FIRST_STANDARD_GAP:
        return 503 if status == 529 else 502
    return status
