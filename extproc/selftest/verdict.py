"""What a client saw, held against what the gateway promises: as expected, or a surprise and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from extproc.selftest.client import Ending, Seen
from extproc.selftest.fault import Promise

_PATIENCE_OF_CLIENTS_MS: Final = 600_000
"""After ten minutes OpenAI's own client libraries give up: https://github.com/openai/openai-python#timeouts"""
_BROKEN_ENDINGS: Final = {
    Ending.HANG: "the reply never came to an end",
    Ending.UNTRUE: "the reply does not say that it failed: no error, or [DONE] after what was no whole answer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known of a call beside what its client saw."""

    promise: Promise
    victim: str | None
    """Who had the fault."""
    asked: tuple[str, ...]
    """The backends that requests arrived at, each once."""
    left: bool
    """Whether the route has a backend after the victim."""
    retries: int
    total_ms: int | None = None
    waited_ms: int | None = None
    """What the fault makes a client wait in the config's own time, where that is a limit of the config."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``note`` is why it is a surprise, or a fact that is none."""

    surprise: bool
    note: str = ""


OK: Final = Verdict(surprise=False)


def judge(seen: Seen, situation: Situation) -> Verdict:
    """By the table *What fails over* in the README."""
    if seen.leaked:
        return _surprise("the reply shows the gateway's credential")
    if seen.ending in _BROKEN_ENDINGS:
        return _surprise(_BROKEN_ENDINGS[seen.ending])
    return _JUDGES[situation.promise](seen, situation)


def _surprise(note: str) -> Verdict:
    return Verdict(surprise=True, note=note)


def _told(seen: Seen) -> str:
    return f"{seen.ending}{f' {seen.status}' if seen.status else ''}{f' ({seen.code})' if seen.code else ''}"


def _answers(seen: Seen, situation: Situation) -> Verdict:
    if seen.ending is not Ending.ANSWER:
        return _surprise(f"no answer although {situation.victim or 'everybody'} was well: {_told(seen)}")
    if situation.victim is not None and seen.backend != situation.victim:
        return _surprise(f"{situation.victim} was well but {seen.backend} answered")
    return OK


def _recovers(seen: Seen, situation: Situation) -> Verdict:
    if situation.retries == 0:
        return _moves(seen, situation)
    if seen.ending is not Ending.ANSWER or seen.backend != situation.victim:
        return _surprise(f"{situation.victim} would have answered the second try: {_told(seen)}")
    return OK


def _moves(seen: Seen, situation: Situation) -> Verdict:
    if seen.ending is Ending.ANSWER:
        return _moved(seen, situation)
    if seen.ending is not Ending.ERROR:
        return _surprise(f"expected an answer or an error: {_told(seen)}")
    if not situation.left:
        return Verdict(surprise=False, note="no further backend: the client gets the error")
    return _surprise(_why_not_moved(seen, situation))


def _moved(seen: Seen, situation: Situation) -> Verdict:
    if seen.backend == situation.victim:
        return _surprise(f"{situation.victim} answered through its fault")
    waited = situation.waited_ms
    if waited is not None and waited > _PATIENCE_OF_CLIENTS_MS:
        return _surprise(f"it moves on only after {waited // 60_000} min: clients have given up by then")
    return OK


def _why_not_moved(seen: Seen, situation: Situation) -> str:
    if situation.asked and situation.asked[-1] != situation.victim:
        return f"the fallback {situation.asked[-1]} was asked, but the client got {_told(seen)}"
    total, waited = situation.total_ms, situation.waited_ms
    if total is not None and waited is not None and total <= waited:
        limits = f"({total / 1_000:g} s), before silence is left ({waited / 1_000:g} s)"
        return f"timeouts.total ends the request {limits}: no fallback is asked"
    return f"a further backend was there, but was not asked: {_told(seen)}"


def _stays(seen: Seen, situation: Situation) -> Verdict:
    if seen.ending is not Ending.ERROR:
        return _surprise(f"expected the provider's refusal: {_told(seen)}")
    if situation.asked and situation.asked[-1] != situation.victim:
        return _surprise(f"a refusal went on to {situation.asked[-1]}")
    return OK


def _breaks(seen: Seen, situation: Situation) -> Verdict:
    expected = Ending.ERROR_EVENT if situation.promise is Promise.BREAKS else Ending.CUT
    if seen.ending is expected or (situation.promise is Promise.CUTS and seen.ending is Ending.ERROR_EVENT):
        return OK
    return _surprise(f"a stream that broke in its middle should end with {situation.promise}: {_told(seen)}")


_JUDGES: Final = {
    Promise.ANSWERS: _answers,
    Promise.RECOVERS: _recovers,
    Promise.MOVES: _moves,
    Promise.STAYS: _stays,
    Promise.BREAKS: _breaks,
    Promise.CUTS: _breaks,
}


def judge_need(feature: str, well: Seen, down: Seen, victim: str | None) -> Verdict:
    """A call that needs a feature: ``well`` while everybody is, ``down`` while the first who has it is not."""
    if well.leaked or down.leaked:
        return _surprise("the reply shows the gateway's credential")
    if well.ending is not Ending.ANSWER:
        return Verdict(surprise=False, note=f"nobody on this route takes {feature}: {_told(well)}")
    if down.ending is Ending.ANSWER:
        return OK
    return _surprise(f"while {victim} is down nobody else takes {feature}: {_told(down)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping:
    """How a backend that went down and came back was treated."""

    backend: str
    enabled: bool
    """Whether its circuit breaker is on."""
    others: bool
    """Whether its route has somebody else."""
    unanswered: int
    failures: int
    """Calls that met it while it was down."""
    opened: bool
    back_seconds: float | None
    """From its recovery until its circuit was closed; None when it stayed open."""


def judge_flapping(flapping: Flapping) -> Verdict:
    """A circuit opens after enough failures, no client goes unanswered meanwhile, and it closes after recovery."""
    if flapping.others and flapping.unanswered:
        return _surprise(f"{flapping.unanswered} calls had no answer while {flapping.backend} was down")
    alone = "" if flapping.others else f"; {flapping.unanswered} calls failed, there is no further backend"
    if not flapping.enabled:
        return Verdict(surprise=False, note=f"its circuit breaker is off{alone}")
    if not flapping.opened:
        note = f"its circuit did not open in {flapping.failures} calls{alone}"
        return Verdict(surprise=False, note=note)
    if flapping.back_seconds is None:
        return _surprise(f"the circuit of {flapping.backend} did not close after it had recovered")
    note = f"open after {flapping.failures} calls, closed {flapping.back_seconds:.1f} s after recovery{alone}"
    return Verdict(surprise=False, note=note)
