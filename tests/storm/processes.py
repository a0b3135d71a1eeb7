"""The process table, as /proc tells it."""

from __future__ import annotations

import os
from pathlib import Path


def with_environment(entry: str) -> list[int]:
    """Processes, this one excepted, that were started with `NAME=value` in their environment."""
    mark = f"{entry}\0".encode()
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and mark in _read(Path(f"/proc/{pid}/environ"))]


def command(pid: int) -> str:
    return _read(Path(f"/proc/{pid}/cmdline")).replace(b"\0", b" ").decode(errors="replace")


def ancestors(pid: int) -> set[int]:
    """The process and all above it."""
    found = set()
    while pid > 1:
        found.add(pid)
        status = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
        pid = int(status[1]) if status else 0
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""
