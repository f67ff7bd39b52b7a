"""An explanation for people: tables on a terminal."""

from __future__ import annotations

import json

from rich.console import Console
from rich.table import Table
from rich.text import Text

from extproc.exchange.explanation import Explanation, ToldAttempt, ToldRule


def print_explanation(console: Console, told: Explanation) -> None:
    """The decision in a line, then what led to it, then what each backend would be sent."""
    _line(console, "route", told.route)
    _line(console, "rule", told.rule or "none: the default backend")
    _line(console, "caller", ", ".join(_caller(told)) or "anybody")
    _line(console, "decision", told.decision)
    for experiment in told.experiments:
        variant = f"{experiment.name}={experiment.variant} ({experiment.backend})"
        told_so = "" if experiment.hindrance is None else f", does not count: {experiment.hindrance}"
        _line(console, "experiment", f"{variant}{told_so}")
    if told.error is None:
        _line(console, "plan", " → ".join(told.plan))
    else:
        code = f" {told.error.code}" if told.error.code else ""
        _line(console, "refused", f"{told.error.status}{code}: {told.error.message}")
    for table in (_facts(told), _rules(told), _candidates(told)):
        if table.row_count:
            console.print()
            console.print(table)
    for number, attempt in enumerate(told.attempts, start=1):
        console.print()
        _print_attempt(console, number, attempt)


def _line(console: Console, name: str, text: str) -> None:
    console.print(Text(f"{name:<12}", style="bold").append(text, style="not bold"), highlight=False)


def _caller(told: Explanation) -> list[str]:
    caller = told.caller
    named = {"key": caller.key, "tenant": caller.tenant, "user": caller.user, "tier": caller.tier}
    return [*(f"{name} {value}" for name, value in named.items() if value), *(f"#{tag}" for tag in caller.tags)]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _facts(told: Explanation) -> Table:
    facts = told.facts
    table = _table("Facts", "", "")
    shown = {
        "model": facts.model,
        "operation": facts.operation,
        "stream": str(facts.stream).lower(),
        "promptTokens": f"{facts.prompt_tokens}, as {facts.counted_as} counts",
        "maxTokens": None if facts.max_tokens is None else str(facts.max_tokens),
        "uses": ", ".join(facts.uses),
        "user": facts.user,
        "metadata": ", ".join(f"{name}={value}" for name, value in facts.metadata.items()),
    }
    for name, value in shown.items():
        table.add_row(name, Text(value or "–"))
    return table


def _rules(told: Explanation) -> Table:
    table = _table("Rules", "rule", "", "condition", "found")
    for rule in told.rules:
        name, verdict = rule.name, _verdict(rule)
        for condition in rule.conditions:
            mark = {True: "yes", False: "no", None: "error"}[condition.holds]
            table.add_row(Text(name), verdict, Text(condition.wanted), Text(f"{mark}: {condition.found}"))
            name, verdict = "", ""
        if not rule.conditions:
            table.add_row(Text(name), verdict, "every call", "yes")
    return table


def _verdict(rule: ToldRule) -> str:
    if not rule.reached:
        return "not reached"
    return "matches" if rule.matches else "no match"


def _candidates(told: Explanation) -> Table:
    table = _table(f"Backends, {told.strategy}", "", "backend", "model", "score", "why")
    for candidate in told.candidates:
        place = "–" if candidate.place is None else str(candidate.place)
        score = "" if candidate.score is None else f"{candidate.score:.4g}"
        model = f"{candidate.provider}/{candidate.model}"
        table.add_row(place, Text(candidate.backend), Text(model), score, Text(candidate.reason))
    return table


def _print_attempt(console: Console, number: int, attempt: ToldAttempt) -> None:
    _line(console, f"{number}.", attempt.backend)
    request = attempt.request
    _line(console, "cost", f"about {attempt.estimated_cost}" if attempt.estimated_cost else "no price known")
    if request is None:
        _line(console, "", attempt.refused or "answered inside the gateway")
        return
    if attempt.dropped:
        _line(console, "dropped", ", ".join(attempt.dropped))
    lines = [f"{request.method} {request.url}", *(f"{name}: {value}" for name, value in request.headers), ""]
    console.print("\n".join([*lines, _indented(request.body)]), markup=False, highlight=False)


def _indented(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body
