"""From a call to the lines that it takes, and from a store's answer to headers, refusals, thresholds and tiers."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.admission.caller import Caller
from extproc.admission.charge import Level, Rate, Reserved, Unit, Window
from extproc.admission.demand import Demand, billionths, spell_billionths
from extproc.admission.judgement import brownout, enforced_rates, over, passed, rate_headers, refusal, spell_seconds
from extproc.admission.policy import Drawn, Policy, compile_budget, compile_limit, compile_route_limit
from extproc.admission.scope import Subject
from extproc.admission.tariff import Tariff, Tariffs
from extproc.config.limits import Budget, Limit, RouteRateLimit
from extproc.metering.cost import cost
from extproc.metering.rates import Price, PriceSource
from extproc.metering.rates import Rate as TokenRate
from extproc.openai.usage import Usage

NOW = 1_800_000_000.0
PRICE = Price(source=PriceSource.CONFIG, input=TokenRate(Decimal("0.001")), output=TokenRate(Decimal("0.01")))
DEAR = Price(source=PriceSource.CONFIG, input=TokenRate(Decimal("0.002")), output=TokenRate(Decimal("0.01")))
EUROS = Price(source=PriceSource.CONFIG, currency="EUR", input=TokenRate(Decimal(1)), output=TokenRate(Decimal(1)))
DEMAND = Demand(input=100, asked=None, most=None, prices=(PRICE, DEAR, EUROS, None))


def subject(**fields: object) -> Subject:
    """A call of Acme's."""
    caller = Caller(key="ci", tenant="acme", user="anna", tier="free")
    return Subject(**{"caller": caller, "route": "r", "model": "gpt-4o", "headers": {}, **fields})  # type: ignore[arg-type]


def limit(**fields: object) -> Policy:
    """As configs have it."""
    return compile_limit(Limit.model_validate({"requestsPerMinute": 60, **fields}))


def budget(**fields: object) -> Policy:
    """As configs have it."""
    return compile_budget(Budget.model_validate({"name": "b", "amount": "25.00", **fields}))


def counters(*policies: Policy, **fields: object) -> list[str]:
    """Names of what a call is counted by."""
    one = subject(**fields)
    tariff = Tariffs(policies).of(one, ())
    return [] if tariff is None else [line.counter for line in tariff.lines(DEMAND, NOW)]


def draw(policies: Sequence[Policy], one: Subject, demand: Demand, now: float) -> list[Drawn]:
    """What a call takes, and on whose behalf."""
    tariff = Tariff(policies, one)
    return tariff.drawn(tariff.lines(demand, now))


AMOUNTS = st.decimals(min_value=0, max_value=10, places=9) | st.decimals(min_value=0, max_value=1, places=12)
TIERS = st.just(()) | st.tuples(st.tuples(st.integers(1, 10_000), AMOUNTS))
RATES = st.builds(TokenRate, AMOUNTS, TIERS)
PRICES = st.builds(Price, source=st.just(PriceSource.CONFIG), input=RATES, output=RATES, request=AMOUNTS, image=AMOUNTS)


@given(price=PRICES, tokens=st.integers(0, 10**7), answer=st.integers(0, 10**6), images=st.integers(0, 100))
def test_what_is_held_is_the_price_to_a_billionth(price: Price, tokens: int, answer: int, images: int) -> None:
    """Whether it is reckoned in whole billionths or, where a price is finer or has tiers, in decimals."""
    held = Demand(input=tokens, asked=None, most=None, prices=(price,), images=images).money(answer, "USD")
    assert held == billionths(cost(Usage(input=tokens, output=answer), price, images=images).amount)


@pytest.mark.parametrize(
    ("per", "counter"),
    [
        pytest.param("key", "limit//per-key/requests/ci", id="key"),
        pytest.param("gateway", "limit//per-gateway/requests/", id="everybody"),
        pytest.param(["tenant", "model"], "limit//per-tenant-model/requests/acme/gpt-4o", id="combination"),
    ],
)
def test_callers_are_told_apart_by_what_the_limit_says(per: object, counter: str) -> None:
    """Each has a counter of its own."""
    assert counters(limit(per=per)) == [counter]


