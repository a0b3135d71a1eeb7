"""The open sessions with MCP servers, all in the supervisor: who may be open, for how long, and how many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from models import config, database, mcp, mcp_configs, mcp_secrets, settings
from models.errors import Conflict, Unavailable
from models.redaction import Redactor
from workers.clients.mcp import oauth
from workers.clients.mcp.session import Log, Session
from workers.mcp import why_idle
from workers.mcp_login_flows import Logins

log = structlog.get_logger(__name__)

STARTS_AT_ONCE = 8

Key = tuple[int, int]  # generation, restarts that a person asked for


@dataclass(frozen=True, slots=True)
class Wanted:
    """A server as its row has it now, its secrets filled in. `secret`: what must not be written anywhere."""

    key: Key
    entry: dict[str, Any]
    box: dict[str, Any]
    secret: dict[str, str]

    @property
    def is_far(self) -> bool:
        return "url" in self.entry


class Sessions:
    """`alarm` is called with the id of a server whose session has ended by itself."""

    def __init__(self, write: Log, alarm: Callable[[str], None]) -> None:
        self._write, self._alarm = write, alarm
        self.open: dict[str, Session] = {}
        self.asleep: dict[str, Key] = {}
        self._fallen: dict[str, str] = {}  # why the last session ended, until somebody asks
        self._locks: dict[str, asyncio.Lock] = {}
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self._logins = Logins(load)

    # --- requests ---

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to one request. Raises DjinnBotError."""
        server_id = request["server_id"]
        if request["op"] in ("authorize", "authorized"):
            return await getattr(self._logins, request["op"])(request)
        if request["op"] == "call":
            return await self._call(server_id, request)
        if request["op"] == "check":
            if self.asleep.get(server_id) == tuple(request["key"]):
                return {"asleep": True}
            if why := self._fallen.pop(server_id, None):
                raise Unavailable(why)
        session, opened = await self._session(server_id)
        try:
            tools, left_out = await session.tools()
        except Exception:
            await self._drop(session)
            raise
        return {"tools": tools, "left_out": left_out, "opened": opened}

    async def _call(self, server_id: str, request: dict[str, Any]) -> dict[str, Any]:
        session, _ = await self._session(server_id)
        try:
            return await session.call(request["tool"], request["arguments"], request["timeout"])
        except Unavailable as error:
            await self._fall(session, error.message)
            raise

    async def _session(self, server_id: str) -> tuple[Session, bool]:
        """(the open session, whether it was opened just now). Raises Unavailable, Conflict, ConfigError."""
        async with self._locks.setdefault(server_id, asyncio.Lock()):
            wanted = await asyncio.to_thread(load, server_id)
            session = self.open.get(server_id)
            if session is not None and session.is_open and session.key == wanted.key:
                return session, False
            if session is not None:
                await self._drop(session)
            return await self._opened(server_id, wanted), True

    async def _opened(self, server_id: str, wanted: Wanted) -> Session:
        def write(level: str, stream: str, line: str) -> None:
            self._write(server_id, level, stream, line)

        auth = await asyncio.to_thread(oauth.login, server_id, wanted.entry["url"]) if wanted.is_far else None
        session = Session(server_id, wanted.key, wanted.entry, wanted.box, Redactor(wanted.secret), write, auth)
        await self._make_room(session)
        self.open[server_id] = session
        async with self._starts:
            try:
                await session.open()
            except BaseException:
                self.open.pop(server_id, None)
                raise
        session.on_end(lambda why: self._ended(session, why))
        self.asleep.pop(server_id, None)
        self._fallen.pop(server_id, None)
        write("info", "supervisor", "connected")
        return session

    async def _make_room(self, session: Session) -> None:
        """Of the programs that nobody uses the one unused for longest must go if there are too many."""
        most = config.get().mcp_max_processes
        programs = [other for other in self.open.values() if other.is_program]
        if not session.is_program or len(programs) < most:
            return
        idle = sorted((other for other in programs if other.is_idle), key=lambda other: other.used)
        if not idle:
            raise Unavailable(f"{most} programs run already (MCP_MAX_PROCESSES)")
        await self._sleep(idle[0])

    # --- ends ---

    def _ended(self, session: Session, why: str) -> None:
        """It ended by itself."""
        if self.open.get(session.server_id) is session:
            del self.open[session.server_id]
            self._fallen[session.server_id] = why
            self._alarm(session.server_id)

    async def _fall(self, session: Session, why: str) -> None:
        self._ended(session, why)
        await session.close()

    async def _drop(self, session: Session) -> None:
        if self.open.get(session.server_id) is session:
            del self.open[session.server_id]
        await session.close()

    async def _sleep(self, session: Session) -> None:
        self.asleep[session.server_id] = session.key
        await self._drop(session)
        self._write(session.server_id, "info", "supervisor", "sent to sleep until the next call")

    async def settle(self, wanted: dict[str, Key]) -> None:
        """Closes what is not to be open, or was opened for another configuration, and what is idle."""
        self.asleep = {server_id: key for server_id, key in self.asleep.items() if wanted.get(server_id) == key}
        patience = settings.get("mcpIdleShutdownSec")
        for session in list(self.open.values()):
            if wanted.get(session.server_id) != session.key:
                await self._drop(session)
            elif patience and session.is_idle and time.monotonic() - session.used > patience:
                await self._sleep(session)

    async def close(self) -> None:
        await asyncio.gather(*(self._drop(session) for session in list(self.open.values())))


def load(server_id: str) -> Wanted:
    """The server as stored now. Raises Conflict if it is not to run, ConfigError if a secret is missing."""
    with database.connection():
        server = mcp.find(server_id)
        if why := why_idle(server):
            raise Conflict(f"{server_id} does not run: {why}", "server_not_running")
        literals = mcp.literals(server)
        values = mcp_secrets.values(server_id, server.generation, mcp_configs.references(server.config))
        entry = mcp_configs.resolve(mcp_configs.reveal(server.config, literals), values)
        return Wanted((server.generation, server.restart_wanted), entry, server.sandbox, literals | values)


def wanted() -> dict[str, Key]:
    """{server id: key} of all that may be open now."""
    with database.connection():
        return {
            server.id: (server.generation, server.restart_wanted) for server in mcp.wanted() if why_idle(server) is None
        }
