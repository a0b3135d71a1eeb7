"""One client's view of the log of MCP servers: the backlog, then what comes, each line once and in order."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from api.sse import Reader, hub
from models.errors import Unavailable
from workers.mcp_logs import Ring, is_older

PING = b": ping\n\n"
PING_SECONDS = 15.0
WAIT_SECONDS = 1.0  # for a line, so that a hang-up is noticed
AGAIN_SECONDS = 2.0  # between tries while Redis is away


@dataclass
class LogStream:
    """`last`: the id that the client has seen last, None for the last `tail` lines."""

    ring: Ring
    last: str | None
    tail: int
    holder: str
    connection: socket.socket | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            with hub.attending(self.holder, self.connection) as reader:
                oldest, newest = self.ring.ends()
                yield frame("connected", {})
                yield from self._backlog(oldest, newest)
                yield from self._live(reader)
        finally:
            self.ring.close()

    def _backlog(self, oldest: str | None, newest: str) -> Iterator[bytes]:
        """Up to `newest`, where the live part begins."""
        if self.last is None:
            yield from (line(entry) for entry in self.ring.tail(self.tail) if not is_older(newest, entry["id"]))
            self.last = newest
        elif oldest is not None and is_older(self.last, oldest):
            yield frame("gap", {"after": self.last, "oldest": oldest})

    def _live(self, reader: Reader) -> Iterator[bytes]:
        pinged = time.monotonic()
        while not reader.closed:
            try:
                self.last, found = self.ring.wait(self.last, WAIT_SECONDS)
            except Unavailable as error:
                yield frame("error", {"detail": error.message})
                time.sleep(AGAIN_SECONDS)
                continue
            yield from map(line, found)
            if time.monotonic() - pinged > PING_SECONDS:
                pinged = time.monotonic()
                yield PING


def frame(event: str, data: dict[str, Any], number: str | None = None) -> bytes:
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {event}\ndata: {orjson.dumps(data).decode()}\n\n".encode()


def line(entry: dict[str, Any]) -> bytes:
    shown = {name: entry[name] for name in ("line", "level", "ts", "server_id", "stream")}
    return frame("log", shown, entry["id"])
