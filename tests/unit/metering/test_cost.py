"""Usage times price, to the last digit."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage as ListUsage
from genai_prices import calc_price

from extproc.config.backends import Backend
from extproc.config.prices import Cost as CostSettings
from extproc.metering.cost import Cost, cost, text_cost
from extproc.metering.price import PriceBook
from extproc.metering.price_list import listed_price, listed_window, price_list
from extproc.metering.rates import Price, PriceSource, Rate
from extproc.openai.usage import Usage

AT = datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()
OPENAI = "https://api.openai.com/v1"


def listed(provider: str, model: str, usage: Usage, **more: Any) -> str:
    """What the list makes of a usage."""
    price = listed_price("http://localhost:1", provider, model, at=AT, **more)
    assert price is not None
    return cost(usage, price).digits


@pytest.mark.parametrize(
    ("provider", "model", "usage", "digits"),
    [
        # $2.50, $1.25 cached, $10 for a million: OpenAI's cached tokens are part of the prompt.
        ("openai", "gpt-4o", Usage(input=1_000, output=500), "0.0075"),
        ("openai", "gpt-4o-2024-08-06", Usage(input=1_000, output=500), "0.0075"),
        ("openai", "gpt-4o", Usage(input=1_000, output=500, cached_input=400), "0.007"),
        ("openai", "gpt-4o", Usage(input=1, output=0), "0.0000025"),
        ("openai", "gpt-4o", Usage(input=0, output=0), "0"),
        ("openai", "gpt-4o", Usage(input=1_000, output=500, reasoning=400), "0.0075"),
        # $3, $15; the cache read at $0.30, written at $3.75, for an hour at $6; over 200,000 input tokens the double.
        ("anthropic", "claude-sonnet-4-5", Usage(input=1_000, output=100), "0.0045"),
        ("anthropic", "claude-sonnet-4-5-20250929", Usage(input=1_000, output=100, cached_input=900), "0.00207"),
        ("anthropic", "claude-sonnet-4-5", Usage(input=1_000, output=0, cache_write=400), "0.0033"),
        (
            "anthropic",
            "claude-sonnet-4-5",
            Usage(input=1_000, output=0, cached_input=100, cache_write=400, cache_write_1h=300),
            "0.003705",
        ),
        ("anthropic", "claude-sonnet-4-5", Usage(input=199_999, output=0), "0.599997"),
        ("anthropic", "claude-sonnet-4-5", Usage(input=200_000, output=0), "0.6"),
        ("anthropic", "claude-sonnet-4-5", Usage(input=200_001, output=1), "1.2000285"),
        ("openai", "text-embedding-3-small", Usage(input=8, output=0), "0.00000016"),
        # $2.50, $10; sound at $32 and $64.
        ("openai", "gpt-audio", Usage(input=100, output=50, audio_input=60, audio_output=40), "0.00468"),
        # $2, $8; reasoning at $3.
        ("perplexity", "sonar-deep-research", Usage(input=100, output=50, reasoning=30), "0.00045"),
        # $1 for either, and $12 for a thousand requests.
        ("perplexity", "sonar", Usage(input=1_000, output=500), "0.0135"),
    ],
)
def test_listed_prices_are_exact(provider: str, model: str, usage: Usage, digits: str) -> None:
    """By hand, from the providers' pages; each threshold on both sides."""
    assert listed(provider, model, usage) == digits


@pytest.mark.parametrize(
    ("tier", "digits"), [(None, "0.0075"), ("default", "0.0075"), ("priority", "0.01275"), ("unheard-of", "0.0075")]
)
def test_service_tier_has_its_own_price(tier: str | None, digits: str) -> None:
    """As the reply names the one that really served."""
    assert listed("openai", "gpt-4o", Usage(input=1_000, output=500), service_tier=tier) == digits


def test_flex_is_cheaper() -> None:
    """Half of the price, where it is offered."""
    usage = Usage(input=1_000, output=500)
    assert Decimal(listed("openai", "o3", usage, service_tier="flex")) * 2 == Decimal(listed("openai", "o3", usage))


