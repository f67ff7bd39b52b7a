"""Questions to the ledger, as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from extproc.ledger.columns import DIMENSIONS, TIMES

BY: Final = (*(name for name in DIMENSIONS if name != "currency"), *TIMES)
_DEFAULT_BY: Final = ("day", "model")
_AGO: Final = re.compile(r"([0-9]{1,5})([hd])")
_UNITS: Final = {"h": 1, "d": 24}
_HOUR_SECONDS: Final = 3_600
_SHOWN: Final = 40


class BadQuestion(ValueError):
    """The message says what is wrong with the question, and what there is."""


class LedgerUnavailable(Exception):
    """The database does not answer; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``since`` and ``until`` are Unix hours, the second exclusive; ``where`` holds what a row must have."""

    by: tuple[str, ...] = _DEFAULT_BY
    since: int | None = None
    until: int | None = None
    where: Mapping[str, str] = field(default_factory=dict)


def read_question(by: str | None, since: str | None, until: str | None, *, now: float) -> Question:
    """``by`` is names with commas between; times are dates, hours, or ``24h`` and ``7d`` ago. Raises BadQuestion.

    A time means the full hour it lies in, UTC where it names no zone: the ledger's sums are by the hour. Days ago begin
    at midnight UTC.
    """
    names = _DEFAULT_BY if not by else tuple(name.strip().replace("-", "_") for name in by.split(","))
    for name in names:
        if name not in BY:
            raise BadQuestion(f"cannot report by {name[:_SHOWN]!r}: there are {', '.join(BY)}")
    return Question(by=tuple(dict.fromkeys(names)), since=_hour(since, now), until=_hour(until, now))


def _hour(text: str | None, now: float) -> int | None:
    if text is None or not text.strip():
        return None
    value = text.strip()
    ago = _AGO.fullmatch(value)
    try:
        if ago is not None:
            moment = datetime.fromtimestamp(now, UTC) - timedelta(hours=int(ago[1]) * _UNITS[ago[2]])
            moment = moment.replace(hour=0) if ago[2] == "d" else moment
        else:
            moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        raise BadQuestion(
            f"{value[:_SHOWN]!r} is no time: write 2026-01-31, 2026-01-31T14:00+01:00, or how long ago: 24h, 7d"
        ) from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(moment.timestamp() // _HOUR_SECONDS)
