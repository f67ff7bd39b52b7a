"""``limits:``, ``budgets:`` and ``quota:`` how much callers may use, and where that is counted."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from extproc.config.prices import Amount
from extproc.config.quota_url import QuotaUrl
from extproc.config.scalars import Duration, Model, Name, SecretRef

Dimension = Literal["key", "user", "tenant", "tier", "route", "model", "gateway"]
"""By what calls are told apart. ``gateway``: not at all."""
OnFailure = Literal["open", "closed"]
"""What becomes of calls while nobody can count them: ``open`` lets them pass, ``closed`` refuses them with 503."""

_ROLLING: Final = re.compile(r"rolling ([1-9][0-9]{0,3})(m|h|d)")
_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}
_CALENDAR: Final = ("hour", "day", "week", "month", "total")
_PERCENT: Final = re.compile(r"([1-9][0-9]{0,2})\s*%")
_LARGEST_AMOUNT: Final = 9_000_000_000


def rolling_seconds(window: str) -> int | None:
    """``rolling 24h`` → seconds; None for a calendar window."""
    found = _ROLLING.fullmatch(window)
    return None if found is None else int(found[1]) * _SECONDS[found[2]]


def _check_window(text: str) -> str:
    if text not in _CALENDAR and not _ROLLING.fullmatch(text):
        msg = f"{text!r} is not a window: write {', '.join(_CALENDAR)}, or rolling and a time, such as rolling 24h"
        raise ValueError(msg)
    return text


def _check_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        msg = f"{text!r} is not a time zone: write one such as Europe/Berlin, or UTC"
        raise ValueError(msg) from None
    return text


def parse_percent(value: object) -> object:
    """``80%`` → 80. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        msg = f"{value!r} is not a part of the budget: write per cent, such as 80%"
        raise ValueError(msg)
    return int(found[1])


BudgetWindow = Annotated[
    str,
    AfterValidator(_check_window),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^(hour|day|week|month|total|rolling [1-9][0-9]{0,3}[mhd])$",
            "examples": ["month", "rolling 24h"],
        }
    ),
]
"""A calendar's hour, day, week (from Monday) or month, all of time, or the last so many minutes, hours or days."""

TimeZone = Annotated[
    str, AfterValidator(_check_zone), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin"]})
]
"""By its name in the IANA database."""

Percent = Annotated[
    int,
    BeforeValidator(parse_percent),
    Field(ge=1, le=100),
    PlainSerializer(lambda percent: f"{percent}%", return_type=str),
    WithJsonSchema({"type": ["string", "integer"], "pattern": r"^[1-9][0-9]{0,2}\s*%$", "examples": ["80%", 80]}),
]
"""A part of the whole."""

Per = Dimension | tuple[Dimension, ...]
Match = dict[Literal["key", "user", "tenant", "tier", "route", "model"], str | tuple[str, ...]]


class Limit(Model):
    """How fast callers may go. Each of its numbers is a limit of its own; a call takes from all, or is refused."""

    name: Name | None = None
    """What refusals call it. Default: made of ``per``, such as ``per-key``."""
    per: Per = "key"
    """By what callers are told apart: one word, or a list for a combination. ``gateway``: all together."""
    match: Match = {}
    """For which calls: a glob, or a list of them, for any of the words. Default: for all."""
    requests_per_minute: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Requests, on average."""
    tokens_per_minute: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Tokens, on average: taken as estimated, then set right by what was really used."""
    concurrent: int | None = Field(default=None, ge=1, le=1_000_000)
    """Requests under way at once."""
    window: Duration = Field(default=60_000, ge=1_000)
    """What may be used at once after a pause: as much as the numbers give in this time."""
    burst: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """The same for requests as a number, in place of ``window``."""
    mode: Literal["enforce", "shadow"] = "enforce"
    """``shadow``: nothing is refused; what would have been is counted and logged."""
    on_store_failure: OnFailure = "open"
    """While nobody can count: ``open`` lets calls pass, ``closed`` refuses them."""

    @model_validator(mode="after")
    def _limits_something(self) -> Limit:
        if self.requests_per_minute is None and self.tokens_per_minute is None and self.concurrent is None:
            msg = "limits nothing: give requestsPerMinute, tokensPerMinute or concurrent"
            raise ValueError(msg)
        if self.burst is not None and self.requests_per_minute is None:
            msg = "burst is a number of requests, and there is no requestsPerMinute"
            raise ValueError(msg)
        return self


class RouteRateLimit(Model):
    """How many requests a route takes."""

    requests_per_minute: int = Field(ge=1, le=1_000_000_000)
    """On average; as many may come at once after a pause."""
    per_user: bool = False
    """For each user by themselves."""
    user_header: str = Field(default="x-user-id", min_length=1)
    """The request header that names the user; set by something in front of the gateway that knows them."""


