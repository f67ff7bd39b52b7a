"""A provider's export of costs, compared with the ledger: what was invoiced, what was booked, by day and model.

Read as they come from the consoles: OpenAI's costs (https://platform.openai.com/usage) and Anthropic's
(https://platform.claude.com/cost). For any other file its columns are named.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

_DATE_BEHIND: Final = re.compile(r"-(20[0-9]{2}-?[01][0-9]-?[0-3][0-9]|latest)$")
_SIGNS: Final = re.compile(r"[^a-z0-9]+")
_EVERY_MODEL: Final = ""


class BadInvoice(ValueError):
    """The file cannot be read as an invoice; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the columns of an export are called. Without ``currency`` column its amounts are in ``unit``."""

    day: str
    cost: str
    model: str | None = None
    currency: str | None = None
    unit: str = "USD"


EXPORTS: Final[Mapping[str, Columns]] = {
    "openai": Columns(day="start_time_iso", cost="amount_value", model="line_item", currency="amount_currency"),
    "anthropic": Columns(day="usage_date_utc", cost="cost_usd", model="model"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A line of an invoice. ``model`` is empty where the export does not tell."""

    day: date
    model: str
    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One day, model and currency. None: there is nothing on that side."""

    day: date
    model: str
    currency: str
    invoiced: Decimal | None
    booked: Decimal | None

    @property
    def amount(self) -> Decimal:
        """What was invoiced beyond what was booked."""
        return (self.invoiced or Decimal(0)) - (self.booked or Decimal(0))


def recognize(header: Iterable[str]) -> str:
    """Whose export has these columns. Raises BadInvoice."""
    names = set(header)
    for provider, columns in EXPORTS.items():
        if {columns.day, columns.cost} <= names:
            return provider
    raise BadInvoice(
        f"no known export has the columns {', '.join(sorted(names)) or '(none)'}: name day, cost, model and currency"
    )


def read_charges(lines: Iterable[str], columns: Columns) -> Iterator[Charge]:
    """The lines that have an amount. Raises BadInvoice, with the line's number."""
    reader = csv.DictReader(lines)
    missing = {columns.day, columns.cost, columns.model, columns.currency} - {None, *(reader.fieldnames or ())}
    if missing:
        raise BadInvoice(f"the file has no column {', '.join(sorted(filter(None, missing)))}")
    for row in reader:
        amount = (row[columns.cost] or "").strip()
        if not amount:
            continue
        try:
            yield Charge(
                day=datetime.fromisoformat(row[columns.day].strip()).date(),
                model=_bare_model(row[columns.model] or "") if columns.model else _EVERY_MODEL,
                amount=_finite(amount),
                currency=(row[columns.currency] if columns.currency else columns.unit).strip().upper(),
            )
        except (InvalidOperation, ValueError, AttributeError) as error:
            raise BadInvoice(f"line {reader.line_num} cannot be read: {error}") from None


def _finite(text: str) -> Decimal:
    amount = Decimal(text.lstrip("$"))
    if not amount.is_finite():
        raise ValueError(f"{text!r} is no amount")
    return amount


def compare(charges: Iterable[Charge], booked: Iterable[Mapping[str, Any]]) -> list[Difference]:
    """Every day and model of either side, in order. ``booked`` is the ledger by day, model and served model.

    Names are compared without the date behind them, ``gpt-4o-2024-08-06`` as ``gpt-4o`` and ``Claude Haiku 4.5`` as
    ``claude-haiku-4-5``: consoles and replies do not agree on it. Where the export names no models, days are compared.
    """
    invoiced: dict[tuple[date, str, str], Decimal] = {}
    for charge in charges:
        identity = (charge.day, charge.currency, charge.model)
        invoiced[identity] = invoiced.get(identity, Decimal(0)) + charge.amount
    named = any(model != _EVERY_MODEL for _, _, model in invoiced)
    ours: dict[tuple[date, str, str], Decimal] = {}
    for row in booked:
        if row["cost"] is None:
            continue
        model = _bare_model(row["served_model"] or row["model"] or "") if named else _EVERY_MODEL
        identity = (date.fromisoformat(row["day"]), row["currency"], model)
        ours[identity] = ours.get(identity, Decimal(0)) + Decimal(row["cost"])
    return [
        Difference(day=day, model=model, currency=currency, invoiced=invoiced.get(key), booked=ours.get(key))
        for key in sorted({*invoiced, *ours})
        for day, currency, model in (key,)
    ]


def _bare_model(name: str) -> str:
    """``gpt-4o-2024-08-06, cached input`` and ``gpt-4o`` are one model."""
    bare = _SIGNS.sub("-", name.partition(",")[0].strip().lower()).strip("-")
    return _DATE_BEHIND.sub("", bare)
