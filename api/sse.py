"""The hub: one reader of Redis per process for all open event streams, a bounded queue per client.

Redis only says that something is there, and usually what. Whatever it does not say in order is read from SQL: at once
when a number is missing, and for every stream with readers once a second, so streams work, slower, without Redis.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import orjson
import peewee
import redis
import structlog

from api.feeds import Frame, GlobalFeed, StreamFeed, heads
from api.hangups import hung_up
from models import logins, tokens
from models.errors import DjinnBotError, TooMany
from workers.broker import client
from workers.publisher import FEED_DATABASE

log = structlog.get_logger(__name__)

MOST_BYTES = 1 << 20  # unsent, per client
MOST_FRAMES = 2_000
PER_TOKEN, PER_PROCESS = 20, 1_000
LOOK_SECONDS = 1.0  # between looks into SQL
KEEP_ALIVE_LOOKS = 15
TOKEN_LOOKS = 10
PAGE = 200  # frames read from SQL at once; what a client that stalls in its history holds
PREFIX = "events:"
IDLE_CHANNEL = "events:*none"  # keeps the connection in subscriber mode while nobody reads
KEEP_ALIVE = b": keep-alive\n\n"

Feed = StreamFeed | GlobalFeed


class Reader:
    """One client's queue. It gets frames from the moment it is live until it is closed."""

    def __init__(self, channel: Channel | None, holder: str, connection: socket.socket | None) -> None:
        self.channel = channel
        self.holder = holder
        self.connection = connection
        self.live = self.closed = False
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._bytes = self._frames = 0

    def go_live(self, seen: int) -> bool:
        """Whether the client has seen all that the hub has passed on: from now on it gets what comes."""
        self.live = self.live or self.channel.last <= seen
        return self.live

    def put(self, frame: Frame | None, size: int) -> None:
        """Queues a frame, None for a keep-alive; a client that is too far behind is cut off, and resumes by id."""
        if not self.live or self.closed:
            return
        self._bytes += size
        self._frames += 1
        if self._bytes > MOST_BYTES or self._frames > MOST_FRAMES:
            self.close()
            self._cut()
        else:
            self._queue.put((frame, size))

    def take(self, timeout: float | None = None) -> list[Frame | None]:
        """What has come, as soon as anything has; empty when the reader is closed or the time (seconds) is up."""
        with contextlib.suppress(queue.Empty):
            taken = [self._queue.get(timeout=timeout)]
            while not self._queue.empty():
                taken.append(self._queue.get())
            self._bytes -= sum(size for _, size in taken)
            self._frames -= len(taken)
            return [] if self.closed else [frame for frame, _ in taken]
        return []

    def close(self) -> None:
        self.closed = True
        self._queue.put((None, 0))

    def _cut(self) -> None:
        """The writer of a client that does not read is blocked, so the connection is closed under it."""
        if self.connection is not None:
            with contextlib.suppress(OSError):  # the client was quicker
                self.connection.shutdown(socket.SHUT_RDWR)


class Channel:
    """A feed with readers. `last` is the number up to which it was passed on to those that are live."""

    def __init__(self, feed: Feed, last: int) -> None:
        self.feed = feed
        self.last = last
        self.readers: set[Reader] = set()

    def pass_on(self, frame: Frame) -> None:
        self.last = frame.id
        for reader in tuple(self.readers):
            reader.put(frame, len(frame.chunk))