class Estimator(Model):
    """How much is held of a budget while a request runs: its prompt as counted, and this much for its answer."""

    output: Literal["expected", "requested", "enforced"] = "expected"
    """``expected``: what the client asks for at most, but no more than ``cap``. ``requested``: all of that.
    ``enforced``: as expected, and an unstreamed answer gets no longer, because the provider is asked for no more."""
    cap: int = Field(default=1_000, ge=1)
    """Tokens of an answer, also where a request sets no limit and its model's is not known."""


class Tier(Model):
    """What a budget that runs low is stretched by."""

    at: Percent
    """From how much of the budget on."""
    alias: str | None = Field(default=None, min_length=1)
    """The model that is asked in place of the one that the client names; a route must serve it."""
    max_tokens: int | None = Field(default=None, ge=1)
    """The longest answer."""
    no_reasoning: bool = False
    """Reasoning is turned down as far as the model lets it."""

    @model_validator(mode="after")
    def _changes_something(self) -> Tier:
        if self.alias is None and self.max_tokens is None and not self.no_reasoning:
            msg = "changes nothing: give alias, maxTokens or noReasoning"
            raise ValueError(msg)
        return self


class Webhook(Model):
    """Who is told when a threshold is passed."""

    url: str = Field(pattern=r"^https?://[^\s@]+$")
    """Gets a POST with JSON; repeated until it answers 2xx, up to 8 times, with the same ``idempotency-key``."""
    secret: SecretRef | None = None
    """Signs it: ``x-kortex-signature`` is ``t=SECONDS,v1=HMAC-SHA256(secret, "SECONDS.body")`` in hexadecimal."""


class Budget(Model):
    """How much callers may spend in all. A call that might pass it is refused."""

    name: Name
    """What refusals, records and metrics call it."""
    per: Per = "gateway"
    """By what callers are told apart, each with the whole amount: one word, or a list for a combination."""
    match: Match = {}
    """For which calls: a glob, or a list of them, for any of the words. Default: for all."""
    amount: Amount | None = None
    """Money. Or ``tokens``."""
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$")
    """Of ``amount``, ISO 4217. Nothing is converted: prices of the models must be in it."""
    tokens: int | None = Field(default=None, ge=1, le=1_000_000_000_000_000)
    """Tokens, of prompts and answers together. Or ``amount``."""
    window: BudgetWindow = "month"
    """When it begins anew: ``hour``, ``day``, ``week``, ``month``, ``total`` (never), or ``rolling 24h``."""
    timezone: TimeZone = "UTC"
    """Whose midnight a calendar window begins at."""
    thresholds: tuple[Percent, ...] = (50, 80, 100)
    """Parts of it that are logged, counted and told when they are first passed."""
    webhook: Webhook | None = None
    """Who is told."""
    tiers: tuple[Tier, ...] = ()
    """How it is stretched when it runs low. At 100 % calls are refused."""
    estimator: Estimator = Estimator()
    """How much is held while a request runs."""
    on_store_failure: OnFailure = "closed"
    """While nobody can count: ``closed`` refuses calls, ``open`` lets them pass."""

    @model_validator(mode="after")
    def _one_measure(self) -> Budget:
        if (self.amount is None) == (self.tokens is None):
            msg = "give exactly one of amount and tokens"
            raise ValueError(msg)
        if self.amount is not None and not 0 < self.amount <= _LARGEST_AMOUNT:
            msg = f"the amount must be more than 0 and at most {_LARGEST_AMOUNT}"
            raise ValueError(msg)
        return self


class Quota(Model):
    """Where limits and budgets are counted."""

    url: QuotaUrl | None = None
    """``sqlite:///FILE`` for the workers of one host; for many hosts ``redis://[USER@]HOST:PORT/NUMBER``,
    ``unix:///SOCKET``, ``redis+cluster://HOST:PORT,HOST:PORT`` or ``redis+sentinel://HOST:PORT,HOST:PORT/SERVICE``;
    with ``rediss`` in place of ``redis`` over TLS, trusting the authorities in ``?ssl_ca_certs=FILE``.
    Default: ``sqlite:///kortex-quota.db``."""
    password: SecretRef | None = None
    """Of the Redis servers; sentinels are asked without one."""
    prefix: Name = "kortex"
    """Begins the name of every key in Redis; gateways with the same prefix count together."""
    timeout: Duration = Field(default=1_000, ge=1)
    """How long a server may take to answer."""
    reservations_expire: Duration = Field(default=900_000, ge=1_000)
    """When what a request holds is given back although nobody told how it ended. Longer than any request takes."""
