"""The supervisor of MCP servers as a child of the relay: there while a server is to run, back again if it dies."""

from __future__ import annotations

import subprocess
import sys
import time

import structlog

from models import database, mcp

log = structlog.get_logger(__name__)

COMMAND = (sys.executable, "-m", "workers.mcp_supervisor")
LOOK_SECONDS = 0.5
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds before one that died starts again
STEADY_SECONDS = 30.0  # one that lived this long starts again at once
STOP_SECONDS = 3.0  # from SIGTERM to SIGKILL


class SupervisorProcess:
    def __init__(self) -> None:
        self._child: subprocess.Popen | None = None
        self._started = self._due = self._looked = 0.0
        self._deaths = 0

    def keep(self) -> None:
        """Starts it if it is needed and not there. Raises Unavailable."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if self._child is not None and self._child.poll() is not None:
            self._mourn(self._child.returncode)
        if self._child is None and now >= self._due and _is_wanted():
            self._child, self._started = subprocess.Popen(COMMAND), now  # in our group: it ends with us

    def _mourn(self, code: int) -> None:
        """One that had nothing left to do has ended well."""
        lived = time.monotonic() - self._started
        self._child, self._due = None, time.monotonic()
        self._deaths = self._deaths + 1 if code and lived < STEADY_SECONDS else 0
        if self._deaths:
            self._due += min(FIRST_PAUSE * 2 ** (self._deaths - 1), LONGEST_PAUSE)
        if code:
            log.warning("mcp_supervisor_died", code=code)

    def stop(self) -> None:
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def _is_wanted() -> bool:
    with database.connection():
        return mcp.is_any_wanted()
