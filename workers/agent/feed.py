"""The feed of an attempt: streamed text as events, in batches of at most 100 ms or 2 KiB.

One loop flushes all feeds of a process in one transaction, so that two hundred streams cost ten commits a second.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import structlog

from models import database, redaction, runs
from models.errors import LeaseLost, Unavailable
from models.events import Event
from models.runs import Run
from models.status import RunStatus
from pipelines.state import Visit
from workers import walks
from workers.holds import Hold

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 0.1
EVENT_BYTES = 2048  # of text in one event
EVENT_CHARS = EVENT_BYTES // 4  # the same where characters take up to four bytes

Pieces = list[tuple[str, int, str]]  # (event type, turn, text)


class Feed:
    def __init__(self, run: Run, visit: Visit, hold: Hold) -> None:
        self.hold = hold
        self._run, self._visit = run, visit
        self._pieces: Pieces = []
        self.redactor = redaction.NOTHING  # for what this attempt writes
        self._streams: dict[tuple[str, int], redaction.Stream] = {}
        self.lock = threading.Lock()
        self._flushed = time.monotonic()

    def __enter__(self) -> Feed:
        _feeds.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _feeds.remove(self)

    def add(self, type: str, turn: int, text: str) -> None:
        """One piece of `agent_output` or `agent_thinking`. Raises LeaseLost if this attempt was taken away."""
        self.hold.check()
        if self.redactor:
            text = self._streams.setdefault((type, turn), redaction.Stream(self.redactor)).feed(text)
        if text:
            self._pieces.append((type, turn, text))
        if not flusher.running and time.monotonic() - self._flushed > FLUSH_SECONDS:
            flush([self])

    def take(self) -> list[Event]:
        """The events of what is pending; they are the caller's to store. Call it outside a transaction."""
        with self.lock:
            self._pieces += [(*place, rest) for place, stream in self._streams.items() if (rest := stream.rest())]
            self._streams.clear()
            return self.events(self.swap())

    def clean_error(self, text: Any) -> Any:
        """The text of an error as it may be written: without the step's secrets and the server's own."""
        return redaction.server().clean_all(self.redactor.clean_all(text))

    def swap(self) -> Pieces:
        """What is pending, which then is no longer."""
        pieces, self._pieces, self._flushed = self._pieces, [], time.monotonic()
        return pieces

    def restore(self, pieces: Pieces) -> None:
        """Puts back what could not be stored."""
        self._pieces = pieces + self._pieces

    def events(self, pieces: Pieces) -> list[Event]:
        return [
            walks.event(self._run, type, self._visit, text=part, turn=turn, message_id=None)
            for type, turn, text in _merged(pieces)
            for part in _cut(text)
        ]

    def write(self, pieces: Pieces) -> None:
        """Stores the pieces inside the caller's transaction; who has lost the visit hears of it here."""
        try:
            recorded, place = self.events(pieces), {"at_epoch": self.hold.epoch, "fence": self.hold.fence}
            runs.write(self._run.id, recorded, at_status=(RunStatus.RUNNING, RunStatus.PAUSED), **place)
        except LeaseLost as lost:
            self.hold.interrupt(lost)

    @property
    def pending(self) -> bool:
        return bool(self._pieces)


def _merged(pieces: Pieces) -> Pieces:
    """Neighbours of one type and turn joined."""
    merged: list[list] = []
    for type, turn, text in pieces:
        if merged and merged[-1][:2] == [type, turn]:
            merged[-1][2].append(text)
        else:
            merged.append([type, turn, [text]])
    return [(type, turn, "".join(texts)) for type, turn, texts in merged]


def _cut(text: str) -> list[str]:
    """Parts of at most 2 KiB of UTF-8 that never split a character."""
    size = EVENT_BYTES if text.isascii() else EVENT_CHARS
    return [text[start : start + size] for start in range(0, len(text), size)]


def flush(feeds: list[Feed]) -> None:
    """Stores what the feeds have pending in one transaction; on a database failure it stays pending."""
    busy = sorted((feed for feed in feeds if feed.pending), key=lambda feed: feed.hold.key)
    if not busy:
        return
    with contextlib.ExitStack() as locks:
        for feed in busy:
            locks.enter_context(feed.lock)
        taken = [(feed, feed.swap()) for feed in busy]
        try:
            with database.transaction():
                for feed, pieces in taken:
                    feed.write(pieces)
        except Unavailable as error:
            log.warning("flush_failed", feeds=len(busy), error=error.message)
            for feed, pieces in taken:
                feed.restore(pieces)


class Flusher:
    """The loop that flushes every feed of the process ten times a second."""

    def __init__(self) -> None:
        self.running = False

    def start(self) -> None:
        self.running = True
        threading.Thread(target=self._run, name="flusher", daemon=True).start()

    def _run(self) -> None:
        while self.running:
            time.sleep(FLUSH_SECONDS)
            flush(list(_feeds))


flusher = Flusher()
_feeds: list[Feed] = []
