"""What each source has to say of a request, and all of them of all requests, by prices that are written by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any, Final

import pytest

from tests.envoy.bill_sources import SOURCES, Seen, Tokens, Told, told_by_access_log, told_by_ledger
from tests.envoy.till import Till
from tests.fakes.compatible_provider import WORDINGS

_NAMES: Final = (
    "openai",
    "azure",
    "claude",
    "gemini",
    "vertex",
    "vertex-claude",
    "bedrock",
    "cohere",
    "mistral",
    "own",
)
MODELS: Final = pytest.mark.parametrize("model", _NAMES)
ALL_MODELS: Final = pytest.mark.parametrize("model", [*_NAMES, *WORDINGS])
"""Also those that differ from OpenAI only in how they word their usage."""
BOTH_MODES: Final = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
SPENT_COLUMNS: Final = ("input_tokens", "output_tokens")
TOKEN_COLUMNS: Final = (*SPENT_COLUMNS, "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")


IMAGE: Final = Decimal("0.0201")
"""Of each, at the backends that have a ``cost``."""


def price(
    backend: str, tokens: Tokens, *, answered: bool = True, images: int = 0, tier: Decimal = Decimal(1)
) -> tuple[Decimal | None, str | None]:
    """By hand: the providers' pages for a million tokens, and the config for a thousand."""
    rates = {
        "openai": ("2.5", "1.25", "0", "10", "0", "USD"),
        "azure": ("2.5", "1.25", "0", "10", "0", "USD"),
        "claude": ("3", "0.3", "3.75", "15", "0", "USD"),
        "vertex-claude": ("3", "0.3", "3.75", "15", "0", "USD"),
        "gemini": ("0.3", "0.03", "0", "2.5", "0", "USD"),
        "vertex": ("0.3", "0.03", "0", "2.5", "0", "USD"),
        "bedrock": ("3.3", "0.33", "4.125", "16.5", "0", "USD"),
        "cohere": ("2.5", "0", "0", "10", "0", "USD"),
        "mistral": ("0.5", "0", "0", "1.5", "0", "USD"),
        "own": ("1.1", "0.7", "1.1", "3.3", "0.01", "EUR"),
        "default": ("500", "500", "500", "1000", "0", "USD"),
        "demo": ("0", "0", "0", "0", "0", "USD"),
    }
    rates |= dict.fromkeys(WORDINGS, rates["own"])
    if backend not in rates:
        return None, None
    plain, cached, written, output, request = map(Decimal, rates[backend][:5])
    read, wrote = tokens.get("cached_input", 0), tokens.get("cache_write", 0)
    million = (tokens["input"] - read - wrote) * plain + read * cached + wrote * written + tokens["output"] * output
    return million * tier / 1_000_000 + (request if answered else 0) + images * IMAGE, rates[backend][5]


def assert_all_agree(
    seen: Seen, backend: str, *, source: str = "reported", answered: bool = True, **priced: Any
) -> Told:
    """Each source that has something to say says the same; at least log and metrics have."""
    told = {tell.__name__: found for tell in SOURCES if (found := tell(seen, backend)) is not None}
    assert {"told_by_access_log", "told_by_metrics"} <= set(told)
    line = told["told_by_access_log"]
    assert line.source == source
    cost, currency = price(backend, line.tokens, answered=answered, **priced)
    for name, found in told.items():
        nonzero = {kind: count for kind, count in found.tokens.items() if count}
        assert nonzero == {kind: count for kind, count in line.tokens.items() if count}, name
        free = name == "told_by_metrics" and found.cost is None and cost == 0
        assert free or (found.cost, found.currency) == (cost, currency), name
        assert found.source in {None, source}, name
    assert seen.counted == counted_for(seen)
    return line


def counted_for(seen: Seen) -> dict[str, int]:
    """What budgets should have grown by: all attempts of a request, each in its own currency, in billionths."""
    sums: Counter[str] = Counter()
    for line in seen.lines:
        sums["tokens"] += line.get("input_tokens", 0) + line.get("output_tokens", 0)
        if "cost" in line:
            sums[line["currency"]] += exact_billionths(line["cost"])
    return {name: count for name, count in sums.items() if count}


def exact_billionths(cost: str) -> int:
    """Of a bill whose prices have no finer part."""
    scaled = Decimal(cost) * 10**9
    assert scaled == int(scaled), cost
    return int(scaled)


def assert_ledger_agrees(till: Till) -> None:
    """With everything that was seen, each attempt and each exchange."""
    attempts = by_request(till, "attempts")
    exchanges = by_request(till, "exchanges")
    for seen in till.seen:
        request_id, last = seen.lines[-1]["request_id"], seen.lines[-1]["backend"]
        told = {row["backend"]: told_by_ledger(row) for row in attempts[request_id]}
        assert told == {line["backend"]: told_by_access_log(seen, line["backend"]) for line in seen.lines}
        (exchange,) = exchanges[request_id]
        assert (exchange["backend"], exchange["attempts"]) == (last, len(seen.lines)), seen.lines
        assert told_by_ledger(exchange) == told[last]


def assert_sums_agree(till: Till) -> None:
    """``kortex usage``, and what all budgets together have counted, with the ledger's attempts."""
    rows = [row for booked in by_request(till, "attempts").values() for row in booked]
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    tokens: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for name in row:
            if name.endswith("_tokens"):
                tokens[row["backend"], name] += row[name] or 0
        if row["cost"] is not None:
            sums[row["backend"], row["currency"]] += Decimal(row["cost"])
    usage = kortex_usage(till)
    costs = {(row["backend"], row["currency"]): Decimal(row["cost"]) for row in usage if row["cost"] is not None}
    assert costs == sums
    backends = {row["backend"] for row in rows}
    told = {(row["backend"], name): row[name] for row in usage if row["backend"] in backends for name in TOKEN_COLUMNS}
    assert told == {(backend, name): tokens[backend, name] for backend in backends for name in TOKEN_COLUMNS}
    counters = till.counters()
    for currency in ("USD", "EUR"):
        spent = sum(cost for (_, of), cost in sums.items() if of == currency)
        assert Decimal(counters[currency]).scaleb(-9) == spent
    assert counters["tokens"] == sum(tokens[backend, name] for backend in backends for name in SPENT_COLUMNS)


def by_request(till: Till, table: str) -> dict[str, list[dict[str, Any]]]:
    """The ledger's rows, when it has those of every request.

    Where a client left while its answer was held, which looks just like a provider that broke off, its exchange ends
    when no other attempt has begun for a while.
    """
    asked = {seen.lines[-1]["request_id"] for seen in till.seen}

    def booked() -> list[dict[str, Any]] | None:
        rows = till.rows("usage.db", f"SELECT * FROM {table}")  # noqa: S608 - one of two names, written above
        return rows if asked <= {row["request_id"] for row in rows} else None

    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in till.gateway.until(booked, f"its {table} are booked"):
        found[row["request_id"]].append(row)
    return found


def kortex_usage(till: Till) -> list[dict[str, Any]]:
    """By backend, as the command tells it."""
    command = [sys.executable, "-m", "extproc.cli.main", "usage", "--ledger", f"sqlite:///{till.books}/usage.db"]
    done = subprocess.run([*command, "--by", "backend", "--json"], capture_output=True, check=True, timeout=60)
    usage: list[dict[str, Any]] = json.loads(done.stdout)["usage"]
    return usage
