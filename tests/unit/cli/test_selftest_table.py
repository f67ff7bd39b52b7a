"""The self-test's table: what looked the same stands in one line, and a surprise is never hidden in it."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from extproc.cli.selftest_table import print_report
from extproc.selftest.client import Ending, Seen
from extproc.selftest.row import Row
from extproc.selftest.run import Report
from extproc.selftest.verdict import OK, Verdict

ROW = Row(
    route="main",
    model="gpt-4[x]",
    fault="503",
    on="a",
    stream=True,
    seen=Seen(ending=Ending.ANSWER, status=200, backend="b", trail=("a=overloaded",)),
    asked=("a", "a", "b"),
    verdict=OK,
)


def printed(*rows: Row, notes: tuple[str, ...] = ()) -> list[str]:
    """The lines, without the frame."""
    written = StringIO()
    print_report(Console(file=written, width=200), Report(rows=rows, notes=notes))
    return [" ".join(line.replace("│", " ").split()) for line in written.getvalue().splitlines()]


def test_streamed_and_whole_calls_share_a_line_when_they_look_the_same() -> None:
    """Names of models are shown as they are."""
    lines = printed(ROW, replace(ROW, stream=False))
    assert "503 a gpt-4[x] stream, whole 200 answer b a×2, b ok" in lines
    assert "2 calls, 0 surprises" in lines


def test_a_surprise_has_a_line_of_its_own() -> None:
    """With its reason."""
    lines = printed(ROW, replace(ROW, stream=False, verdict=Verdict(surprise=True, note="why")))
    assert "503 a gpt-4[x] stream 200 answer b a×2, b ok" in lines
    assert "503 a gpt-4[x] whole 200 answer b a×2, b surprise: why" in lines
    assert "2 calls, 1 surprise" in lines


def test_calls_that_are_no_plain_chat_are_told_apart() -> None:
    """By their operation, and by the rule that decided."""
    lines = printed(ROW, replace(ROW, operation="/completions"), replace(ROW, rule="free-tier", stream=False))
    assert "503 a gpt-4[x] completions: stream 200 answer b a×2, b ok" in lines
    assert "503 a gpt-4[x] free-tier: whole 200 answer b a×2, b ok" in lines


def test_lines_are_not_folded_where_no_terminal_shows_them() -> None:
    """The log of a build takes lines of any length, and is searched by line."""
    written = StringIO()
    print_report(Console(file=written, width=40), Report(rows=(ROW,), notes=()))
    assert "503 a gpt-4[x] stream 200 answer b a×2, b ok" in " ".join(written.getvalue().replace("│", " ").split())


def test_notes_follow() -> None:
    """What has to be known to read the rows."""
    assert "note: gateway.ledger was left out" in printed(ROW, notes=("gateway.ledger was left out",))
