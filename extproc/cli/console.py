"""What the command says when it cannot go on: one clear sentence on standard error, and the exit code. No traceback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from extproc.bootstrap.process import EnvoyError
from extproc.config.load import ConfigError, Problem
from extproc.credentials.key_file import KeyFileInvalid
from extproc.credentials.key_store import KeyUnknown
from extproc.server.addresses import AddressUnavailable
from extproc.server.supervisor import StartError
from extproc.server.watch import ConfigUnreadable

FAILED = 1
_WIDEST: Final = 10_000
"""Characters of a line that no terminal shows."""


class Failed(Exception):
    """A verb cannot do what it was asked; the message is for the operator."""


@contextlib.contextmanager
def failures_told(config: str) -> Iterator[None]:
    """Turns what may go wrong into a message and exit code 1. ``config`` is what the configuration is called."""
    try:
        yield
    except ConfigError as error:
        console = Console(stderr=True, soft_wrap=True)
        tell_problems(console, config, error.problems)
        _complain(f"{config} cannot be used: {count(len(error.problems), 'problem')}")
    except (Failed, StartError, EnvoyError, AddressUnavailable, ConfigUnreadable, KeyFileInvalid, KeyUnknown) as error:
        _complain(str(error))
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def tell_problems(console: Console, config: str, problems: Sequence[Problem], *, style: str = "red") -> None:
    """Each on a line of its own, as ``kortex.yaml:12: routes.production: …``, with how to mend it below."""
    for problem in problems:
        place = config if problem.line is None else f"{config}:{problem.line}"
        line = Text(f"{place}: ", style="bold")
        if problem.path:
            line.append(f"{problem.path}: ", style=style)
        line.append(problem.message, style="default not bold")
        if problem.hint:
            line.append(f", {problem.hint}", style="cyan not bold")
        console.print(line, highlight=False)


def print_table(console: Console, table: Table) -> None:
    """As wide as it is where no terminal shows it, as in the log of a build: there is nothing to fold it for."""
    if not console.is_terminal:
        needed = console.measure(table, options=console.options.update_width(_WIDEST)).maximum
        console.width = max(console.width, needed)
    console.print(table, markup=False, highlight=False)


def count(number: int, noun: str) -> str:
    """``1 problem``, ``2 problems``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def name_of(path: Path | None) -> str:
    """What a configuration is called in messages."""
    return "the environment" if path is None else str(path)


def _complain(message: str) -> None:
    sys.stderr.write(f"kortex: {message}\n")
    raise typer.Exit(FAILED)
