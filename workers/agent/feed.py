"""The feed of an agent's work: streamed text as events, in batches of at most 100 ms or 2 KiB.

One loop flushes all feeds of a process in one transaction, so that two hundred streams cost ten commits a second.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import structlog

from models import database, redaction
from models.errors import LeaseLost, StepError, Unavailable
from models.events import Event
from workers.agent.work import Work

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 0.1
EVENT_BYTES = 2048  # of text in one event
EVENT_CHARS = EVENT_BYTES // 4  # the same where characters take up to four bytes

Pieces = list[tuple[str, int, str]]  # (event type, turn, text)


class Feed:
    """`eager`: the first piece of a turn does not wait for the batch, since a person does."""

    def __init__(self, work: Work, eager: bool = False) -> None:
        self.work, self.hold = work, work.hold
        self._pieces: Pieces = []
        self._eager, self._begun = eager, -1
        self.redactor = redaction.NOTHING  # for what this work writes
        self._streams: dict[tuple[str, int], redaction.Stream] = {}
        self.lock = threading.Lock()
        self._flushed = time.monotonic()

    def __enter__(self) -> Feed:
        _feeds.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _feeds.remove(self)

    def add(self, type: str, turn: int, text: str) -> None:
        """One piece of `agent_output` or `agent_thinking`. Raises LeaseLost if the work was taken away."""
        self.hold.check()
        if self.redactor:
            text = self._streams.setdefault((type, turn), redaction.Stream(self.redactor)).feed(text)
        if text:
            self._pieces.append((type, turn, text))
        first, self._begun = self._begun != turn and bool(text), turn
        late = not flusher.running and time.monotonic() - self._flushed > FLUSH_SECONDS
        if late or (self._eager and first):
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

    @contextlib.contextmanager
    def cleaned_errors(self) -> Iterator[None]:
        """Errors that leave the block may be written."""
        try:
            yield
        except Exception as error:
            error.args = tuple(self.clean_error(arg) for arg in error.args)
            if isinstance(error, StepError):
                error.message = self.clean_error(error.message)
            raise

    def swap(self) -> Pieces:
        """What is pending, which then is no longer."""
        pieces, self._pieces, self._flushed = self._pieces, [], time.monotonic()
        return pieces

    def restore(self, pieces: Pieces) -> None:
        """Puts back what could not be stored."""
        self._pieces = pieces + self._pieces

    def events(self, pieces: Pieces) -> list[Event]:
        return [
            self.work.event(type, text=part, turn=turn, message_id=self.work.message_id)
            for type, turn, text in _merged(pieces)
            for part in _cut(text)
        ]

    def write(self, pieces: Pieces) -> None:
        """Stores the pieces inside the caller's transaction; who has lost the work hears of it here."""
        try:
            self.work.write(self.events(pieces))
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
