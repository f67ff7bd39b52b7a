"""One self-test from beginning to end: streams, whole replies, then circuits, each on a stage configured for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from extproc.config.gateway import Config
from extproc.config.load import load
from extproc.config.scalars import format_duration
from extproc.config.yaml_text import read
from extproc.providers.registry import SETTINGS
from extproc.selftest.asking import backends_of
from extproc.selftest.circuit import flap
from extproc.selftest.patience import patience_of
from extproc.selftest.rewriting import left_out
from extproc.selftest.row import Row
from extproc.selftest.stage import Play, open_stage
from extproc.selftest.wall import Wall
from extproc.server.supervisor import Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All rows in order, and what else has to be known to read them."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def surprises(self) -> int:
        """How many rows are one."""
        return sum(row.verdict.surprise for row in self.rows)

    def described(self) -> dict[str, Any]:
        """JSON-ready."""
        rows = [row.described() for row in self.rows]
        return {"ok": not self.surprises, "surprises": self.surprises, "notes": list(self.notes), "rows": rows}


def read_play(text: bytes) -> Play:
    """Raises ConfigError."""
    config = load(text, SETTINGS).config
    written: Any = read(text).root.plain()
    return Play(written=written if isinstance(written, dict) else {}, config=config)


async def run_selftest(play: Play, routes: Collection[str], setup: Setup) -> Report:
    """The routes by name. Raises StartError and EnvoyError."""
    names = tuple(routes)
    async with open_stage(play, setup) as stage:
        streams = Wall(stage, stream=True)
        await streams.run(names)
        await stage.configure(stream=False)
        wholes = Wall(stage, stream=False)
        await wholes.run(names)
        await stage.configure(stream=False, breakers=True)
        flapping = await flap(stage, wholes.paths.values())
    order = {name: place for place, name in enumerate(names)}
    rows = sorted((*streams.rows, *wholes.rows, *flapping), key=lambda row: order[row.route])
    reached: dict[str, set[str]] = {name: set() for name in names}
    for wall in (streams, wholes):
        for name, backends in wall.reached.items():
            reached[name] |= backends
    undriven = [
        f"{rule} was not driven: {reason}" for rule, reason in wholes.undriven.items() if rule in streams.undriven
    ]
    return Report(rows=tuple(rows), notes=(*_scales(play.config, names), *_absences(play, reached), *undriven))


def _scales(config: Config, routes: Collection[str]) -> list[str]:
    """How much faster than the config's own time the run was."""
    notes = []
    for name in routes:
        for stream, key in ((True, "firstToken"), (False, "unstreamed")):
            patience = patience_of(config, config.routes[name], stream=stream)
            if patience.scale > 1:
                limit, shrunk = format_duration(patience.limit_ms), format_duration(patience.run_limit_ms)
                notes.append(f"routes.{name}: timeouts 1/{patience.scale:g}: {key} {limit} was {shrunk}")
    return notes


def _absences(play: Play, reached: dict[str, set[str]]) -> list[str]:
    """What had no part in the run."""
    notes = [f"{section} was left out" for section in left_out(play.written)]
    for route, backends in reached.items():
        unmet = [name for name in backends_of(play.written["routes"][route]) if name not in backends]
        if unmet:
            notes.append(f"routes.{route}: no call reaches {', '.join(unmet)}")
    return notes
