"""Tells live readers through Redis what was just committed. Best effort: readers also look into SQL.

Channel `events:<stream>` carries `[[seq, type, data], ...]`; `control` carries ids whose holders should look at once.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time

import orjson
import redis
import structlog

from models import events
from workers.broker import client

log = structlog.get_logger(__name__)

FEED_DATABASE = 0
TIMEOUT_SECONDS = 1.0
REST_SECONDS = 1.0
BACKLOG = 10_000  # hints kept while Redis is slow; beyond it they are dropped
CONTROL = "control"


class Publisher:
    """One background thread (a greenlet in workers and the API) that publishes in pipelined batches."""

    def __init__(self) -> None:
        self._client = client(FEED_DATABASE, TIMEOUT_SECONDS)
        self._queue: queue.Queue = queue.Queue(BACKLOG)

    def start(self) -> Publisher:
        events.listeners.append(self.events)
        threading.Thread(target=self._run, name="publisher", daemon=True).start()
        return self

    def events(self, frames: list[tuple[str, int, str, str]]) -> None:
        """Hook of `models.events`: (stream, seq, type, data) rows in order."""
        for stream, group in itertools.groupby(frames, key=lambda frame: frame[0]):
            self._put(f"events:{stream}", orjson.dumps([frame[1:] for frame in group]))

    def nudge(self, object_id: str) -> None:
        """Makes the workers that hold something of `object_id` check their leases now."""
        self._put(CONTROL, object_id.encode())

    def _put(self, channel: str, message: bytes) -> None:
        try:
            self._queue.put_nowait((channel, message))
        except queue.Full:
            log.warning("hint_dropped", channel=channel)

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < 500 and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            self._publish(batch)

    def _publish(self, batch: list[tuple[str, bytes]]) -> None:
        pipe = self._client.pipeline(transaction=False)
        for channel, message in batch:
            pipe.publish(channel, message)
        try:
            pipe.execute()
        except (redis.RedisError, OSError) as error:
            log.warning("publish_failed", hints=len(batch), error=str(error))
            time.sleep(REST_SECONDS)


publisher = Publisher()