def test_no_two_values_share_a_counter() -> None:
    """However they are spelled, and whatever they hold; nobody is a counter of its own."""
    values = [None, "", "-", "#", "a/b", "a%2Fb", "a", "x" * 200, "x" * 201, "\udcff", "line\nbreak"]
    found = [counters(limit(per=["user", "tenant"]), caller=Caller(user=value, tenant="t")) for value in values]
    assert len({name for (name,) in found}) == len(values)
    assert all(len(name) < 120 and name.isprintable() for (name,) in found)


def test_a_limit_is_for_what_it_matches() -> None:
    """Globs, and lists of them; what is not known matches nothing."""
    policy = limit(match={"model": ["gpt-*", "o3"], "tier": "free"})
    assert counters(policy)
    assert not counters(policy, model="claude")
    assert not counters(policy, caller=Caller(key="ci"))


def test_a_call_takes_what_it_is_expected_to_use() -> None:
    """Money at the dearest price in the budget's currency; the answer as long as the estimator says."""
    drawn = draw([limit(tokensPerMinute=600, concurrent=3), budget()], subject(), DEMAND, NOW)
    assert [(one.line.unit, one.line.amount) for one in drawn] == [
        (Unit.REQUESTS, 1),
        (Unit.TOKENS, 1_100),
        (Unit.CONCURRENT, 1),
        (Unit.MONEY, int(Decimal("10.2") * 10**9)),
    ]
    requested = Demand(input=0, asked=5_000, most=None, prices=(PRICE,))
    for estimator, amount in (({"cap": 7}, "0.07"), ({"output": "requested"}, "50")):
        ((line,),) = ([one.line for one in draw([budget(estimator=estimator)], subject(), requested, NOW)],)
        assert line.amount == int(Decimal(amount) * 10**9)


def test_a_budget_is_not_full_before_anything_was_spent() -> None:
    """A model's longest answer is not what every request is held to be."""
    modest = Demand(input=1_000, asked=None, most=128_000, prices=(DEAR,))
    (one,) = draw([budget()], subject(), modest, NOW)
    assert isinstance(one.line.measure, Window)
    assert one.line.amount < one.line.measure.limit


def test_a_burst_and_a_window_say_how_much_may_come_at_once() -> None:
    """The rate stays the same."""
    for fields, capacity in (({}, 60), ({"window": "10s"}, 10), ({"burst": 5}, 5), ({"window": "1h"}, 3_600)):
        (one,) = draw([limit(**fields)], subject(), DEMAND, NOW)
        assert one.line.measure == Rate(capacity=capacity, per_second=1.0)


def levels(granted: bool, *found: tuple[int, float | None]) -> Reserved:
    """A store's answer."""
    return Reserved(
        granted=granted, levels=tuple(Level(free=free, taken=granted and wait == 0, wait=wait) for free, wait in found)
    )


def test_headers_tell_of_the_tightest_limit() -> None:
    """Of each kind; a shadow says nothing."""
    policies = [limit(), limit(name="small", burst=4), limit(name="shadow", burst=1, mode="shadow")]
    drawn = draw(policies, subject(), DEMAND, NOW)
    headers = dict(rate_headers(enforced_rates([one.line for one in drawn]), levels(True, (30, 0), (3, 0), (0, 0))))
    assert headers == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "30",
        "x-ratelimit-reset-requests": "30s",
    }


def test_a_refusal_says_which_limit_and_when() -> None:
    """The one with the longest wait: before that, trying again is in vain."""
    drawn = draw([limit(name="fast"), limit(name="slow", tokensPerMinute=60)], subject(), DEMAND, NOW)
    error = refusal(drawn, levels(False, (0, 2.0), (0, 0), (-50, None)), now=NOW)
    assert (error.status, error.code, error.type) == (429, "rate_limit_exceeded", "tokens")
    assert "slow" in error.message
    headers = dict(error.headers)
    assert headers["x-kortex-limit"] == "slow"
    assert "retry-after" not in headers
    error = refusal(drawn[:1], levels(False, (0, 1.2)), now=NOW)
    assert dict(error.headers)["retry-after"] == "2"


def test_a_used_up_budget_says_when_it_begins_anew() -> None:
    """In whole seconds, and as a date."""
    drawn = draw([budget(window="day")], subject(), DEMAND, NOW)
    error = refusal(drawn, levels(False, (0, 3_600.0)), now=NOW)
    assert (error.status, error.code) == (429, "insufficient_quota")
    assert "b of 25.00 USD is used up. It has room again from 2027-01-15T09:00:00Z on." in error.message
    assert dict(error.headers)["retry-after"] == "3600"


