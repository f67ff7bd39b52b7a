"""CPU time of other processes, from /proc; None where the system has no such thing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def cpu_seconds(pids: Iterable[int]) -> float | None:
    """User and system time that the processes have used so far."""
    if not Path("/proc/self/stat").is_file():
        return None
    return sum(map(_ticks, pids)) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    """https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
