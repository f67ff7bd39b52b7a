"""What a configuration says of the experiments that a ledger has recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from extproc.config.experiments import Experiment
from extproc.config.load import load
from extproc.ledger.experiment_report import Setup
from extproc.providers.registry import SETTINGS
from extproc.server.watch import read_config


def settings_of(config: Path | None) -> Mapping[str, Experiment]:
    """By name; none without a configuration. Raises ConfigError and ConfigUnreadable."""
    if config is None:
        return {}
    routes = load(read_config(config), SETTINGS).config.routes.values()
    return {experiment.name: experiment for route in routes for experiment in route.experiments}


def setup_of(experiment: Experiment) -> Setup:
    """What a report needs of it."""
    share = experiment.traffic_percent / 100
    match experiment.unit:
        case "user" | "key" | "tenant" as unit:
            return Setup(treated_share=share, unit=unit)
        case _:
            return Setup(treated_share=share)
