"""Nudges: ids published on Redis whose holders should look at the database now instead of in half a second."""

from __future__ import annotations

import threading
import time

import redis
import structlog

from workers.broker import client
from workers.keeper import Keeper
from workers.publisher import CONTROL, FEED_DATABASE

log = structlog.get_logger(__name__)

RECONNECT_SECONDS = 1.0


def listen(keeper: Keeper) -> None:
    """Passes every nudge on to the keeper, for the life of the process."""
    threading.Thread(target=_listen, args=(keeper,), name="control", daemon=True).start()


def _listen(keeper: Keeper) -> None:
    while True:
        try:
            feed = client(FEED_DATABASE, timeout=None).pubsub(ignore_subscribe_messages=True)
            feed.subscribe(CONTROL)
            for _ in feed.listen():
                keeper.nudge()
        except (redis.RedisError, OSError) as error:
            log.warning("control_feed", error=str(error))
            time.sleep(RECONNECT_SECONDS)
