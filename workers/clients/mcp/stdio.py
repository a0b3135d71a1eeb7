"""An MCP server that is a program: started in the sandbox, its frames bounded, its whole process group ended.

The SDK's own transport reads lines of any length and starts programs beside us; this one feeds the SDK's streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import structlog
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

READ_BYTES = 65_536
MAX_FRAME = 8 * 1024 * 1024  # bytes of one message
MAX_MESSAGES, WINDOW_SECONDS = 5_000, 10.0  # more in that time is a flood
MAX_GARBAGE = 50  # lines that are no message, before the program is given up
MAX_LINE = 8192  # bytes of a line that is shown
LAST_WORDS = 20  # lines of standard error that may say why it ended
TOLD_WORDS = 3  # of them, that are told
CLOSE_SECONDS = 1.0  # to end by itself once its input is closed
REAP_SECONDS = 5.0
POLL_SECONDS = 0.01
LAST_WORDS_SECONDS = 0.05  # they may still be on their way when it has ended

log = structlog.get_logger(__name__)

Say = Callable[[str, str], None]  # (stream, line)


class ServerEnded(Exception):
    """The program is over, or is not to go on; the message says why."""


@dataclass
class Program:
    """`say` gets every line that is not a message. `ended` is called once, with the reason, when it ends by itself."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    say: Say
    ended: Callable[[str], None]
    last_words: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_WORDS))
    garbage: int = 0
    _window: tuple[float, int] = (0.0, 0)  # since when, how many messages

    @contextlib.asynccontextmanager
    async def transport(self) -> AsyncIterator[tuple]:
        """The two streams of the SDK. Raises OSError if the program cannot be started."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self.argv, env=dict(self.env), cwd=self.cwd, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        incoming_in, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, outgoing_out = anyio.create_memory_object_stream[SessionMessage](0)
        tasks = [
            asyncio.create_task(self._read(process, incoming_in)),
            asyncio.create_task(self._write(process, outgoing_out)),
            asyncio.create_task(self._listen(process.stderr)),
        ]
        try:
            yield incoming, outgoing
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process, tasks)
            for stream in (incoming_in, incoming, outgoing, outgoing_out):
                stream.close()

    async def _read(self, process: asyncio.subprocess.Process, incoming) -> None:
        """Passes messages on until the program ends or misbehaves; then nobody waits for more."""
        why = "it ended"
        try:
            async for line in frames(process.stdout):
                if (message := self._parsed(line)) is not None:
                    await incoming.send(message)
        except ServerEnded as error:
            why = str(error)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):  # the session was closed first
            return
        self.ended(await self._reason(process, why))
        incoming.close()

    async def _reason(self, process: asyncio.subprocess.Process, why: str) -> str:
        if why == "it ended":
            await _has_ended(process, CLOSE_SECONDS)
            await asyncio.sleep(LAST_WORDS_SECONDS)
            code = process.returncode
            why = (
                "it closed its output"
                if code is None
                else f"it ended with {'signal' if code < 0 else 'code'} {abs(code)}"
            )
        return ": ".join(filter(None, (why, self.telling_words())))

    def telling_words(self) -> str:
        """The last lines of standard error, those that speak of errors if there are any."""
        errors = [line for line in self.last_words if level_of(line) == "error"]
        return " | ".join(line.strip() for line in [*(errors or self.last_words)][-TOLD_WORDS:])

    def _parsed(self, line: bytes) -> SessionMessage | None:
        """Raises ServerEnded once too many lines were no messages, or too many came at once."""
        if not line.strip():
            return None
        self._count()
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
        except (ValueError, RecursionError):
            self.garbage += 1
            self.say("stdout", shown(line))
        if self.garbage > MAX_GARBAGE:
            raise ServerEnded(f"it wrote more than {MAX_GARBAGE} lines that are no messages")
        return None

    def _count(self) -> None:
        since, count = self._window
        now = time.monotonic()
        self._window = (since, count + 1) if now - since < WINDOW_SECONDS else (now, 1)
        if self._window[1] > MAX_MESSAGES:
            raise ServerEnded(f"it sent more than {MAX_MESSAGES} messages within {WINDOW_SECONDS:g} s")

    async def _write(self, process: asyncio.subprocess.Process, outgoing) -> None:
        with contextlib.suppress(OSError):  # the reader sees the end, too
            async for item in outgoing:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(text.encode() + b"\n")
                await process.stdin.drain()

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        async for line in frames(stderr, MAX_LINE, cut=True):
            text = shown(line)
            if text.strip():
                self.last_words.append(text[:500])
                self.say("stderr", text)


async def frames(stream: asyncio.StreamReader, limit: int = MAX_FRAME, cut: bool = False) -> AsyncIterator[bytes]:
    """The lines of a stream; what follows the last line end is none. A longer one is `cut`, or raises ServerEnded."""
    held, skipping = bytearray(), False
    while data := await stream.read(READ_BYTES):
        held += data
        *lines, rest = held.split(b"\n") if b"\n" in data else (held,)
        for line in lines:
            if not skipping:
                yield bytes(line[:limit]) if cut else _within(line, limit)
            skipping = False
        held = bytearray(rest)
        if len(held) > limit:
            if not cut:
                raise ServerEnded(f"it sent a message of more than {limit} bytes")
            if not skipping:
                yield bytes(held[:limit])
            held, skipping = bytearray(), True
    if cut and held:
        yield bytes(held[:limit])


def _within(line: bytes, limit: int) -> bytes:
    if len(line) > limit:
        raise ServerEnded(f"it sent a message of more than {limit} bytes")
    return bytes(line)


def shown(line: bytes) -> str:
    return line[:MAX_LINE].decode("utf-8", "replace").rstrip("\r")


async def _end(process: asyncio.subprocess.Process, tasks: list[asyncio.Task]) -> None:
    """Closes its input, waits a moment, and kills the group whatever happened."""
    process.stdin.close()
    await _has_ended(process, CLOSE_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if not await _has_ended(process, REAP_SECONDS):
        log.error("mcp_program_stays", pid=process.pid)
    process._transport.close()  # a full pipe that nobody reads would keep it open


async def _has_ended(process: asyncio.subprocess.Process, seconds: float) -> bool:
    """Whether it ends in that time; `wait` would also wait for who holds its pipes."""
    deadline = time.monotonic() + seconds
    while process.returncode is None and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
    return process.returncode is not None


def level_of(line: str) -> str:
    """What a line of standard error is, by its words."""
    lower = line.lower()
    if any(word in lower for word in ("error", "fatal", "critical", "exception", "traceback")):
        return "error"
    return "warn" if "warn" in lower else "info"
