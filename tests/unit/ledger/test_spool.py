"""The worker's side: a line per record that survives the process, bounded, and whole or recognized as damaged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc.ledger import spool as spool_module
from extproc.ledger.segments import Segments
from extproc.ledger.spool import Spool, SpoolUnavailable, prepare_spool, read_line, spooled_bytes, to_line

LIMIT = 64 << 20


@pytest.fixture
def spool(spool_directory: Path) -> Iterator[Spool]:
    """One worker's."""
    made = Spool(spool_directory, limit=LIMIT)
    yield made
    made.close()


def read_all(directory: Path) -> list[object]:
    """The numbers in all segments, in order."""
    segments = Segments(directory)
    return [entry["n"] for path in segments.paths() for entry in segments.read(path).entries]


def test_an_entry_can_be_read_while_its_worker_lives(spool: Spool, spool_directory: Path) -> None:
    """Nothing waits in memory."""
    assert all(spool.write({"n": number}) for number in range(3))
    assert read_all(spool_directory) == [0, 1, 2]


def test_what_was_written_survives_a_kill(spool_directory: Path) -> None:
    """SIGKILL right behind the last write."""
    program = (
        "import os, sys; from pathlib import Path; from extproc.ledger.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), limit=1 << 30)\n"
        "for number in range(500): assert spool.write({'n': number})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(spool_directory)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert read_all(spool_directory) == list(range(500))
    segments = Segments(spool_directory)
    (path,) = segments.paths()
    segments.advance(segments.read(path))
    segments.remove_finished(path)
    assert segments.paths() == []


def test_a_segment_stays_while_its_worker_may_write_to_it(spool: Spool, spool_directory: Path) -> None:
    """Or what comes next would be written into a file that is gone."""
    spool.write({"n": 0})
    segments = Segments(spool_directory)
    (path,) = segments.paths()
    segments.advance(segments.read(path))
    assert not segments.remove_finished(path)
    assert segments.paths() == [path]
    spool.close()
    segments.remove_finished(path)
    assert segments.paths() == []


def test_a_segment_stays_while_something_in_it_is_unread(spool: Spool, spool_directory: Path) -> None:
    """Also one whose worker has ended in the meantime."""
    spool.write({"n": 0})
    segments = Segments(spool_directory)
    (path,) = segments.paths()
    segments.advance(segments.read(path))
    spool.write({"n": 1})
    spool.close()
    segments.remove_finished(path)
    assert [entry["n"] for entry in segments.read(path).entries] == [1]


def test_a_worker_lives_until_it_ends_whichever_segment_it_writes_to(
    spool: Spool, spool_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one that ends in order, nothing is left."""
    monkeypatch.setattr(spool_module, "_SEGMENT_BYTES", 10)
    spool.write({"n": 0})
    segments = Segments(spool_directory)
    (first,) = segments.paths()
    spool.write({"n": 1})
    assert len(segments.paths()) == 2
    assert all(segments.worker_lives(path) for path in segments.paths())
    segments.sweep(now=time.time())
    assert segments.worker_lives(first)
    spool.close()
    assert not segments.worker_lives(first)
    assert [path.suffix for path in spool_directory.iterdir()] == [".jsonl", ".jsonl"]


def test_a_killed_worker_is_known_to_be_gone(spool_directory: Path) -> None:
    """What it left is swept away; a segment of an earlier version has no worker that could be asked for."""
    program = (
        "import os, sys; from pathlib import Path; from extproc.ledger.spool import Spool\n"
        "Spool(Path(sys.argv[1]), limit=1 << 30).write({'n': 1}); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(spool_directory)], check=False)
    segments = Segments(spool_directory)
    (path,) = segments.paths()
    assert {file.suffix for file in spool_directory.iterdir()} == {".jsonl", ".worker"}
    assert not segments.worker_lives(path)
    assert not segments.worker_lives(path.with_name("00000000000000000001-12345678.jsonl"))
    segments.sweep(now=time.time())
    assert list(spool_directory.iterdir()) == [path]


def test_a_full_segment_is_followed_by_another(
    spool: Spool, spool_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what is booked can be removed."""
    monkeypatch.setattr(spool_module, "_SEGMENT_BYTES", 100)
    for number in range(20):
        assert spool.write({"n": number})
    assert len(Segments(spool_directory).paths()) > 1
    assert read_all(spool_directory) == list(range(20))


def test_no_more_than_the_limit_is_kept_waiting(
    spool_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once, told for each record, and over when there is room again."""
    monkeypatch.setattr(spool_module, "_SEGMENT_BYTES", 100)
    monkeypatch.setattr(spool_module, "_RETRY_SECONDS", 0.0)
    spool = Spool(spool_directory, limit=1_000)
    written = [spool.write({"n": number}) for number in range(200)]
    assert True in written
    assert not written[-1]
    assert 1_000 <= spooled_bytes(spool_directory) < 1_200
    assert sum("records are lost" in record.message for record in caplog.records) == 1
    for path in Segments(spool_directory).paths():
        path.unlink()
    assert spool.write({"n": 200})
    assert "takes records again" in caplog.text
    spool.close()


def test_a_directory_is_made_and_left_empty(tmp_path: Path) -> None:
    """What was tried in it is gone."""
    directory = tmp_path / "var" / "spool"
    prepare_spool(directory)
    prepare_spool(directory)
    assert list(directory.iterdir()) == []


def test_a_directory_that_takes_no_files_is_told_at_the_start(tmp_path: Path) -> None:
    """A file that stands where one of its parents should be keeps root out as well."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolUnavailable, match=r"file/spool cannot be written: Not a directory$"):
        prepare_spool(tmp_path / "file" / "spool")


def test_a_directory_that_cannot_be_made_costs_records_and_not_replies(tmp_path: Path) -> None:
    """The caller counts them."""
    (tmp_path / "file").touch()
    spool = Spool(tmp_path / "file" / "spool", limit=LIMIT)
    assert not spool.write({"n": 0})
    spool.close()


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="empty"),
        pytest.param(to_line({"n": 1})[:-3], id="torn"),
        pytest.param(b"00000000 {}", id="other-checksum"),
        pytest.param(b"nonsense", id="nonsense"),
    ],
)
def test_a_damaged_line_is_recognized(line: bytes) -> None:
    """It is no record."""
    assert read_line(line) is None


