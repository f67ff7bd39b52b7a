"""What a store's answer means for a call: headers, a refusal in words, and how far each budget is used up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Final

from extproc.admission.charge import Level, Line, Rate, Reserved, Unit, Window
from extproc.admission.demand import spell_billionths
from extproc.admission.policy import BudgetPolicy, Drawn, Policy
from extproc.config.limits import Tier
from extproc.errors import BudgetExhausted, KortexError, RateLimited
from extproc.headers import LIMIT

_LONGEST_WAIT: Final = 366 * 86_400
_FULL: Final = 100
_OF_REQUESTS: Final = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
_OF_TOKENS: Final = ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")

Headers = tuple[tuple[str, str], ...]
Rates = tuple[tuple[int, tuple[str, str, str], Rate], ...]
"""Each with its place among the lines, and the names of its headers: limit, what remains, when it is full again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A budget is used up to ``percent``, one of its thresholds: ``counter`` tells whose, ``slot`` since when."""

    budget: str
    percent: int
    counter: str
    slot: int
    ends: float | None


def refusal(drawn: Sequence[Drawn], reserved: Reserved, *, now: float) -> KortexError:
    """Why nothing was granted: the line that has longest to wait, for until then trying again is in vain."""
    failed = [
        (one.policy, one.line, level)
        for one, level in zip(drawn, reserved.levels, strict=True)
        if one.line.enforced and level.wait != 0
    ]
    policy, line, level = max(failed, key=lambda failure: _LONGEST_WAIT if failure[2].wait is None else failure[2].wait)
    headers = rate_headers(enforced_rates([one.line for one in drawn]), reserved)
    if isinstance(policy, BudgetPolicy):
        return _exhausted(policy, line, level, headers, now=now)
    return _limited(policy, line, level, headers)


def over(drawn: Sequence[Drawn], reserved: Reserved) -> Iterator[tuple[Policy, Line]]:
    """The lines that did not fit and were not enforced."""
    for (policy, line), level in zip(drawn, reserved.levels, strict=True):
        if level.wait != 0 and not line.enforced:
            yield policy, line


def enforced_rates(lines: Sequence[Line]) -> Rates:
    """Those that headers tell of."""
    return tuple(
        [
            (index, _OF_REQUESTS if line.unit is Unit.REQUESTS else _OF_TOKENS, line.measure)
            for index, line in enumerate(lines)
            if isinstance(line.measure, Rate) and line.enforced
        ]
    )


def rate_headers(rates: Rates, reserved: Reserved) -> Headers:
    """OpenAI's headers, for the limit of each kind that has the least left.

    https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
    """
    levels = reserved.levels
    tightest: dict[tuple[str, str, str], tuple[Rate, int]] = {}
    for index, names, rate in rates:
        free = levels[index].free
        known = tightest.get(names)
        if known is None or free / rate.capacity < known[1] / known[0].capacity:
            tightest[names] = (rate, free)
    headers: list[tuple[str, str]] = []
    for (limit, remaining, reset), (rate, free) in tightest.items():
        headers += (
            (limit, str(rate.capacity)),
            (remaining, str(free) if free > 0 else "0"),
            (reset, spell_seconds((rate.capacity - free) / rate.per_second if free < rate.capacity else 0.0)),
        )
    return tuple(headers)


def passed(drawn: Sequence[Drawn], reserved: Reserved) -> Iterator[Passed]:
    """The highest threshold of each budget that is reached; whoever is told first is not this function's to know."""
    for (policy, line), level in zip(drawn, reserved.levels, strict=True):
        measure = line.measure
        if isinstance(policy, BudgetPolicy) and policy.thresholds and isinstance(measure, Window):
            # One that is larger than the whole budget is refused however little of that is used.
            refused = level.wait != 0 and line.amount <= measure.limit
            used = _percent(measure, level, refused=refused)
            for threshold in policy.thresholds:
                if used >= threshold:
                    yield Passed(
                        budget=policy.name,
                        percent=threshold,
                        counter=line.counter,
                        slot=measure.slot,
                        ends=measure.ends,
                    )
                    break


def brownout(drawn: Sequence[Drawn], reserved: Reserved) -> tuple[str, Tier] | None:
    """The tier that applies, with its budget's name: of all that do, the one that began last."""
    found: list[tuple[str, Tier]] = []
    for (policy, line), level in zip(drawn, reserved.levels, strict=True):
        measure = line.measure
        if isinstance(policy, BudgetPolicy) and policy.tiers and isinstance(measure, Window):
            used = _percent(measure, level, refused=False)
            found += [(policy.name, tier) for tier in policy.tiers if used >= tier.at]
    return max(found, key=lambda one: one[1].at) if found else None


def spell_seconds(seconds: float) -> str:
    """``6ms``, ``1.5s``, ``6m0s``, ``1h0m0s``, as OpenAI writes them."""
    if seconds < 1:
        return f"{ceil(seconds * 1_000)}ms"
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def _percent(window: Window, level: Level, *, refused: bool) -> float:
    return _FULL if refused else (window.limit - level.free) * _FULL / window.limit


def _limited(policy: Policy, line: Line, level: Level, headers: Headers) -> RateLimited:
    if isinstance(line.measure, Window):
        words = f"{line.measure.limit} requests are under way at once"
        advice = "Try again when one of them has ended."
        wait: float | None = 1.0
    elif level.wait is None:
        words = f"the request needs about {line.amount} {line.unit}, more than the {line.measure.capacity} of the limit"
        advice = "Make it smaller."
        wait = None
    else:
        per_minute = round(line.measure.per_second * 60)
        words = f"{per_minute} {line.unit} per minute, of which {max(0, level.free)} are left, {line.amount} needed"
        advice, wait = f"Please try again in {spell_seconds(level.wait)}.", level.wait
    message = f"Rate limit reached: {policy.name} ({words}). {advice}"
    more = (*headers, (LIMIT, policy.name), *_retry_after(wait))
    return RateLimited(message, kind=line.unit.value, headers=more)


def _exhausted(policy: BudgetPolicy, line: Line, level: Level, headers: Headers, *, now: float) -> BudgetExhausted:
    window = line.measure
    limit = window.limit if isinstance(window, Window) else 0
    budget, wait = f"the budget {policy.name} of {_spell(limit, policy)}", level.wait
    if line.amount > limit:
        words, wait = f"the request may take {_spell(line.amount, policy)}, and {budget} never has that much", None
        advice = "Make it smaller, or limit its answer."
    else:
        left = f"has {_spell(level.free, policy)} left, and the request may take {_spell(line.amount, policy)}"
        words = f"{budget} {left if level.free > 0 else 'is used up'}"
        advice = "It does not begin anew." if wait is None else f"It has room again from {_spell_time(now + wait)} on."
    message = f"You exceeded your current quota: {words}. {advice}"
    return BudgetExhausted(message, headers=(*headers, (LIMIT, policy.name), *_retry_after(wait)))


def _spell(amount: int, policy: BudgetPolicy) -> str:
    return f"{amount} tokens" if policy.currency is None else f"{spell_billionths(amount)} {policy.currency}"


def _spell_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _retry_after(wait: float | None) -> Headers:
    return () if wait is None else (("retry-after", str(max(1, ceil(wait)))),)
