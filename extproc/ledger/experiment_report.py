"""What the ledger knows of experiments: each variant's requests and units, how they ended, and what they took.

Rows are read twice, in the order of units, and none is kept. A request that another backend answered is an outcome of
its variant; its times, tokens and cost are not the variant's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, Select, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from extproc.exchange.trail import ANSWERED
from extproc.exchange.verdict import Reason
from extproc.ledger.comparison import Distribution, Estimate, Ratio, difference, is_within, quantile, split_probability
from extproc.ledger.database import Database, reason
from extproc.ledger.question import LedgerUnavailable
from extproc.ledger.schema import EXCHANGES
from extproc.routing.experiment import CONTROL, TREATMENT, read_tag

FAILED_OVER: Final = "failed_over"
FAILED: Final = "failed"
LEFT: Final = Reason.CLIENT_GONE.value
OUTCOMES: Final = (ANSWERED, FAILED_OVER, FAILED, LEFT)
VARIANTS: Final = (CONTROL, TREATMENT)
QUANTILES: Final = (0.5, 0.95)
LATENCY: Final = "latency_mean"
TOKENS: Final = "output_tokens"
COST: Final = "cost"

_HOUR_MS: Final = 3_600_000
_ROWS_AT_ONCE: Final = 1_000

_Key: TypeAlias = tuple[str, str]
"""A variant and what is measured of it."""

RecordedUnit: TypeAlias = Literal["user", "key", "tenant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the ledger does not know of an experiment. ``unit`` None: the ledger has no column for it."""

    treated_share: float | None = None
    unit: RecordedUnit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One thing that is compared, per request. None: there was nothing to measure."""

    name: str
    control: Estimate | None
    treatment: Estimate | None

    @property
    def difference(self) -> Estimate | None:
        """Treatment less control."""
        return difference(self.treatment, self.control)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``units`` and ``requests`` by variant. ``split`` is how often chance splits the units so; None: unknown."""

    name: str
    units: Mapping[str, int]
    requests: Mapping[str, int]
    measures: tuple[Measure, ...]
    split: float | None


def compare(
    database: Database, setups: Mapping[str, Setup], *, only: str | None, since: int | None, until: int | None
) -> list[Comparison]:
    """Each experiment that was recorded in the time (Unix hours, the second exclusive), by name.

    Raises LedgerUnavailable.
    """
    try:
        if not database.exists():
            return []
        with database.reading() as connection:
            when = _when(since, until)
            recorded = _recorded(connection, when)
            return [
                _compare(_Requests(connection, name, recorded[name], when, setups.get(name, Setup())))
                for name in sorted(recorded)
                if only is None or name == only
            ]
    except SQLAlchemyError as error:
        raise LedgerUnavailable(f"the ledger {database.name} cannot be read: {reason(error)}") from error


def _when(since: int | None, until: int | None) -> list[ColumnElement[bool]]:
    ended = EXCHANGES.c.ended_ms
    conditions: list[ColumnElement[bool]] = [EXCHANGES.c.experiments.is_not(None)]
    if since is not None:
        conditions.append(ended >= since * _HOUR_MS)
    if until is not None:
        conditions.append(ended < until * _HOUR_MS)
    return conditions


