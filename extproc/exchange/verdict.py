"""The one table that says what fails over: every failure of a provider, whatever shape it came in, ends here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from extproc.dialects.base import GarbledReply
from extproc.errors import UpstreamError


class Reason(StrEnum):
    """Why an attempt did not answer; a metric label, a header value and a word in the client's error."""

    CONNECT_FAILURE = "connect_failure"
    RESET = "reset"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    OVERLOADED = "overloaded"
    RATE_LIMITED = "rate_limited"
    GARBLED = "garbled"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    REFUSED = "refused"
    UNSUPPORTED = "unsupported"
    """The backend cannot do what the request needs; found out only when the request was written for it."""
    GATEWAY = "gateway"
    TRUNCATED = "truncated"
    IDLE = "idle"
    DEADLINE = "deadline"
    CLIENT_GONE = "client_gone"
    INTERRUPTED = "interrupted"
    """A reply under way ended with its connection: Envoy does not tell whether the client or the provider left."""


MISCONFIGURED: Final = frozenset({Reason.UNAUTHORIZED, Reason.NOT_FOUND})
"""Failures that the operator must mend: our key, our name for the model, our address."""

_STAYS: Final = frozenset({Reason.CONTENT_FILTER, Reason.REFUSED, Reason.DEADLINE})
"""The next backend would not change these, or there is no time left for it."""

REDIRECTED: Final = "unexpected_redirect"

_BY_CODE: Final = {
    REDIRECTED: Reason.NOT_FOUND,
    "context_length_exceeded": Reason.CONTEXT_LENGTH,
    "content_filter": Reason.CONTENT_FILTER,
}
_BY_STATUS: Final = {
    401: Reason.UNAUTHORIZED,
    403: Reason.UNAUTHORIZED,
    404: Reason.NOT_FOUND,
    408: Reason.TIMEOUT,
    429: Reason.RATE_LIMITED,
    503: Reason.OVERLOADED,
    504: Reason.TIMEOUT,
    529: Reason.OVERLOADED,
}
_FIRST_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``failover``: whether the next backend should be tried."""

    reason: Reason
    failover: bool

    @property
    def misconfigured(self) -> bool:
        """Whether the operator has something to mend."""
        return self.reason in MISCONFIGURED


def judge(error: UpstreamError) -> Verdict:
    """A provider's failure → why, and whether the next backend may still answer."""
    reason = _reason(error)
    return Verdict(reason=reason, failover=reason not in _STAYS)


def judge_reason(reason: Reason) -> Verdict:
    """The same for a failure that is not the provider's words but what happened on the wire."""
    return Verdict(reason=reason, failover=reason not in _STAYS)


def _reason(error: UpstreamError) -> Reason:
    if isinstance(error, GarbledReply):
        return Reason.GARBLED
    by_code = _BY_CODE.get(error.code or "")
    if by_code is not None:
        return by_code
    by_status = _BY_STATUS.get(error.status)
    if by_status is not None:
        return by_status
    return Reason.SERVER_ERROR if error.status >= _FIRST_SERVER_ERROR else Reason.REFUSED
