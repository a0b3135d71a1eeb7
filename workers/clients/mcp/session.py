"""One open session with an MCP server: the SDK's client in a task of its own, and every way it can end."""

from __future__ import annotations

import asyncio
import contextlib
import time
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx2
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult, Implementation

from models import mcp_configs
from models.errors import DjinnBotError, OutsideTimeout, Unavailable
from models.mcp_configs import SSE, STDIO
from models.redaction import Redactor
from workers.clients.mcp import programs, texts, web
from workers.clients.mcp.stdio import Program, ServerEnded, level_of
from workers.version import VERSION

MAX_PAGES = 20  # of a listing of tools
CLOSE_SECONDS = 10.0
LEVELS = {"debug": "info", "info": "info", "notice": "info", "warning": "warn"}  # the rest are errors
warnings.filterwarnings("ignore", category=MCPDeprecationWarning)

Log = Callable[[str, str, str], None]  # (level, stream, line)


class Session:
    """`key`: of the configuration that it was opened with. `redactor`: for the secrets that the server was given."""

    def __init__(
        self,
        server_id: str,
        key: tuple,
        entry: dict,
        box: dict,
        redactor: Redactor,
        log: Log,
        auth: httpx2.Auth | None = None,
    ) -> None:
        self.server_id, self.key, self.entry, self.box = server_id, key, entry, box
        self.redactor, self._log, self._auth = redactor, log, auth
        self.transport = mcp_configs.transport(entry)
        self.opened = self.used = time.monotonic()
        self.busy = 0
        self.why: str | None = None  # it ended by itself
        self.client: Client | None = None
        self._program: Program | None = None
        self._closing = asyncio.Event()
        self._on_end: Callable[[str], None] | None = None
        self._task: asyncio.Task | None = None

    @property
    def is_program(self) -> bool:
        return self.transport == STDIO

    @property
    def is_open(self) -> bool:
        return self.client is not None and self.why is None

    @property
    def is_idle(self) -> bool:
        """A program that nobody would miss."""
        return self.is_program and self.is_open and not self.busy

    async def open(self, seconds: float | None = None) -> None:
        """Raises Unavailable with the reason if the server cannot be talked to in time, by default its own."""
        ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(ready))
        seconds = seconds or mcp_configs.timeout(self.entry)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(ready)
        except TimeoutError:
            ended = self.why
            await self.close()
            late = f"it did not answer within {seconds} s{self._last_words()}"
            raise Unavailable(ended or self._clean(late)) from None
        except DjinnBotError:
            await self.close()
            raise

    async def _live(self, ready: asyncio.Future) -> None:
        """The whole life of the session; whatever ends it is its reason and nobody else's error."""
        try:
            info = Implementation(name="djinnbot", version=VERSION)
            streams = self._transport()
            async with Client(streams, client_info=info, cache=None, logging_callback=self._heard) as client:
                self.client = client
                if not ready.done():
                    ready.set_result(None)
                await self._closing.wait()
        except BaseException as error:
            self.why = self.why or self._clean(reason(error))
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self.client = None
            if not ready.done():
                ready.set_exception(Unavailable(self.why or "it ended"))
                ready.exception()  # looked at: nobody may wait for it any more

    @contextlib.asynccontextmanager
    async def _transport(self) -> AsyncIterator[tuple]:
        if self.is_program:
            self._program = programs.program(self.server_id, self.entry, self.box, self._said, self._ended)
            async with self._program.transport() as streams:
                yield streams
        elif self.transport == SSE:
            url, headers = self.entry["url"], self.entry.get("headers")
            async with sse_client(url, headers=headers, auth=self._auth, httpx_client_factory=web.client) as streams:
                yield streams
        else:
            async with (
                web.client(self.entry.get("headers"), auth=self._auth) as http,
                streamable_http_client(
                    self.entry["url"], http_client=http, max_sse_event_size=web.MAX_BYTES
                ) as streams,
            ):
                yield streams

    def on_end(self, call: Callable[[str], None]) -> None:
        """Calls it with the reason once the session, which is open, ends by itself."""
        self._on_end = call
        if self.why is not None:
            call(self.why)

    def _ended(self, why: str) -> None:
        if self._closing.is_set():
            return
        self.why = self.why or self._clean(programs.explained(why, self.box))
        self._log("error", "supervisor", self.why)
        self._closing.set()
        if self._on_end is not None:
            self._on_end(self.why)

    def _said(self, stream: str, line: str) -> None:
        self._log(level_of(line) if stream == "stderr" else "warn", stream, self._clean(line))

    async def _heard(self, message: Any) -> None:
        """A log message of the protocol."""
        text = message.data if isinstance(message.data, str) else repr(message.data)
        self._log(LEVELS.get(message.level, "error"), "protocol", self._clean(texts.clean(text, 8192)))

    def _last_words(self) -> str:
        if self._program is None:
            return ""
        words = self._program.telling_words()
        if not words and not self.box["network"]:
            return f" ({programs.NETWORK_HINT})"
        return programs.explained(f": {words}", self.box) if words else ""

    def _clean(self, text: str) -> str:
        return texts.clean(self.redactor.clean(text), 8192)

    async def close(self) -> None:
        """Ends the session and its program. Never fails, never takes long."""
        self._closing.set()
        if self._task is None:
            return
        done, _ = await asyncio.wait([self._task], timeout=0 if self.client is None else CLOSE_SECONDS)
        if not done:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)

    # --- asking ---

    async def tools(self) -> tuple[list[dict[str, Any]], list[str]]:
        """(the server's tools, why others were left out). Raises Unavailable."""
        return texts.tools(await self._ask(self._all_pages(), mcp_configs.timeout(self.entry)))

    async def _all_pages(self) -> list[Any]:
        found, cursor = [], None
        for _ in range(MAX_PAGES):
            page = await self.client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if cursor is None or len(found) > texts.MAX_TOOLS:
                break
        return found

    async def call(self, tool: str, arguments: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The result as it may be shown. Raises Unavailable, OutsideTimeout."""
        self.used = time.monotonic()
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
        # not `call_tool`, which would run the server's own output schema with whatever patterns it has
        answer = await self._ask(self.client.session.send_request(request, CallToolResult), seconds)
        self.used = time.monotonic()
        return self.redactor.clean_all(texts.result(answer))

    async def _ask(self, question: Any, seconds: float) -> Any:
        self.busy += 1
        try:
            async with asyncio.timeout(seconds):
                return await question
        except TimeoutError:
            raise OutsideTimeout(f"No answer within {seconds:g} s", "tool_timeout") from None
        except DjinnBotError:
            raise
        except Exception as error:
            if self.is_program:
                await asyncio.sleep(0.1)  # if it has just ended, that is the better reason
            raise Unavailable(self.why or self._clean(reason(error))) from error
        finally:
            self.busy -= 1


def reason(error: BaseException) -> str:
    """The one thing that went wrong, out of the groups that the SDK raises."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, DjinnBotError):
        return error.message
    if isinstance(error, anyio.ClosedResourceError | anyio.BrokenResourceError | ServerEnded):
        return str(error) or "the connection was closed"
    return f"{type(error).__name__}: {error}"[:500] if str(error) else type(error).__name__
