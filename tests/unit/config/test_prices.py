"""Money in the config: exact, in quotes, in a currency."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from extproc.config.load import ConfigError, load
from extproc.config.prices import Cost, format_amount
from extproc.providers.registry import SETTINGS

TEXT = """
backends:
  a: {{provider: vllm, url: "http://vllm:8000", {entry}}}
routes: {{r: {{models: ["*"], defaultBackend: {{name: a}}}}}}
"""


def backend(entry: str) -> Any:
    """The backend of a config with this entry."""
    return load(TEXT.format(entry=entry).encode(), SETTINGS).config.backends["a"]


def problems(entry: str) -> str:
    """What is wrong with it."""
    with pytest.raises(ConfigError) as refusal:
        backend(entry)
    return str(refusal.value)


def test_amounts_are_exact() -> None:
    """No binary fraction on the way, and the same digits back."""
    cost = backend('cost: {inputTokenCost: "0.1", outputTokenCost: " 0.300 ", currency: EUR}').cost
    assert (cost.input_token_cost, cost.output_token_cost) == (Decimal("0.1"), Decimal("0.300"))
    assert (cost.cached_input_token_cost, cost.request_cost, cost.currency) == (None, 0, "EUR")
    assert cost.model_dump(mode="json", by_alias=True)["outputTokenCost"] == "0.3"


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("0.1", 'money is exact: put the amount in quotes, such as "0.1"'),
        ("1", 'money is exact: put the amount in quotes, such as "1"'),
        ("true", "is not an amount"),
        ('"1e-3"', "is not an amount"),
        ('"-1"', "is not an amount"),
        ('"1,5"', "is not an amount"),
        ('"$1"', "is not an amount"),
        ('"NaN"', "is not an amount"),
        ('"0.0000000000001"', "is not an amount"),
        ('""', "is not an amount"),
    ],
)
def test_amount_is_refused_when_it_is_not_exact(amount: str, said: str) -> None:
    """With the way to write it."""
    told = problems(f'cost: {{inputTokenCost: {amount}, outputTokenCost: "1"}}')
    assert "3: backends.a.cost.inputTokenCost: " in told
    assert said in told


@pytest.mark.parametrize("currency", ["usd", "US", "EURO", "$"])
def test_currency_is_three_capital_letters(currency: str) -> None:
    """ISO 4217."""
    told = problems(f'cost: {{inputTokenCost: "1", outputTokenCost: "1", currency: "{currency}"}}')
    assert f"'{currency}' is not a currency: write its three capital letters" in told


def test_unpriced_is_a_word_or_a_price() -> None:
    """And nothing else."""
    assert backend("unpriced: reject").unpriced == "reject"
    assert isinstance(backend('unpriced: {inputTokenCost: "1", outputTokenCost: "2"}').unpriced, Cost)
    assert "must be 'allow' or 'reject'" in problems("unpriced: free")


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0", "0"), ("10", "10"), ("1E+3", "1000"), ("1.10", "1.1"), ("0E-9", "0"), ("1E-12", "0.000000000001")],
)
def test_amount_is_written_in_full(amount: str, text: str) -> None:
    """No exponent, no zeros that say nothing."""
    assert format_amount(Decimal(amount)) == text