class Hub:
    def __init__(self) -> None:
        self.serving: Callable[[], bool] = lambda: True
        self._channels: dict[str, Channel] = {}
        self._per_holder: Counter[str] = Counter()
        self._behind: set[str] = set()
        self._apart: set[Reader] = set()
        self._wake = threading.Event()
        self._lock = threading.RLock()
        self._pubsub: redis.client.PubSub | None = None

    def start(self) -> None:
        for work in (self._listen, self._look):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()

    # --- clients ---

    def check_limits(self, holder: str) -> None:
        """Raises TooMany."""
        if self._per_holder[holder] >= PER_TOKEN or self._per_holder.total() >= PER_PROCESS:
            limits = f"{PER_TOKEN} per token, {PER_PROCESS} per process"
            raise TooMany(f"Too many open streams ({limits})", "too_many_streams", retry_after=5)

    @contextmanager
    def reading(self, feed: Feed, holder: str, connection: socket.socket | None = None) -> Iterator[Reader]:
        """A reader of the feed; the first one subscribes, the last one unsubscribes."""
        head = feed.head()
        channel = self._channels.get(feed.key)
        if channel is None:
            channel = self._channels[feed.key] = Channel(feed, head)
            self._send("subscribe", feed.key)
        reader = Reader(channel, holder, connection)
        channel.readers.add(reader)
        self._per_holder[holder] += 1
        try:
            yield reader
        finally:
            self._per_holder[holder] -= 1
            channel.readers.discard(reader)
            if not channel.readers and self._channels.get(feed.key) is channel:
                del self._channels[feed.key]
                self._send("unsubscribe", feed.key)

    @contextmanager
    def attending(self, holder: str, connection: socket.socket | None = None) -> Iterator[Reader]:
        """A reader that gets nothing from here: it is counted, and closed once its client or its token is gone."""
        reader = Reader(None, holder, connection)
        self._apart.add(reader)
        self._per_holder[holder] += 1
        try:
            yield reader
        finally:
            self._per_holder[holder] -= 1
            self._apart.discard(reader)

    def _readers(self) -> list[Reader]:
        of_feeds = [reader for channel in list(self._channels.values()) for reader in channel.readers]
        return [*of_feeds, *self._apart]

    # --- Redis ---

    def _send(self, command: str, key: str) -> None:
        """Without Redis nothing is sent: the listener subscribes to everything when it is back."""
        if self._pubsub is not None:
            with contextlib.suppress(redis.RedisError, OSError):
                getattr(self._pubsub, command)(PREFIX + key)

    def _listen(self) -> None:
        while True:
            try:
                with client(FEED_DATABASE, None).pubsub() as pubsub:
                    pubsub.subscribe(IDLE_CHANNEL, *(PREFIX + key for key in self._channels))
                    self._pubsub = pubsub
                    while True:
                        self._hear(pubsub.get_message(timeout=None))
            except (redis.RedisError, OSError) as error:
                log.warning("feed_lost", error=str(error))
            self._pubsub = None
            time.sleep(LOOK_SECONDS)

    def _hear(self, message: dict | None) -> None:
        key = message["channel"].decode().removeprefix(PREFIX) if message else None
        channel = self._channels.get(key)
        if channel is None:
            return
        if message["type"] == "message":
            frames = [channel.feed.announced(row) for row in orjson.loads(message["data"])]
            if self._pass_on(channel, frames):
                return
        # Just subscribed, or a number is missing: what came before is in SQL.
        self._behind.add(key)
        self._wake.set()

    def _pass_on(self, channel: Channel, frames: list[Frame]) -> bool:
        """Whether the frames joined on to what was passed on before."""
        with self._lock:
            for frame in frames:
                if frame.id > channel.last + 1:
                    return False
                if frame.id == channel.last + 1:
                    channel.pass_on(frame)
        return True

    # --- SQL ---

    def _look(self) -> None:
        looks, due = 0, time.monotonic() + LOOK_SECONDS
        while True:
            self._wake.wait(max(due - time.monotonic(), 0))
            self._wake.clear()
            behind, self._behind = self._behind, set()
            everything = time.monotonic() >= due
            if everything:
                looks, due = looks + 1, time.monotonic() + LOOK_SECONDS
            try:
                self._catch_up(set(self._channels) if everything else behind)
                if everything:
                    self._housekeeping(looks)
            except (DjinnBotError, peewee.PeeweeException) as error:
                log.warning("look_failed", error=str(error))

    def _catch_up(self, keys: set[str]) -> None:
        known = [key for key in keys if key in self._channels]
        for key, head in heads(known).items() if known else ():
            channel = self._channels.get(key)
            while channel and channel.last < head:
                self._read_on(channel, head)

    def _read_on(self, channel: Channel, head: int) -> None:
        frames = channel.feed.after(channel.last, PAGE)
        with self._lock:
            for frame in frames:
                if frame.id > channel.last:
                    channel.pass_on(frame)
            if len(frames) < PAGE:  # what is missing below the head was deleted
                channel.last = max(channel.last, head)

    def _housekeeping(self, looks: int) -> None:
        readers = self._readers()
        gone = hung_up(reader.connection for reader in readers if reader.connection is not None)
        for reader in readers:
            if not self.serving() or (reader.connection is not None and reader.connection.fileno() in gone):
                reader.close()
        if looks % KEEP_ALIVE_LOOKS == 0:
            for reader in readers:
                reader.put(None, len(KEEP_ALIVE))
        if looks % TOKEN_LOOKS == 0 and readers:
            holders = {reader.holder for reader in readers}
            live = tokens.still_live(holders) | logins.still_live(holders)
            for reader in readers:
                if reader.holder not in live:
                    reader.close()


hub = Hub()