def test_a_torn_line_waits_for_its_end_and_costs_no_other(spool_directory: Path) -> None:
    """A power cut left the last one; the ones before it are whole."""
    spool_directory.mkdir()
    path = spool_directory / "1.jsonl"
    path.write_bytes(to_line({"n": 1}) + b"garbage\n" + to_line({"n": 2}) + to_line({"n": 3})[:-5])
    segments = Segments(spool_directory)
    piece = segments.read(path)
    assert ([entry["n"] for entry in piece.entries], piece.damaged) == ([1, 2], 1)
    segments.advance(piece)
    assert segments.read(path).entries == ()
    assert segments.remove_finished(path)
    assert not path.exists()


def test_only_one_writer_reads_a_spool(spool_directory: Path) -> None:
    """A second process waits, and takes over when the first is gone."""
    with Segments(spool_directory).owned() as first, Segments(spool_directory).owned() as second:
        assert (first, second) == (True, False)
    with Segments(spool_directory).owned() as third:
        assert third


def test_what_a_killed_worker_had_just_made_is_swept_away(spool_directory: Path) -> None:
    """Files without a name hold nothing; a new one may get its name yet."""
    spool_directory.mkdir()
    old, new = spool_directory / "1.new", spool_directory / "2.new"
    old.touch()
    os.utime(old, (0, 0))
    new.touch()
    Segments(spool_directory).sweep(now=new.stat().st_mtime)
    assert (old.exists(), new.exists()) == (False, True)
