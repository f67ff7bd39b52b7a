"""Who tells what an attempt used and what it cost: each source read in its own way, all into the same words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import httpx

Tokens = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one source tells of one attempt. ``source`` is how the usage is known, where it says that."""

    tokens: Tokens
    cost: Decimal | None
    currency: str | None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All there is to look at after one request: the reply, the log's lines, what metrics and budgets grew by."""

    headers: Mapping[str, str]
    usage: dict[str, Any] | None
    chunked: bool
    lines: list[dict[str, Any]]
    grown: dict[str, float]
    counted: dict[str, int]
    """Of the budgets, by what they count: ``USD`` and ``EUR`` in billionths, ``tokens``."""

    def line(self, backend: str) -> dict[str, Any]:
        """The attempt at a backend."""
        (line,) = [line for line in self.lines if line["backend"] == backend]
        return line


def told_by_headers(seen: Seen, backend: str) -> Told | None:
    """Whole replies have them; they are the last attempt's."""
    if seen.headers.get("x-kortex-backend") != backend or "x-kortex-usage" not in seen.headers:
        return None
    pairs = dict(part.split("=") for part in seen.headers["x-kortex-usage"].split(", "))
    source = pairs.pop("source")
    digits, _, currency = seen.headers.get("x-kortex-cost", "").partition(" ")
    tokens = {kind: int(count) for kind, count in pairs.items()}
    return Told(tokens=tokens, cost=Decimal(digits) if digits else None, currency=currency or None, source=source)


def told_by_reply(seen: Seen, backend: str) -> Told | None:
    """The reply's own usage; that of a stream says what it costs as well."""
    if seen.usage is None or seen.headers["x-kortex-backend"] != backend:
        return None
    cost = seen.usage.get("cost") if seen.chunked else seen.line(backend).get("cost")
    currency = seen.usage.get("cost_currency") if seen.chunked else seen.line(backend).get("currency")
    return Told(tokens=tokens_of(seen.usage), cost=None if cost is None else Decimal(cost), currency=currency)


def told_by_access_log(seen: Seen, backend: str) -> Told | None:
    """A line for each attempt."""
    line = seen.line(backend)
    tokens = {key.removesuffix("_tokens"): count for key, count in line.items() if key.endswith("_tokens")}
    cost = line.get("cost")
    source = line["usage_source"]
    return Told(
        tokens=tokens, cost=None if cost is None else Decimal(cost), currency=line.get("currency"), source=source
    )


def told_by_metrics(seen: Seen, backend: str) -> Told | None:
    """Counters leave out what is 0; their money is a double, good for twelve decimals of a small sum."""
    tokens: Tokens = {}
    cost, currency = None, None
    for name, value in seen.grown.items():
        labels = dict(
            part.split("=") for part in name.partition("{")[2].rstrip("}").replace('"', "").split(",") if part
        )
        if labels.get("backend") != backend:
            continue
        if name.startswith("kortex_tokens_total"):
            tokens[labels["type"]] = int(value)
        if name.startswith("kortex_cost_total"):
            cost, currency = Decimal(repr(round(value, 12))), labels["currency"]
    return Told(tokens=tokens, cost=cost, currency=currency)


def told_by_ledger(row: Mapping[str, Any]) -> Told:
    """A row of ``attempts``."""
    tokens = {
        name.removesuffix("_tokens"): count
        for name, count in row.items()
        if name.endswith("_tokens") and count is not None
    }
    cost = row["cost"]
    return Told(
        tokens=tokens,
        cost=None if cost is None else Decimal(cost),
        currency=row["currency"],
        source=row["usage_source"],
    )


SOURCES: Final[tuple[Callable[[Seen, str], Told | None], ...]] = (
    told_by_headers,
    told_by_reply,
    told_by_access_log,
    told_by_metrics,
)


def tokens_of(usage: dict[str, Any]) -> Tokens:
    """OpenAI's object in our words."""
    prompt, completion = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    tokens = {
        "input": usage["prompt_tokens"],
        "output": usage["completion_tokens"],
        "cached_input": prompt.get("cached_tokens"),
        "cache_write": prompt.get("cache_write_tokens"),
        "reasoning": completion.get("reasoning_tokens"),
        "audio_input": prompt.get("audio_tokens"),
        "audio_output": completion.get("audio_tokens"),
    }
    return {kind: count for kind, count in tokens.items() if count is not None}


def usage_of(reply: httpx.Response) -> dict[str, Any] | None:
    """With numbers as they are written: a double would lose digits."""
    text = reply.text
    if "data: " in text:
        chunks = [
            json.loads(part[6:], parse_float=Decimal) for part in text.split("\n\n") if part.startswith("data: {")
        ]
        found = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
        return found[-1] if found else None
    whole: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return whole.get("usage")
