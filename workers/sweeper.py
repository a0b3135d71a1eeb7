"""The sweeper: what a dead process left behind is put right from SQL, whatever the queue says.

One leader sweeps, every two seconds. Each fix is a compare-and-set, so a second sweeper would do no harm.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import redis
import structlog

from models import config, database, idempotency, outbox, settings, workers
from models.base import now_ms
from models.workers import Worker
from workers import approvals, chats, github, memory_index, providers, skill_folders, task_claims
from workers.broker import client
from workers.publisher import FEED_DATABASE
from workers.releases import release
from workers.retention import Retention

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 2.0
FORGET_AFTER_LEASES = 20  # a dead worker's row is kept this long for people to see
CANARY = "djinnbot:canary"
PRUNE_SECONDS = 60.0


@dataclass
class Sweeper:
    seen: dict[str, tuple[int, float]] = field(default_factory=dict)  # worker id -> (beat, when it was first seen)
    canary_set: bool = False
    pruned: float = 0.0
    reconciled: int | None = None  # when GitHub's deliveries were looked at last, ms
    retention: Retention = field(default_factory=Retention)
    vaults: memory_index.Watch = field(default_factory=memory_index.Watch)

    def sweep(self) -> None:
        """One round."""
        with database.connection():
            for worker in list(Worker.select()):  # SQLite refuses writes while a result is half read
                self._look_at(worker)
            for hold in workers.held_by_strangers():
                release(*hold, "worker_lost")
        approvals.expire()
        task_claims.expire()
        self._check_canary()
        self._prune()
        self._watch_folders()

    def _look_at(self, worker: Worker) -> None:
        beat, since = self.seen.get(worker.id, (None, 0.0))
        now = time.monotonic()
        if beat != worker.beat:
            self.seen[worker.id] = (worker.beat, now)
            since = now
        silent = now - since
        if _is_gone(worker) or silent > config.get().lease_seconds:
            self._bury(worker, silent)

    def _bury(self, worker: Worker, silent: float) -> None:
        """Releases what the worker held and rings for what it had fetched; its row goes once nobody can miss it."""
        held, gone = workers.held_by(worker.id), _is_gone(worker)
        if held:
            log.warning("worker_lost", worker=worker.id, pid=worker.pid, holds=len(held), silent_s=round(silent, 1))
        for hold in held:
            release(*hold, "worker_lost")
        if held or gone:
            with database.transaction():
                outbox.ring_again(worker.slots)
        if gone or silent > FORGET_AFTER_LEASES * config.get().lease_seconds:
            workers.unregister(worker.id)
            self.seen.pop(worker.id, None)

    def _check_canary(self) -> None:
        """A Redis that has forgotten our key has forgotten the messages too: every doorbell rings again."""
        try:
            wiped = not client(FEED_DATABASE, 1.0).set(CANARY, "1", nx=True, get=True)
        except (redis.RedisError, OSError):
            return
        if wiped and self.canary_set:
            log.warning("queue_wiped")
            with database.transaction():
                outbox.ring_again()
        self.canary_set = True

    def _prune(self) -> None:
        if time.monotonic() - self.pruned > PRUNE_SECONDS:
            self.pruned = time.monotonic()
            with database.transaction():
                idempotency.prune()
            chats.expire(config.get().chat_idle_days)
            self.retention.prune()
            providers.refresh_old()
            self._reconcile()

    def _reconcile(self) -> None:
        """At the start, and then as often as the settings say."""
        if github.reconcile_if_due(settings.get("githubReconcileMin"), self.reconciled, now_ms()):
            self.reconciled = now_ms()

    def _watch_folders(self) -> None:
        for look in (skill_folders.watch, self.vaults.look):
            try:
                look()
            except OSError as error:  # a shared folder that is away for a moment
                log.warning("folders_not_watched", error=str(error))


def _is_gone(worker: Worker) -> bool:
    """Whether the process can be seen from here and is not there any more."""
    return worker.host == workers.host() and workers.process_started(worker.pid) != worker.process_started
