"""The relay: rings what is due in the outbox, numbers committed events, and (as leader) sweeps.

`python -m workers.relay`. Any number may run; one holds the lease and works, the others wait to take over.
"""

from __future__ import annotations

import os
import signal
import threading
import time

import orjson
import redis
import structlog

from models import crypto, database, events, leases, outbox, schema, workers
from models.base import new_id
from models.errors import Unavailable
from models.logs import configure_logs
from workers.activity import Activity
from workers.broker import client, ringer
from workers.mcp_process import SupervisorProcess
from workers.publisher import FEED_DATABASE
from workers.sweeper import SWEEP_SECONDS, Sweeper

log = structlog.get_logger(__name__)

LEASE_MS = 10_000
ROUND_SECONDS = 0.1  # between looks at the outbox and the events
ALL_EVENTS = "events:*all"


class Relay:
    def __init__(self) -> None:
        self.id = f"{new_id('rly_')} {workers.mark()}"
        self.stopping = threading.Event()
        self._feed = client(FEED_DATABASE, 1.0)
        self._sweeper = Sweeper()
        self._activity = Activity()
        self._mcp = SupervisorProcess()
        self._renewed = self._swept = 0.0

    def run(self) -> None:
        """Rounds until told to stop; a database that is away is waited for."""
        while not self.stopping.is_set():
            try:
                busy = self._leads() and self._round()
            except Unavailable as error:
                log.warning("relay_waits", error=error.message)
                busy = False
            self.stopping.wait(0 if busy else ROUND_SECONDS)
        self._mcp.stop()
        leases.release("relay", self.id)

    def _leads(self) -> bool:
        now = time.monotonic()
        if now - self._renewed > LEASE_MS / 3000:
            if not leases.hold("relay", self.id, LEASE_MS):
                self._renewed, self._activity = 0.0, Activity()  # the leader writes, what is known here grows old
                self.stopping.wait(0 if leases.bury("relay") else 1.0)
                return False
            self._renewed = now
        return True

    def _round(self) -> bool:
        """One round; True if there was so much to do that the next should follow at once."""
        rung, numbered = self.ring_due(), self.number_events()
        self._mcp.keep()
        if time.monotonic() - self._swept > SWEEP_SECONDS:
            self._sweeper.sweep()
            self._swept = time.monotonic()
        return rung >= 500 or numbered >= 1000

    def ring_due(self) -> int:
        """Rings every doorbell whose time has come; those that Redis did not take stay due."""
        with database.connection():
            due = outbox.due()
        again = [row for row in due if row["rings"]]
        queued = again if again and ringer.has_backlog() else []
        rung = [row for row in due if row not in queued and ringer.ring(row["actor"], row["object_id"])]
        if rung or queued:
            with database.transaction():
                outbox.rung(rung)
                outbox.postpone(queued)
        return len(rung)

    def number_events(self) -> int:
        """Gives committed events their global positions and tells the readers of the whole feed."""
        with database.connection():
            if not events.has_unnumbered():
                return 0
        with database.transaction():
            rows = events.assign_positions()
            self._activity.note(rows)
        self._announce(rows)
        return len(rows)

    def _announce(self, rows: list[dict]) -> None:
        frames = [[row["position"], row["stream"], row["seq"], row["type"], row["data"]] for row in rows]
        try:
            self._feed.publish(ALL_EVENTS, orjson.dumps(frames))
        except (redis.RedisError, OSError) as error:
            log.warning("announce_failed", error=str(error))


def warn_if_redis_evicts() -> None:
    """A Redis that drops keys under memory pressure drops messages: they would ring late."""
    try:
        policy = client(FEED_DATABASE, 1.0).config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
    except (redis.RedisError, OSError) as error:  # away, or a managed one that does not say
        log.info("redis_policy_unknown", error=str(error))
        return
    if policy != "noeviction":
        log.error("redis_evicts", policy=policy, remedy="set maxmemory-policy noeviction")


def main() -> None:
    configure_logs()
    database.init()
    schema.migrate()
    crypto.ring()
    warn_if_redis_evicts()
    relay = Relay()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: relay.stopping.set())
    log.info("relay_started", relay=relay.id, pid=os.getpid())
    relay.run()


if __name__ == "__main__":
    main()
