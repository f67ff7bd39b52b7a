"""What every reply tells in its headers about how it came to be."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from extproc.exchange.attempt import Attempt
from extproc.exchange.trail import write_trail
from extproc.headers import ATTEMPTS, BACKEND, DROPPED_PARAMS, EXPERIMENT, MODEL, TRAIL

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


def _names(dropped: tuple[str, ...]) -> str:
    """Names as one header value; a client may have made up any of them."""
    return ", ".join(quote(name[:_LONGEST_NAME], safe=".[]") for name in dropped[:_MOST_NAMES])
