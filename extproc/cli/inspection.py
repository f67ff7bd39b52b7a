"""Looks at a kortex.yaml as a start of the gateway would, and keeps all that it finds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from extproc.bootstrap.placement import Placement
from extproc.bootstrap.system_roots import find_system_roots
from extproc.cli.console import count, tell_problems
from extproc.cli.envoy_binary import validate
from extproc.cli.uncounted import uncounted_currencies
from extproc.cli.unpriced import unpriced_models
from extproc.cli.without_secrets import compile_without_secrets
from extproc.config.gateway import Config
from extproc.config.load import ConfigError, Problem, load
from extproc.providers.registry import SETTINGS
from extproc.server.reload import build_snapshot
from extproc.server.watch import read_config


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """``refusal`` is why Envoy would not start, in its own words."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    refusal: str | None = None

    @property
    def failed(self) -> int:
        """How many of them keep the gateway from starting."""
        return len(self.problems) + (self.refusal is not None)


def inspect(file: Path, envoy: Path | None) -> Findings:
    """Without ``envoy`` it is not asked. Raises ConfigUnreadable, and EnvoyError when Envoy cannot be asked."""
    text = read_config(file)
    try:
        loaded = load(text, SETTINGS)
    except ConfigError as error:
        return Findings(problems=error.problems)
    return Findings(
        problems=_unreadable_secrets(text),
        warnings=(
            *loaded.warnings,
            *unpriced_models(loaded.config, now=time.time()),
            *uncounted_currencies(loaded.config, now=time.time()),
        ),
        refusal=None if envoy is None else _refusal(loaded.config, envoy),
    )


def tell(console: Console, name: str, found: Findings) -> None:
    """Every finding on a line of its own, and a line that sums them up."""
    tell_problems(console, name, found.warnings, style="yellow")
    tell_problems(console, name, found.problems)
    if found.refusal is not None:
        console.print(f"{name}: Envoy refuses what this becomes: {found.refusal}", markup=False, highlight=False)
    problems = count(found.failed, "problem") if found.failed else "no problems"
    warnings = f", {count(len(found.warnings), 'warning')}" if found.warnings else ""
    style = "bold red" if found.failed else "green"
    console.print(f"{name}: {problems}{warnings}", style=style, markup=False, highlight=False)


def _unreadable_secrets(text: bytes) -> tuple[Problem, ...]:
    """``text`` is otherwise in order."""
    try:
        build_snapshot(text, number=1)
    except ConfigError as error:
        return error.problems
    return ()


def _refusal(config: Config, envoy: Path) -> str | None:
    from extproc.bootstrap.render import render_static  # most of a second, which a broken file need not wait for

    placement = Placement(
        xds_directory="/nowhere",
        workers=("unix:/nowhere/worker-0.sock",),
        admin="unix:/nowhere/admin.sock",
        system_ca=find_system_roots(),
    )
    return validate(envoy, render_static(compile_without_secrets(config), placement))