@pytest.mark.parametrize(
    ("provider", "model", "usage", "digits"),
    [
        # Half of everything, the cache's prices and those of long prompts included.
        ("anthropic", "claude-sonnet-4-5", Usage(input=1_000, output=100, cached_input=400), "0.00171"),
        (
            "anthropic",
            "claude-sonnet-4-5",
            Usage(input=1_000, output=0, cache_write=400, cache_write_1h=300),
            "0.0019875",
        ),
        ("anthropic", "claude-sonnet-4-5", Usage(input=200_001, output=1), "0.60001425"),
        ("openai", "gpt-4o", Usage(input=1_000, output=500), "0.00375"),
    ],
)
def test_batches_have_the_lists_price(provider: str, model: str, usage: Usage, digits: str) -> None:
    """Where the reply says that it was one."""
    assert listed(provider, model, usage, service_tier="batch") == digits


def test_audio_is_dearer_than_text() -> None:
    """And cached audio is not charged twice, whichever of both it is counted as."""
    price = Price(
        source=PriceSource.LIST,
        input=Rate(Decimal(1)),
        cached_input=Rate(Decimal("0.5")),
        audio_input=Rate(Decimal(40)),
    )
    assert cost(Usage(input=100, output=0, audio_input=60), price).amount == 40 + 60 * 40
    assert cost(Usage(input=100, output=0, audio_input=60, cached_input=80), price).amount == 40 + 20 * 40
    spoken = Price(
        source=PriceSource.LIST, output=Rate(Decimal(1)), audio_output=Rate(Decimal(9)), reasoning=Rate(Decimal(3))
    )
    assert cost(Usage(input=0, output=10, audio_output=4, reasoning=5), spoken).amount == 4 * 9 + 5 * 3 + 1


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-4o"), ("openai", "gpt-5"), ("anthropic", "claude-opus-4-6"), ("mistral", "mistral-large-latest")],
)
@pytest.mark.parametrize("tokens", [1, 199_999, 200_000, 200_001, 272_001])
def test_reckoning_is_the_lists_own(provider: str, model: str, tokens: int) -> None:
    """What we make of the list is what the library makes of it."""
    usage = ListUsage(input_tokens=tokens, output_tokens=77, cache_read_tokens=tokens // 3)
    theirs = calc_price(
        usage, model, provider_id=provider, genai_request_timestamp=datetime.fromtimestamp(AT, UTC)
    ).total_price
    assert Decimal(listed(provider, model, Usage(input=tokens, output=77, cached_input=tokens // 3))) == theirs


def test_price_is_that_of_the_day() -> None:
    """A change of the list's takes effect on its date; priority of gpt-4o is in it since October 2026."""
    before = datetime(2026, 10, 11, tzinfo=UTC).timestamp()
    assert listed_price(OPENAI, None, "gpt-4o", at=before, service_tier="priority") == listed_price(
        OPENAI, None, "gpt-4o", at=before
    )
    assert listed_price(OPENAI, None, "gpt-4o", at=AT, service_tier="priority") != listed_price(
        OPENAI, None, "gpt-4o", at=AT
    )


@pytest.mark.parametrize(
    ("url", "provider", "model", "known"),
    [
        (OPENAI, None, "gpt-4o", True),
        (OPENAI, None, "not-a-model", False),
        ("http://proxy:80", "openai", "gpt-4o", True),
        ("http://vllm:8000", None, "gpt-4o", False),
        ("https://api.groq.com/openai/v1", None, "llama-3.3-70b-versatile", True),
        ("https://api.groq.com/openai/v1", "openai", "gpt-4o", False),
        # Sold by the hour of sound, which no usage tells.
        ("https://api.openai.com/v1", None, "whisper-1", False),
    ],
)
def test_provider_is_known_by_its_address(url: str, provider: str | None, model: str, *, known: bool) -> None:
    """And by its name where the address is somebody else's."""
    assert (listed_price(url, provider, model, at=AT) is not None) is known


def settings(**more: Any) -> Backend:
    """A backend."""
    return Backend.model_validate({"provider": "x", "url": "http://vllm:8000", **more})


def test_backends_cost_goes_before_the_list() -> None:
    """For 1000 tokens; what has no price of its own costs what the rest does."""
    told = {"inputTokenCost": "0.002", "outputTokenCost": "0.01", "requestCost": "0.5", "currency": "EUR"}
    backend = settings(url=OPENAI, cost=told)
    price = PriceBook(backend, price_list="openai").price("gpt-4o", at=AT)
    assert price is not None
    assert price.source is PriceSource.CONFIG
    usage = Usage(input=1_000, output=100, cached_input=500, cache_write=100)
    assert str(cost(usage, price)) == "0.503 EUR"
    assert str(cost(usage, price, answered=False)) == "0.003 EUR"
    told |= {"cachedInputTokenCost": "0.001", "cacheWriteTokenCost": "0.004"}
    price = PriceBook(settings(cost=told), price_list=None).price("own", at=AT)
    assert price is not None
    assert str(cost(usage, price)) == "0.5027 EUR"


@pytest.mark.parametrize(
    ("tier", "digits"),
    [(None, "0.5129"), ("batch", "0.50645"), ("priority", "0.52193"), ("flex", "0.5129"), ("default", "0.5129")],
)
@pytest.mark.parametrize("source", [PriceSource.CONFIG, PriceSource.DEFAULT])
def test_tiers_of_a_backends_cost_are_multiples_of_its_tokens(
    source: PriceSource, tier: str | None, digits: str
) -> None:
    """Cached and written ones too, and no request; the same for the price of all that have none."""
    told = {
        "inputTokenCost": "0.01",
        "outputTokenCost": "0.03",
        "cachedInputTokenCost": "0.003",
        "cacheWriteTokenCost": "0.02",
        "requestCost": "0.5",
        "serviceTiers": {"batch": "0.5", "priority": "1.7"},
    }
    unpriced = CostSettings.model_validate(told)
    given = settings(cost=told) if source is PriceSource.CONFIG else settings()
    book = PriceBook(given, price_list=None, unpriced=unpriced if source is PriceSource.DEFAULT else "allow")
    price = book.price("own", at=AT, service_tier=tier)
    assert price is not None
    assert price.source is source
    assert cost(Usage(input=1_000, output=100, cached_input=300, cache_write=200), price).digits == digits


def test_images_of_a_request_cost_what_a_backend_says() -> None:
    """Each one, and whether or not the call was answered."""
    told = {"inputTokenCost": "0.01", "outputTokenCost": "0.03", "requestCost": "0.5", "imageCost": "0.002"}
    book = PriceBook(settings(cost=told), price_list=None)
    price = book.price("own", at=AT)
    assert price is not None
    usage = Usage(input=1_000, output=100)
    assert [cost(usage, price, images=count).digits for count in (0, 1, 3)] == ["0.513", "0.515", "0.519"]
    assert cost(usage, price, images=3, answered=False).digits == "0.019"
    assert text_cost(1_000, 100, price, images=3) == Decimal("0.519")
    free = {"inputTokenCost": "0.01", "outputTokenCost": "0.03"}
    counting = [
        PriceBook(settings(cost=told), price_list=None),
        PriceBook(settings(), price_list=None, unpriced=CostSettings.model_validate(told)),
        PriceBook(settings(cost=free), price_list=None, unpriced=CostSettings.model_validate(told)),
        PriceBook(settings(), price_list=None),
    ]
    assert [one.counts_images for one in counting] == [True, True, False, False]


def test_price_for_the_unpriced_is_the_last() -> None:
    """None is a state of its own, and not 0."""
    default = CostSettings.model_validate({"inputTokenCost": "1", "outputTokenCost": "2"})
    assert PriceBook(settings(), price_list=None).price("own", at=AT) is None
    assert PriceBook(settings(), price_list=None, unpriced="reject").price("own", at=AT) is None
    price = PriceBook(settings(), price_list=None, unpriced=default).price("own", at=AT)
    assert price is not None
    assert price.source is PriceSource.DEFAULT
    assert cost(Usage(input=1, output=1), price).amount == Decimal("0.003")
    found = PriceBook(settings(url=OPENAI), price_list=None, unpriced=default).price("gpt-4o", at=AT)
    assert found is not None
    assert found.source is PriceSource.LIST


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.00000016", "0.00000016 USD"),
        ("1E-10", "0.0000000001 USD"),
        ("1.500", "1.5 USD"),
        ("0", "0 USD"),
        ("1E+2", "100 USD"),
    ],
)
def test_money_is_written_with_all_digits(amount: str, text: str) -> None:
    """Never with an exponent, and the same everywhere."""
    assert str(Cost(amount=Decimal(amount), currency="USD")) == text


def test_window_is_the_lists() -> None:
    """None where it does not say."""
    assert listed_window(OPENAI, None, "gpt-4o") == 128_000
    assert listed_window(OPENAI, None, "not-a-model") is None
    assert listed_window("http://vllm:8000", None, "gpt-4o") is None


def test_list_is_dated() -> None:
    """By its newest change that is not to come."""
    found = price_list(date(2026, 10, 13))
    assert found.latest == date(2026, 10, 12)
    assert str(found).startswith(f"genai-prices {found.version} (")
