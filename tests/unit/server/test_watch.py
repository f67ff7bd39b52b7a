"""However a file is replaced, what it says now is noticed once; what it said before is not told again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from extproc.server.watch import ConfigUnreadable, Watcher, read_config

FIRST = b"gateway: {drain: 1s}\n"
SECOND = b"gateway: {drain: 2s}\n"
THIRD = b"gateway: {drain: 3s}\n"
PATIENCE = 10.0
"""Seconds; a change is noticed in a third of one."""
QUIET = 0.8
"""Seconds in which something that should not come would have come: longer than the watcher's longest pause."""


class Told:
    """What the watcher told, in order: texts that were read, and problems."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | str] = asyncio.Queue()

    async def reload(self, text: bytes) -> None:
        self.queue.put_nowait(text)

    def refuse(self, problem: str) -> None:
        self.queue.put_nowait(problem)

    async def next(self) -> bytes | str:
        return await asyncio.wait_for(self.queue.get(), PATIENCE)

    async def nothing(self) -> None:
        """Nothing more is told."""
        await asyncio.sleep(QUIET)
        assert self.queue.empty(), self.queue.get_nowait()


@contextlib.asynccontextmanager
async def watched(path: Path, text: bytes | None = None) -> AsyncIterator[Told]:
    """A watcher at work; ``text`` is what is being served when it begins."""
    told = Told()
    watcher = Watcher(path, read_config(path) if text is None else text, reload=told.reload, refuse=told.refuse)
    task = asyncio.create_task(watcher.run())
    await asyncio.sleep(0.1)
    try:
        yield told
    finally:
        watcher.stop()
        await asyncio.wait_for(task, PATIENCE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration."""
    path = tmp_path / "kortex.yaml"
    path.write_bytes(FIRST)
    return path


def wakes() -> int:
    """How often the threads that wait for events have slept until now."""
    total = 0
    for thread in threading.enumerate():
        if thread.name.startswith("AnyIO"):
            status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
            total += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return total


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux counts how often a thread sleeps")
async def test_waiting_for_nothing_costs_next_to_nothing(file: Path) -> None:
    """The supervisor is idle most of its life; a busy machine makes these fewer, never more."""
    async with watched(file):
        before = wakes()
        assert before
        await asyncio.sleep(2)
        assert wakes() - before < 60


def write_in_place(path: Path, text: bytes) -> None:
    """As an editor that follows links does."""
    path.write_bytes(text)


def remove(path: Path) -> None:
    """By mistake."""
    path.unlink()


def rename_over(path: Path, text: bytes) -> None:
    """As most editors and all careful programs do."""
    aside = path.with_name("aside")
    aside.write_bytes(text)
    aside.replace(path)


def keep_a_backup(path: Path, text: bytes) -> None:
    """As vim does with ``backupcopy=no``: for a moment there is no file."""
    path.rename(path.with_name("kortex.yaml~"))
    path.write_bytes(text)


def delete_and_write(path: Path, text: bytes) -> None:
    """As deployment tools do."""
    path.unlink()
    path.write_bytes(text)


def write_slowly(path: Path, text: bytes) -> None:
    """Truncated first, then written in pieces."""
    with path.open("wb", buffering=0) as stream:
        for byte in text:
            stream.write(bytes((byte,)))


@pytest.mark.parametrize("save", [write_in_place, rename_over, keep_a_backup, delete_and_write, write_slowly])
async def test_change_is_told_once_when_saved(file: Path, save: Callable[[Path, bytes], None]) -> None:
    """Twice in a row, for the first time may end what is being watched."""
    async with watched(file) as told:
        save(file, SECOND)
        assert await told.next() == SECOND
        save(file, THIRD)
        assert await told.next() == THIRD
        await told.nothing()


async def test_nothing_is_told_when_the_content_is_the_same(file: Path) -> None:
    """Nor when something else happens beside it."""
    async with watched(file) as told:
        rename_over(file, FIRST)
        os.utime(file)
        (file.parent / "other.yaml").write_bytes(SECOND)
        await told.nothing()


async def test_change_is_told_when_it_happened_before_the_watching(file: Path) -> None:
    """While the gateway was starting."""
    async with watched(file, SECOND) as told:
        assert await told.next() == FIRST


