"""One client's event stream: history from SQL, then what comes, each event once and in order."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from api.feeds import CLOSING_TYPES, Frame, GlobalFeed, StreamFeed
from api.sse import KEEP_ALIVE, PAGE, Reader, hub
from models.errors import Unavailable

OPENING = b"retry: 2000\n" + KEEP_ALIVE


@dataclass(slots=True)
class Stream:
    """`last` is the number of the event the client has seen last; `wants` None: everything."""

    feed: StreamFeed | GlobalFeed
    last: int
    holder: str
    wants: Callable[[Frame], bool] | None = None
    connection: socket.socket | None = None

    def chunk(self, frame: Frame) -> bytes:
        """An event as it is sent."""
        return frame.chunk

    def control(self, type: str, **payload: Any) -> bytes:
        """A frame without `id:`, which does not move the client's cursor."""
        return b"event: %s\ndata: %s\n\n" % (type.encode(), orjson.dumps({"type": type, **payload}))

    def __iter__(self) -> Iterator[bytes]:
        yield OPENING
        try:
            with hub.reading(self.feed, self.holder, self.connection) as reader:
                yield from self._history(reader)
                end = self.feed.end(self.last)
                while end is None and (taken := reader.take()):
                    sent = b"".join(self._chunks(taken))
                    if sent:
                        yield sent
                    if any(frame and frame.type in CLOSING_TYPES for frame in taken):
                        end = self.feed.end(self.last)
                if end is not None:
                    yield self.control("end", status=end)
        except Unavailable as error:
            yield self.control("error", detail=error.message)

    def _history(self, reader: Reader) -> Iterator[bytes]:
        head = self.feed.head()
        if self.last > head:
            yield self.control("gap", from_seq=head + 1, to_seq=self.last, reason="ahead")
            self.last = head
        while not reader.go_live(self.last):
            passed_on = reader.channel.last
            frames = self.feed.after(self.last, PAGE)
            yield b"".join(self._chunks(frames))
            if len(frames) < PAGE:  # what was passed on before we looked and is not there was deleted
                yield self._gap(passed_on + 1)
        yield self.control("ready", head=max(self.last, head))

    def _chunks(self, frames: Iterable[Frame | None]) -> Iterator[bytes]:
        for frame in frames:
            if frame is None:
                yield KEEP_ALIVE
            elif frame.id > self.last:
                yield self._gap(frame.id)
                self.last = frame.id
                if self.wants is None or self.wants(frame):
                    yield self.chunk(frame)

    def _gap(self, number: int) -> bytes:
        """What to send before event `number`: nothing, unless events before it are missing."""
        first = self.last + 1
        if number <= first:
            return b""
        self.last = number - 1
        return self.control("gap", from_seq=first, to_seq=number - 1, reason="trimmed")
