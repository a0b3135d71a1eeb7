"""Running another program: output capped while it is read, the whole process group killed whatever happens."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

READ_BYTES = 65_536
TICK_SECONDS = 0.25  # how soon the end of a program is seen whose children keep its output open
REAP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Result:
    """`output` is standard output and error as they came; `exit_code` is negative for a signal."""

    exit_code: int
    output: str
    truncated: bool
    timed_out: bool


class Capture:
    """Keeps the first and the last half of `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head, self._tail, self._dropped = bytearray(), bytearray(), 0

    def add(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if (excess := len(self._tail) - self._half) > 0:
            self._dropped += excess
            del self._tail[:excess]

    @property
    def truncated(self) -> bool:
        return self._dropped > 0

    @property
    def text(self) -> str:
        head, tail = (bytes(part).decode("utf-8", "replace") for part in (self._head, self._tail))
        return f"{head}\n[... {self._dropped} bytes left out ...]\n{tail}" if self._dropped else head + tail


def run(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float, output_limit: int, stdin: bytes = b""
) -> Result:
    """The result of `argv` once it has ended or `timeout` seconds are over; none of its group outlives this call."""
    child = subprocess.Popen(
        argv,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        bufsize=0,
    )
    capture = Capture(output_limit)
    try:
        _feed(child, stdin)
        timed_out = not _read(child, capture, time.monotonic() + timeout)
    finally:
        _end(child)
    return Result(child.returncode, capture.text, capture.truncated, timed_out)


def _feed(child: subprocess.Popen, stdin: bytes) -> None:
    """`stdin` is short: it fits the pipe."""
    with contextlib.suppress(BrokenPipeError), child.stdin:
        child.stdin.write(stdin)


def _read(child: subprocess.Popen, capture: Capture, deadline: float) -> bool:
    """Whether the program ended before the deadline."""
    output = child.stdout.fileno()
    poll = select.poll()
    poll.register(output, select.POLLIN | select.POLLHUP)
    while (left := deadline - time.monotonic()) > 0:
        has_ended = child.poll() is not None
        if poll.poll(0 if has_ended else min(left, TICK_SECONDS) * 1000):
            data = os.read(output, READ_BYTES)
            capture.add(data)
            if not data and _has_ended(child, deadline):
                return True
        elif has_ended:
            return True
    return False


def _has_ended(child: subprocess.Popen, deadline: float) -> bool:
    """Wait for a program that has closed its output."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(max(0.0, deadline - time.monotonic()))
    return child.returncode is not None


def _end(child: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait(REAP_SECONDS)
    child.stdout.close()