async def test_change_is_told_when_a_link_on_its_path_is_swapped(tmp_path: Path) -> None:
    """As Kubernetes updates a volume: kortex.yaml → ..data/kortex.yaml, and ..data is replaced by another link."""
    for version, text in (("..1", FIRST), ("..2", SECOND), ("..3", THIRD)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "kortex.yaml").write_bytes(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "kortex.yaml").symlink_to("..data/kortex.yaml")

    def swap(version: str) -> None:
        (tmp_path / "..new").symlink_to(version)
        (tmp_path / "..new").replace(tmp_path / "..data")

    async with watched(tmp_path / "kortex.yaml") as told:
        swap("..2")
        assert await told.next() == SECOND
        shutil.rmtree(tmp_path / "..1")
        swap("..3")
        assert await told.next() == THIRD
        await told.nothing()


async def test_change_is_told_when_the_target_of_a_link_is_saved(tmp_path: Path) -> None:
    """A dotfile collection: the file itself lives in another directory."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kortex.yaml").write_bytes(FIRST)
    here = tmp_path / "here"
    here.mkdir()
    (here / "kortex.yaml").symlink_to(elsewhere / "kortex.yaml")
    async with watched(here / "kortex.yaml") as told:
        rename_over(elsewhere / "kortex.yaml", SECOND)
        assert await told.next() == SECOND


async def test_missing_file_is_told_once_and_again_served_when_back(file: Path) -> None:
    """Even with the same content as before, for the problem is over."""
    async with watched(file) as told:
        remove(file)
        problem = await told.next()
        assert problem == f"{file} cannot be read: No such file or directory"
        await told.nothing()
        write_in_place(file, FIRST)
        assert await told.next() == FIRST


async def test_change_is_told_when_the_directory_went_and_came_back(tmp_path: Path) -> None:
    """The system's watch of the first directory says nothing about the second."""
    directory = tmp_path / "conf"
    directory.mkdir()
    file = directory / "kortex.yaml"
    file.write_bytes(FIRST)
    async with watched(file) as told:
        shutil.rmtree(directory)
        assert "cannot be read" in str(await told.next())
        directory.mkdir()
        file.write_bytes(SECOND)
        assert await told.next() == SECOND
        rename_over(file, THIRD)
        assert await told.next() == THIRD


async def test_config_is_told_again_when_a_secret_changes(tmp_path: Path) -> None:
    """A rotated key: the text is the same, what it stands for is not."""
    secret = tmp_path / "mounted" / "key"
    file = tmp_path / "kortex.yaml"
    text = f"backends: {{a: {{provider: openai, apiKey: {{file: '{secret}'}}}}}}\n".encode()
    file.write_bytes(text + b"routes: {a: {models: [m], defaultBackend: {name: a}}}\n")
    async with watched(file) as told:
        secret.parent.mkdir()
        secret.write_text("first")
        assert await told.next() == file.read_bytes()
        rename_over(secret, b"second")
        assert await told.next() == file.read_bytes()
        secret.unlink()
        assert await told.next() == file.read_bytes()
        await told.nothing()


async def test_secret_of_a_new_text_is_watched(tmp_path: Path) -> None:
    """The files to watch are those of what is written now."""
    secret = tmp_path / "secrets" / "key"
    secret.parent.mkdir()
    secret.write_text("first")
    file = tmp_path / "kortex.yaml"
    file.write_bytes(FIRST)
    text = (
        f"backends: {{a: {{provider: openai, apiKey: {{file: '{secret}'}}}}}}\n"
        "routes: {a: {models: [m], defaultBackend: {name: a}}}\n"
    ).encode()
    async with watched(file) as told:
        rename_over(file, text)
        assert await told.next() == text
        secret.write_text("second")
        assert await told.next() == text


async def test_broken_text_is_told_like_any_other(file: Path) -> None:
    """Whoever reloads says what is wrong with it; the watcher only reads."""
    async with watched(file) as told:
        rename_over(file, b"gateway: [")
        assert await told.next() == b"gateway: ["
        rename_over(file, SECOND)
        assert await told.next() == SECOND


async def test_watching_ends_when_told_to(file: Path) -> None:
    """Soon, also while nothing happens: the fixture waits for it."""
    async with watched(file) as told:
        assert told.queue.empty()


async def test_pipe_is_refused_when_it_takes_the_file_s_place(file: Path) -> None:
    """Reading it would wait for ever, and nothing else would be noticed."""
    async with watched(file) as told:
        remove(file)
        os.mkfifo(file)
        assert await told.next() == f"{file} is no regular file"
        remove(file)
        write_in_place(file, SECOND)
        assert await told.next() == SECOND


def test_reason_is_told_when_a_file_cannot_be_read(tmp_path: Path) -> None:
    """In the words of the system."""
    with pytest.raises(ConfigUnreadable, match=r"kortex\.yaml cannot be read: No such file"):
        read_config(tmp_path / "kortex.yaml")
    with pytest.raises(ConfigUnreadable, match="cannot be read: Is a directory"):
        read_config(tmp_path)
