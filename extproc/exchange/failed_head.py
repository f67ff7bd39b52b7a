"""The headers of a reply that says what went wrong, in place of the provider's."""

from __future__ import annotations

from extproc.exchange.steps import Head
from extproc.exchange.trail import write_outcome
from extproc.exchange.verdict import Reason
from extproc.headers import FAILOVER, OUTCOME, Headers
from extproc.openai.error_body import AttemptSummary


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
