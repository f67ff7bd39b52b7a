"""The headers of a reply: of an answer, and of one that says what went wrong in place of the provider's."""

from __future__ import annotations

from typing import Final

from extproc.exchange.attempt import Attempt
from extproc.exchange.own_headers import own_headers, upstream_request_id
from extproc.exchange.steps import Head
from extproc.exchange.trail import write_outcome
from extproc.exchange.verdict import Reason
from extproc.headers import FAILOVER, OUTCOME, UPSTREAM_REQUEST_ID, Headers
from extproc.openai.error_body import AttemptSummary

# What a client may see of a provider's reply headers: nothing that names the account, sets a cookie or describes the
# provider's front door.
_KEPT: Final = frozenset({":status", "content-type", "retry-after", "date", "openai-processing-ms", "openai-version"})


def attempt_headers(attempt: Attempt, replied: Headers) -> tuple[tuple[str, str], ...]:
    """What a reply tells of its attempt. ``replied`` are the provider's own headers."""
    own = own_headers(attempt)
    request_id = upstream_request_id(replied)
    return own if request_id is None else (*own, (UPSTREAM_REQUEST_ID, request_id))


def answer_head(attempt: Attempt, replied: Headers, status: int, extra: tuple[tuple[str, str], ...]) -> Head:
    """Of an answer, with ``extra`` headers."""
    fields = (*extra, *attempt_headers(attempt, replied))
    written = {name for name, _ in fields}
    return Head(
        status=status,
        set_headers=fields,
        remove_headers=tuple(name for name in replied if name not in _KEPT and name not in written),
    )


def failed_head(
    replaced: Headers,
    own: tuple[tuple[str, str], ...],
    summary: AttemptSummary,
    *,
    status: int,
    length: int,
    failover: Reason | None,
    retry_after: str | None,
) -> Head:
    """``length`` is the body's, in bytes; ``failover`` says why the next backend has its turn, None that none has."""
    fields = [
        ("content-type", "application/json"),
        ("content-length", str(length)),
        (OUTCOME, write_outcome(summary)),
        *own,
    ]
    if failover is not None:
        fields.append((FAILOVER, failover.value))
    if retry_after is not None:
        fields.append(("retry-after", retry_after))
    kept = {name for name, _ in fields}
    return Head(
        status=status,
        set_headers=tuple(fields),
        remove_headers=tuple(name for name in replaced if name[0] != ":" and name not in kept),
    )
