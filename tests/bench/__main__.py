"""``make bench``: measure all paths and print the tables."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import uvloop

from extproc.bootstrap.process import find_envoy
from extproc.cli.envoy_binary import envoy_version
from tests.bench.load import WrongReply
from tests.bench.measure import Plan, measure
from tests.bench.paths import open_paths
from tests.bench.table import replace_between_marks, tables

_THOROUGH = Plan(rounds=5, seconds=0.7, streams=2)
_QUICK = Plan(rounds=1, seconds=0.3, streams=1)
_WORKERS = (1, 2, 4)


def main() -> None:
    """Exit code 1 when a reply was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="What Kortex costs beside Envoy alone.")
    parser.add_argument("--quick", action="store_true", help="fifteen seconds for a first look")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also put the tables between the marks in this file")
    arguments = parser.parse_args()
    plan = _QUICK if arguments.quick else _THOROUGH
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    if busy > 0.5:
        _tell(f"this machine is busy already ({busy:.0%} of its CPUs in the last minute): expect noise")
    with open_paths(_WORKERS) as paths:
        try:
            shown = uvloop.run(measure(paths, plan, _tell))
        except WrongReply as error:
            sys.exit(f"wrong reply: {error}")
    content = tables(shown, plan, envoy_version(find_envoy(None)))
    print(content)
    if arguments.write is not None:
        arguments.write.write_text(replace_between_marks(arguments.write.read_text("utf-8"), content), "utf-8")


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
