"""Providers' exports beside the ledger."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from extproc.ledger.invoice import EXPORTS, BadInvoice, Charge, Columns, compare, read_charges, recognize

OPENAI = """\
start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id,organization_id
1790467200,1790553600,2026-09-27T00:00:00+00:00,2026-09-28T00:00:00+00:00,0.8958740000,usd,"gpt-4o-2024-08-06, input",,o
1790467200,1790553600,2026-09-27T00:00:00+00:00,2026-09-28T00:00:00+00:00,0.1,usd,"gpt-4o-2024-08-06, output",,o
1790553600,1790640000,2026-09-28T00:00:00+00:00,2026-09-29T00:00:00+00:00,,,,,
"""
ANTHROPIC = """\
usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type
2026-09-27,Claude Haiku 4.5,Default,key,message,≤ 200k,input_no_cache,0.05,0.05,token
2026-09-27,Claude Haiku 4.5,Default,key,message,≤ 200k,output,0.25,0.25,token
"""
DAY = date(2026, 9, 27)


def booked(model: str, cost: str | None, day: str = "2026-09-27", currency: str = "USD") -> dict[str, Any]:
    """A row of the ledger's report."""
    return {"day": day, "model": "asked", "served_model": model, "cost": cost, "currency": currency}


@pytest.mark.parametrize(
    ("provider", "text", "model", "amounts"),
    [
        pytest.param("openai", OPENAI, "gpt-4o", ["0.895874", "0.1"], id="openai"),
        pytest.param("anthropic", ANTHROPIC, "claude-haiku-4-5", ["0.05", "0.25"], id="anthropic"),
    ],
)
def test_an_export_is_recognized_and_read(provider: str, text: str, model: str, amounts: list[str]) -> None:
    """By its columns; days without an amount are left out."""
    lines = text.splitlines()
    assert recognize(lines[0].split(",")) == provider
    charges = list(read_charges(lines, EXPORTS[provider]))
    assert charges == [Charge(day=DAY, model=model, amount=Decimal(amount), currency="USD") for amount in amounts]


def test_any_other_file_is_read_by_its_columns() -> None:
    """Dollar signs and other currencies included."""
    columns = Columns(day="Date", cost="Amount", model="Model", unit="EUR")
    (charge,) = read_charges(["Date,Model,Amount", "2026-09-27,m,$1.5"], columns)
    assert (charge.amount, charge.currency) == (Decimal("1.5"), "EUR")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("Date,Amount\nsoon,1", "line 2 cannot be read", id="day"),
        pytest.param("Date,Amount\n2026-09-27,much", "line 2 cannot be read", id="amount"),
        pytest.param("Date,Amount\n2026-09-27,NaN", "line 2 cannot be read", id="not-a-number"),
        pytest.param("Date\n2026-09-27", "no column Amount", id="column"),
        pytest.param("", "no column Amount, Date", id="empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(text: str, said: str) -> None:
    """With the line, rather than with a difference."""
    with pytest.raises(BadInvoice, match=said):
        list(read_charges(text.splitlines(), Columns(day="Date", cost="Amount")))


def test_an_unknown_export_needs_its_columns_named() -> None:
    """It could mean anything."""
    with pytest.raises(BadInvoice, match="Amount, Date"):
        recognize(["Date", "Amount"])


def test_days_and_models_are_compared_whatever_they_are_called() -> None:
    """The console's name, the name that served, and the parts of a day's bill."""
    charges = [*read_charges(OPENAI.splitlines(), EXPORTS["openai"])]
    charges += read_charges(ANTHROPIC.splitlines(), EXPORTS["anthropic"])
    ours = [booked("gpt-4o-2024-08-06", "0.995874"), booked("claude-haiku-4-5-20251001", "0.29")]
    found = {one.model: one.amount for one in compare(charges, ours)}
    assert found == {"gpt-4o": Decimal(0), "claude-haiku-4-5": Decimal("0.01")}


def test_what_only_one_side_has_is_a_difference() -> None:
    """A model, a day or a currency; what was booked without a price is none."""
    charge = Charge(day=DAY, model="a", amount=Decimal(1), currency="USD")
    ours = [booked("b", "2"), booked("a", "1", currency="EUR"), booked("a", "1", day="2026-09-28"), booked("c", None)]
    found = [(one.day.day, one.model, one.currency, one.invoiced, one.booked) for one in compare([charge], ours)]
    assert found == [
        (27, "a", "EUR", None, Decimal(1)),
        (27, "a", "USD", Decimal(1), None),
        (27, "b", "USD", None, Decimal(2)),
        (28, "a", "USD", None, Decimal(1)),
    ]


def test_an_invoice_without_models_is_compared_by_day() -> None:
    """All of a day's models together."""
    columns = Columns(day="Date", cost="Amount")
    charges = read_charges(["Date,Amount", "2026-09-27,3"], columns)
    (difference,) = compare(charges, [booked("a", "1"), booked("b", "2")])
    assert difference.amount == 0
