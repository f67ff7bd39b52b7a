"""Comparisons of experiments, as tables for people or as JSON for what comes after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from extproc.cli.recorded_experiments import setup_of
from extproc.config.experiments import Experiment
from extproc.config.units import HeaderUnit
from extproc.ledger.comparison import SUSPICIOUS, Estimate
from extproc.ledger.experiment_report import OUTCOMES, VARIANTS, Comparison, Measure


def as_document(found: Sequence[Comparison], settings: Mapping[str, Experiment]) -> str:
    """JSON."""
    document = {"experiments": [_document(one, settings.get(one.name)) for one in found]}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def _document(one: Comparison, settings: Experiment | None) -> dict[str, Any]:
    measured = {measure.name: measure for measure in one.measures}
    return {
        "name": one.name,
        "settings": None if settings is None else settings.model_dump(mode="json", by_alias=True),
        "units_are": _units(settings),
        "variants": {
            variant: {
                "units": one.units[variant],
                "requests": one.requests[variant],
                **{name: getattr(measure, variant) for name, measure in measured.items()},
            }
            for variant in VARIANTS
        },
        "difference": {name: measure.difference for name, measure in measured.items()},
        "split": {"p": one.split, "suspicious": _is_suspicious(one)},
    }


def print_comparisons(found: Sequence[Comparison], settings: Mapping[str, Experiment], name: str | None) -> None:
    """To standard output."""
    console = Console(soft_wrap=True)
    if not found:
        console.print(f"nothing is recorded of {'any experiment' if name is None else name}", highlight=False)
    for one in found:
        console.print(_table(one, settings.get(one.name)), highlight=False)
        for line in _remarks(one, settings.get(one.name)):
            console.print(line, highlight=False, markup=False)
        console.print()


def _table(one: Comparison, settings: Experiment | None) -> Table:
    table = Table(title=f"[bold]{one.name}[/]", title_justify="left", box=None, header_style="bold", pad_edge=False)
    table.add_column("per request, 95 % interval")
    backends = dict.fromkeys(VARIANTS, "") if settings is None else settings.model_dump(include=set(VARIANTS))
    for variant in VARIANTS:
        table.add_column(" ".join(filter(None, (variant, backends[variant]))), justify="right")
    table.add_column("difference", justify="right")
    table.add_row("units", *(f"{one.units[variant]:,}" for variant in VARIANTS), "")
    table.add_row("requests", *(f"{one.requests[variant]:,}" for variant in VARIANTS), "")
    for measure in one.measures:
        estimates = (measure.control, measure.treatment, measure.difference)
        table.add_row(_called(measure), *(_cell(estimate, percent=measure.name in OUTCOMES) for estimate in estimates))
    return table


def _called(measure: Measure) -> str:
    words = measure.name.replace("_", " ")
    return f"{words}, %" if measure.name in OUTCOMES else f"{words}, ms" if words.startswith("latency") else words


def _cell(estimate: Estimate | None, *, percent: bool) -> str:
    if estimate is None:
        return "–"
    scale = 100 if percent else 1
    if estimate.interval is None:
        return f"{estimate.value * scale:.4g}"
    low, high = estimate.interval
    return f"{estimate.value * scale:.4g} ({low * scale:.4g} … {high * scale:.4g})"


def _remarks(one: Comparison, settings: Experiment | None) -> list[str]:
    remarks = [f"A unit is {_units(settings)}."]
    if one.split is not None and settings is not None:
        told = f"{settings.traffic_percent:g} % of the units were to be treated: chance splits them like this"
        remarks.append(f"{told} with p = {one.split:.3g}.")
    elif settings is None:
        remarks.append("The split is not judged: only --config tells how it was meant to be.")
    if _is_suspicious(one):
        remarks.append("WARNING: this split is not chance. Do not believe the comparison before you know what it is.")
    return remarks


def _units(settings: Experiment | None) -> str:
    """What was counted as one."""
    if settings is None:
        return "each request: only --config tells what was kept together"
    if setup_of(settings).unit is not None:
        return f"a {settings.unit}; a request that has none is one of its own"
    by = f"the header {settings.unit.header}" if isinstance(settings.unit, HeaderUnit) else str(settings.unit)
    return f"each request, for the ledger does not record {by}: intervals and p are too sure"


def _is_suspicious(one: Comparison) -> bool:
    return one.split is not None and one.split < SUSPICIOUS