def _recorded(connection: Connection, when: Sequence[ColumnElement[bool]]) -> dict[str, list[str]]:
    """What stands in the column ``experiments``, by the experiments it names."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for text in connection.execute(select(EXCHANGES.c.experiments).where(*when).distinct()).scalars():
        for tag in text.split(","):
            found[read_tag(tag)[0]].append(text)
    return found


@dataclass(frozen=True, slots=True)
class _Requests:
    """Those of one experiment; each iteration reads them anew, unit by unit."""

    connection: Connection
    name: str
    texts: Sequence[str]
    when: Sequence[ColumnElement[bool]]
    setup: Setup

    def units(self) -> Iterator[Iterator[tuple[str, RowMapping]]]:
        """The requests of each unit, with their variants. One that belongs to none is a unit of its own."""
        rows = self.connection.execute(self._statement(), execution_options={"yield_per": _ROWS_AT_ONCE}).mappings()
        variants = {text: self._variant(text) for text in self.texts}
        for _, group in groupby(rows, key=lambda row: (row["unit"], None if row["unit"] else row["exchange"])):
            yield ((variants[row["experiments"]], row) for row in group)

    def _variant(self, text: str) -> str:
        return next(variant for name, variant in map(read_tag, text.split(",")) if name == self.name)

    def _statement(self) -> Select[Any]:
        columns = ("experiments", "attempts", "outcome", "duration_ms", "output_tokens", "cost", "currency")
        unit = EXCHANGES.c.exchange if self.setup.unit is None else EXCHANGES.c[self.setup.unit]
        statement = select(unit.label("unit"), EXCHANGES.c.exchange, *(EXCHANGES.c[name] for name in columns))
        return statement.where(EXCHANGES.c.experiments.in_(self.texts), *self.when).order_by(unit)


def _compare(requests: _Requests) -> Comparison:
    """First everything but the quantiles' intervals, then those: they need the quantiles."""
    latencies = {variant: Distribution() for variant in VARIANTS}

    def observed(variant: str, row: RowMapping) -> Iterator[tuple[str, float]]:
        outcome = _outcome(row)
        yield from ((name, name == outcome) for name in OUTCOMES)
        if outcome == ANSWERED:
            latencies[variant].add(row["duration_ms"])
            yield from _taken(row)

    ratios = _ratios(requests, observed)
    bounds = {(variant, share): latencies[variant].quantile(share) for variant in VARIANTS for share in QUANTILES}

    def below(variant: str, row: RowMapping) -> Iterator[tuple[str, float]]:
        if _outcome(row) == ANSWERED:
            for share in QUANTILES:
                yield _quantile_name(share), is_within(row["duration_ms"], bounds[variant, share] or 0.0)

    within = _ratios(requests, below)
    units = {variant: ratios[variant, ANSWERED].units for variant in VARIANTS}
    treated = requests.setup.treated_share
    costs = sorted({name for _, name in ratios if name.startswith(COST)})
    return Comparison(
        name=requests.name,
        units=units,
        requests={variant: ratios[variant, ANSWERED].requests for variant in VARIANTS},
        measures=(
            *(_measure(name, lambda key: ratios[key].share()) for name in OUTCOMES),
            _measure(LATENCY, lambda key: ratios[key].mean()),
            *(_measure(_quantile_name(share), partial(_quantile, latencies, share, within)) for share in QUANTILES),
            *(_measure(name, lambda key: ratios[key].mean()) for name in (TOKENS, *costs)),
        ),
        split=None if treated is None else split_probability(units[CONTROL], units[TREATMENT], treated),
    )


def _measure(name: str, estimate: Callable[[_Key], Estimate | None]) -> Measure:
    return Measure(name=name, control=estimate((CONTROL, name)), treatment=estimate((TREATMENT, name)))


def _quantile(
    values: Mapping[str, Distribution], share: float, below: Mapping[_Key, Ratio], key: _Key
) -> Estimate | None:
    return quantile(values[key[0]], share, below[key])


def _taken(row: RowMapping) -> Iterator[tuple[str, float]]:
    """What the answer took, as far as it is known: of a mean, a float is enough for money."""
    yield LATENCY, row["duration_ms"]
    if row["output_tokens"] is not None:
        yield TOKENS, row["output_tokens"]
    if row["cost"] is not None:
        yield f"{COST} {row['currency']}", float(row["cost"])


def _ratios(
    requests: _Requests, observed: Callable[[str, RowMapping], Iterable[tuple[str, float]]]
) -> defaultdict[_Key, Ratio]:
    """By variant and measure."""
    ratios: defaultdict[_Key, Ratio] = defaultdict(Ratio)
    for unit in requests.units():
        sums: defaultdict[_Key, float] = defaultdict(float)
        counts: Counter[_Key] = Counter()
        for variant, row in unit:
            for name, value in observed(variant, row):
                sums[variant, name] += value
                counts[variant, name] += 1
        for key, count in counts.items():
            ratios[key].add(sums[key], count)
    return ratios


def _outcome(row: RowMapping) -> str:
    if row["outcome"] == ANSWERED:
        return ANSWERED if row["attempts"] == 1 else FAILED_OVER
    return LEFT if row["outcome"] == LEFT else FAILED


def _quantile_name(share: float) -> str:
    return f"latency_p{share * 100:.0f}"
