"""The keeper: a native thread that keeps this worker's lease and notices what it has lost.

It has its own connection and does not depend on the gevent hub. Every third of a lease it bumps the worker's beat;
twice a second, and at once on a nudge, it compares the holds of this process with the database. When no beat has
succeeded for 0.7 of a lease, or the hub does not answer any more, the process stops working before anyone takes over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import gevent
import peewee
import structlog
from gevent import monkey

from models import config, database, workers
from models.base import now_ms
from models.errors import LeaseLost
from workers import holds
from workers.holds import GiveBack

log = structlog.get_logger(__name__)

native_thread = monkey.get_original("_thread", "start_new_thread")
native_sleep = monkey.get_original("time", "sleep")

CHECK_SECONDS = 0.5
STOP_SHARE = 0.7  # of a lease without a successful beat
HUB_SILENCE_SECONDS = 60.0
ORPHAN_SECONDS = 5.0
PAUSE_PATIENCE_SECONDS = 30.0  # what a running tool call may still take
HANDOVER_PATIENCE_SECONDS = 1.5


class Keeper:
    """`release` gives back a hold by its key."""

    def __init__(self, worker_id: str, release: Callable[[str, int, int, int], None]) -> None:
        self.worker_id = worker_id
        self._release = release
        self._unheld: dict[tuple, float] = {}
        self.lease = config.get().lease_seconds
        self.stopping = False
        self._hub = gevent.get_hub()
        self._database = database.connect(pool_size=1)
        self._beaten = self._answered = time.monotonic()
        self._look_now = False

    def start(self) -> Keeper:
        native_thread(self._run, ())
        return self

    def nudge(self) -> None:
        """Something changed: look now instead of at the next half second."""
        self._look_now = True

    def _run(self) -> None:
        """A worker must not outlive its keeper: it would go on taking steps that others take away from it."""
        try:
            self._watch()
        except Exception:
            log.critical("keeper_died", exc_info=True)
            os._exit(70)

    def _watch(self) -> None:
        next_beat = next_look = 0.0
        while not self.stopping:
            now = time.monotonic()
            if now >= next_beat:
                next_beat = now + (self.lease / 3 if self._try(self._beat) else CHECK_SECONDS)
            if now >= next_look or self._look_now:
                self._look_now, next_look = False, now + CHECK_SECONDS
                self._try(self._look)
                self._ping_hub()
            self._stop_if_silent()
            native_sleep(0.02)

    def _try(self, action) -> bool:
        try:
            action()
        except (peewee.DatabaseError, peewee.InterfaceError, OSError) as error:
            log.warning("keeper_database", error=str(error))
            self._database.close()
            return False
        return True

    def _beat(self) -> None:
        busy = len(holds.current())
        sql = "UPDATE workers SET beat = beat + 1, seen_at = ?, busy = ? WHERE id = ?"
        if not self._execute(sql, (now_ms(), busy, self.worker_id)).rowcount:
            log.critical("worker_forgotten")  # silent for so long that its row is gone: begin again under a new id
            os._exit(70)
        self._beaten = time.monotonic()

    def _look(self) -> None:
        mine = [hold for hold in holds.current() if not hold.settling]
        found = self._execute(workers.HELD.format(which="= ?"), (self.worker_id, self.worker_id)).fetchall()
        owned = {row[:4] for row in found}
        lost = [hold for hold in mine if hold.key not in owned]
        if lost:
            self._in_hub(self._interrupt, lost, "it was cancelled or taken over")
        paused = {row[:4] for row in found if row[4] == "paused"}
        if waits := [hold for hold in mine if hold.key in paused]:
            self._in_hub(_give_back, waits, "its run was paused", "resume", PAUSE_PATIENCE_SECONDS)
        self._find_orphans(owned - {hold.key for hold in holds.current()})

    def _find_orphans(self, unheld: set[tuple]) -> None:
        """Rows that say this worker works on them while nothing here does: given back after a few seconds."""
        now = time.monotonic()
        self._unheld = {key: self._unheld.get(key, now) for key in unheld}
        for key, since in self._unheld.items():
            if now - since > ORPHAN_SECONDS:
                log.error("orphan_released", stream=key[0], n=key[2])
                self._in_hub(gevent.spawn, self._release, *key)

    def _interrupt(self, lost: list[holds.Hold], why: str) -> None:
        """In the hub: what is still registered really is lost (a hold may have ended since the look)."""
        registered = set(map(id, holds.current()))
        for hold in lost:
            if id(hold) in registered:
                hold.interrupt(LeaseLost(f"{hold.stream} {hold.n}: {why}"))

    def _in_hub(self, call: Callable, *args) -> None:
        self._hub.loop.run_callback_threadsafe(call, *args)

    def _ping_hub(self) -> None:
        self._in_hub(self._pong)

    def _pong(self) -> None:
        self._answered = time.monotonic()

    def _stop_if_silent(self) -> None:
        now = time.monotonic()
        if now - self._beaten > STOP_SHARE * self.lease and (mine := holds.current()):
            self._in_hub(self._interrupt, mine, "the lease could not be renewed")
        if now - self._answered > HUB_SILENCE_SECONDS:
            log.critical("hub_blocked", seconds=HUB_SILENCE_SECONDS)
            os._exit(70)

    def _execute(self, sql: str, params: tuple):
        if isinstance(self._database, peewee.PostgresqlDatabase):
            sql = sql.replace("?", "%s")
        return self._database.execute_sql(sql, params)


def hand_over() -> None:
    """Interrupts every hold so that another worker can go on at once."""
    _give_back(holds.current(), "this worker is shutting down", "deploy", HANDOVER_PATIENCE_SECONDS)


def _give_back(what: list[holds.Hold], message: str, why: str, patience: float) -> None:
    for hold in what:
        if hold.lost is None:
            hold.interrupt(GiveBack(message, why, patience))
