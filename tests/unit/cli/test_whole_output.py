"""Whoever reads a command's output gets all of it, and may stop reading."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from extproc.config.schema import json_schema
from extproc.providers.registry import SETTINGS

SCHEMA = (sys.executable, "-m", "extproc.cli.main", "config", "schema")  # more than a pipe holds

buffering = pytest.mark.parametrize("unbuffered", [pytest.param("", id="buffered"), pytest.param("1", id="unbuffered")])


@contextmanager
def running(unbuffered: str, *, blocking: bool) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """The command, and the end of the pipe that it writes to."""
    reading, writing = os.pipe()
    os.set_blocking(writing, blocking)
    with (
        os.fdopen(reading, "rb") as output,
        subprocess.Popen(
            SCHEMA, stdout=writing, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}
        ) as process,
    ):
        os.close(writing)
        yield process, output


@buffering
def test_a_pipe_that_somebody_made_non_blocking_gets_everything(unbuffered: str) -> None:
    """It belongs to all that inherited it, and one of them is enough."""
    with running(unbuffered, blocking=False) as (process, output):
        first = output.read(1)
        time.sleep(0.2)  # by now it is full
        assert json.loads(first + output.read()) == json_schema(SETTINGS)
        assert process.wait() == 0


@buffering
def test_a_reader_that_has_seen_enough_ends_the_command_without_a_word(unbuffered: str) -> None:
    """As ``| head -1`` does, with the exit code of a program that SIGPIPE ends."""
    with running(unbuffered, blocking=True) as (process, output):
        assert output.readline() == b"{\n"
        output.close()
        assert process.wait() == 128 + signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == b""