def test_a_budget_with_too_little_left_says_how_much() -> None:
    """Which a smaller request may still use."""
    drawn = draw([budget(amount=None, tokens=100)], subject(), DEMAND, NOW)
    drawn = [one._replace(line=one.line._replace(amount=60)) for one in drawn]
    error = refusal(drawn, levels(False, (40, None)), now=NOW)
    assert "b of 100 tokens has 40 tokens left, and the request may take 60 tokens. It does not" in error.message


def test_a_request_larger_than_its_whole_budget_says_so_and_raises_no_alarm() -> None:
    """No waiting would help it, and of the budget nothing is used."""
    drawn = draw([budget(amount=None, tokens=100, window="day")], subject(), DEMAND, NOW)
    drawn = [one._replace(line=one.line._replace(amount=101)) for one in drawn]
    refused = levels(False, (100, 3_600.0))
    error = refusal(drawn, refused, now=NOW)
    assert "may take 101 tokens, and the budget b of 100 tokens never has that much." in error.message
    assert "retry-after" not in dict(error.headers)
    assert not list(passed(drawn, refused))


def test_a_shadow_limit_is_over_without_refusing() -> None:
    """It is named."""
    drawn = draw([limit(mode="shadow")], subject(), DEMAND, NOW)
    assert [policy.name for policy, _ in over(drawn, levels(True, (0, 3.0)))] == ["per-key"]
    assert not list(over(drawn, levels(True, (5, 0))))


@pytest.mark.parametrize(
    ("free", "percent", "tier"),
    [
        pytest.param(60, None, None, id="plenty"),
        pytest.param(50, 50, None, id="half"),
        pytest.param(20, 80, 80, id="little"),
        pytest.param(5, 80, 95, id="less"),
        pytest.param(0, 100, 95, id="nothing"),
    ],
)
def test_a_budget_passes_thresholds_and_tiers(free: int, percent: int | None, tier: int | None) -> None:
    """The highest of each."""
    policy = budget(amount=None, tokens=100, tiers=[{"at": "80%", "maxTokens": 9}, {"at": 95, "noReasoning": True}])
    drawn = draw([policy], subject(), DEMAND, NOW)
    reserved = levels(True, (free, 0))
    assert [event.percent for event in passed(drawn, reserved)] == ([] if percent is None else [percent])
    found = brownout(drawn, reserved)
    assert (None if found is None else found[1].at) == tier


def test_a_refused_call_passes_the_last_threshold() -> None:
    """Although a little is left: it was not enough."""
    drawn: list[Drawn] = draw([budget()], subject(), DEMAND, NOW)
    assert [event.percent for event in passed(drawn, levels(False, (9, 60.0)))] == [100]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.0061, "7ms"), (1.5, "1.5s"), (59, "59s"), (60, "1m0s"), (3_661, "1h1m1s")],
)
def test_seconds_are_spelled_as_openai_does(seconds: float, text: str) -> None:
    """Clients parse them."""
    assert spell_seconds(seconds) == text


@pytest.mark.parametrize(("amount", "text"), [(25 * 10**9, "25.00"), (1, "0.000000001"), (10**8, "0.10")])
def test_money_is_spelled_for_people(amount: int, text: str) -> None:
    """All digits that count."""
    assert spell_billionths(amount) == text


def test_most_calls_find_their_tariff_made() -> None:
    """Also beside a limit that tells calls apart by a header: of another route, or not made for this one alone."""
    elsewhere = compile_route_limit(
        "other", RouteRateLimit.model_validate({"requestsPerMinute": 9, "perUser": True, "userHeader": "x-user"})
    )
    tariffs = Tariffs([limit(), elsewhere])
    assert tariffs.of(subject(), ()) is tariffs.of(subject(headers={"x-user": "ben"}), ())
    users = [tariffs.of(subject(route="other", headers={"x-user": name}), ()) for name in ("anna", "ben")]
    assert [tariff.lines(DEMAND, NOW)[1].counter.rpartition("/")[2] for tariff in users if tariff] == ["anna", "ben"]
