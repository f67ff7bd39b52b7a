"""Lines of the access log go out soon, whole, and several at once."""

from __future__ import annotations

import asyncio

from extproc.server.standard_output import StandardOutput


class Written:
    """Keeps each write by itself."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.something = asyncio.Event()

    def __call__(self, data: bytes) -> None:
        self.writes.append(data)
        self.something.set()


async def test_lines_go_out_together_and_soon() -> None:
    """In their order, without anybody's asking."""
    written = Written()
    output = StandardOutput(written)
    for line in (b"a\n", b"b\n"):
        output.write_line(line)
    assert written.writes == []
    await written.something.wait()
    assert written.writes == [b"a\nb\n"]


async def test_no_write_is_so_long_that_it_could_be_torn() -> None:
    """4096 bytes are written to a pipe at once or not at all; a longer line goes by itself."""
    written = Written()
    output = StandardOutput(written)
    lines = [b"x" * 1_499 + b"\n"] * 5 + [b"y" * 9_000 + b"\n", b"z\n"]
    for line in lines:
        output.write_line(line)
    output.flush()
    assert b"".join(written.writes) == b"".join(lines)
    assert [len(write) for write in written.writes] == [3_000, 3_000, 1_500, 9_001, 2]
    output.flush()
    assert len(written.writes) == 5
