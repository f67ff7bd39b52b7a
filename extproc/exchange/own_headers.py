"""What every reply tells in its headers about how it came to be."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from extproc.exchange.attempt import Attempt
from extproc.exchange.trail import write_trail
from extproc.headers import ATTEMPTS, BACKEND, DROPPED_PARAMS, EXPERIMENT, MODEL, TRAIL, Headers

_REQUEST_ID_NAMES: Final = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "cf-ray")
_LONGEST_NAME: Final = 64
_MOST_NAMES: Final = 32


def own_headers(attempt: Attempt) -> tuple[tuple[str, str], ...]:
    """What every reply tells about how it came to be."""
    own: tuple[tuple[str, str], ...] = (
        (BACKEND, attempt.target.backend),
        (MODEL, attempt.model),
        (ATTEMPTS, str(attempt.number)),
    )
    if attempt.dropped:
        own = (*own, (DROPPED_PARAMS, _names(attempt.dropped)))
    own = (*own, *attempt.assignment.reservation.headers, *attempt.assignment.explained)
    if attempt.assignment.experiments:
        own = (*own, (EXPERIMENT, _variants(attempt)))
    return (*own, (TRAIL, write_trail(attempt.before))) if attempt.before else own


def _variants(attempt: Attempt) -> str:
    """``name=variant``; another backend's answer is marked, for it says nothing of the variant."""
    mark = ";failed_over" if attempt.number > 1 else ""
    return ", ".join(f"{tag}{mark}" for tag in attempt.assignment.experiments)


def upstream_request_id(headers: Headers) -> str | None:
    """What the provider calls the request in its reply's headers."""
    return next((headers[name] for name in _REQUEST_ID_NAMES if name in headers), None)


def _names(dropped: tuple[str, ...]) -> str:
    """Names as one header value; a client may have made up any of them."""
    return ", ".join(quote(name[:_LONGEST_NAME], safe=".[]") for name in dropped[:_MOST_NAMES])
