"""The queue: Dramatiq on Redis as a set of doorbells. Redis holds nothing that SQL does not.

The stock consumer polls; ours is woken by a token that every enqueue leaves in a list, which brings the time from
enqueue to start on an idle queue from hundreds of milliseconds to two.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import dramatiq
import redis
import structlog
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.common import current_millis

from models import config, database, outbox

log = structlog.get_logger(__name__)

QUEUES = {  # actor -> queue
    "advance_run": "runs",
    "answer_chat": "chat",
    "memory_consolidate": "memory",
    "memory_index_file": "memory",
    "memory_index_vault": "memory",
    "scan_disk": "housekeeping",
    "secrets_rekey": "housekeeping",
    "skill_import": "default",
    "task_on_run_end": "default",
    "github_delivery": "github",
    "github_look": "github",
    "github_reconcile": "github",
    "github_report": "github",
    "prepare_workspace": "git",
    "provider_models": "default",
    "provider_test": "default",
}
QUEUE_DATABASE = 1  # of REDIS_URL; the event feed uses 0
WAKE_SECONDS = 1  # longest wait of an idle consumer, so that a shutdown is noticed
FULL_PAUSE_SECONDS = 0.01  # between looks while as many messages are out as may be
MOST_CONNECTIONS = 10_000  # of a process: every slot may acknowledge at once; who gets no connection waits five seconds
RING_TIMEOUT_SECONDS = 0.2  # what a best-effort ring may cost a request
REST_SECONDS = 1.0  # no ring is tried for this long after one failed
CROWD = 200  # messages that wait; then no worker is idle, and who writes a doorbell leaves the ringing to the relay
MAX_TOKENS = 1000


def redis_url() -> str:
    return config.get().redis_url or "redis://127.0.0.1:6379"


def client(database_number: int, timeout: float | None) -> redis.Redis:
    """A Redis client; `timeout` None for blocking reads."""
    limits = {"max_connections": MOST_CONNECTIONS, "socket_timeout": timeout, "socket_connect_timeout": timeout or 2}
    pool = redis.ConnectionPool.from_url(redis_url(), **limits)
    pool.connection_kwargs["db"] = database_number
    return redis.Redis(connection_pool=pool, retry=None)


class WakingBroker(RedisBroker):
    """A RedisBroker without delay queues (delays live in the outbox) whose consumers sleep until woken."""

    waiting = 0  # messages in the queue after the last enqueue

    @property
    def consumer_class(self):
        return WakingConsumer

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message, *, delay=None):
        message = super().enqueue(message, delay=delay)
        key, queued = self.wake_key(message.queue_name), f"{self.namespace}:{message.queue_name}"
        pipe = self.client.pipeline(transaction=False).lpush(key, current_millis()).ltrim(key, 0, MAX_TOKENS)
        self.waiting = pipe.llen(queued).execute()[-1]
        return message

    def wake_key(self, queue_name: str) -> str:
        return f"{self.namespace}:wake:{queue_name}"


class WakingConsumer(_RedisConsumer):
    def __init__(self, broker, queue_name, prefetch, timeout):
        # Dramatiq asks for twice as many as there are slots: a full worker would sit on what an idle one could answer.
        super().__init__(broker, queue_name, max(prefetch // 2, 1), timeout=1)

    def __next__(self):
        message = super().__next__()
        if message is None:
            self._wait()
        return message

    def _wait(self) -> None:
        if self.outstanding_message_count >= self.prefetch:
            time.sleep(FULL_PAUSE_SECONDS)
            return
        try:
            self.broker.client.blpop([self.broker.wake_key(self.queue_name)], timeout=WAKE_SECONDS)
        except redis.ConnectionError as error:
            raise dramatiq.errors.ConnectionClosed(error) from None


broker = WakingBroker(client=client(QUEUE_DATABASE, timeout=None), middleware=[])


def actor(function: Callable[[str], None]) -> dramatiq.Actor:
    """Registers an actor: one argument, an id. No middleware retries or limits it: that is SQL's business."""
    name = function.__name__
    return dramatiq.actor(function, actor_name=name, queue_name=QUEUES[name], broker=broker)


def message(actor_name: str, object_id: str) -> dramatiq.Message:
    """A doorbell as it travels; who rings need not have imported the actor."""
    return dramatiq.Message(
        queue_name=QUEUES[actor_name], actor_name=actor_name, args=(object_id,), kwargs={}, options={}
    )


class Ringer:
    """Rings doorbells with short time-outs, and rests for a second after a failure."""

    def __init__(self) -> None:
        self._broker = WakingBroker(client=client(QUEUE_DATABASE, RING_TIMEOUT_SECONDS), middleware=[])
        self._rest_until = self._crowded_until = 0.0
        self._queue: queue.SimpleQueue | None = None

    def has_backlog(self) -> bool:
        """Whether messages wait in Redis for a worker to fetch them."""
        try:
            return any(self._broker.client.llen(f"{self._broker.namespace}:{name}") for name in set(QUEUES.values()))
        except (redis.RedisError, OSError):
            return False

    def start(self) -> None:
        """From now on `ring_soon` hands over to a background thread (a greenlet where gevent has patched)."""
        self._queue = queue.SimpleQueue()
        threading.Thread(target=self._run, name="ringer", daemon=True).start()

    def ring_soon(self, actor_name: str, object_id: str) -> None:
        """Rings without making the caller wait. What is not rung here, the relay rings a second later."""
        if time.monotonic() < self._crowded_until:
            return
        if self._queue is None:
            self.ring(actor_name, object_id)
        else:
            self._queue.put((actor_name, object_id))

    def _run(self) -> None:
        while True:
            self.ring(*self._queue.get())

    def ring(self, actor_name: str, object_id: str) -> bool:
        """Whether the message was handed to Redis. Never raises, never waits longer than the time-out."""
        if time.monotonic() < self._rest_until:
            return False
        try:
            self._broker.enqueue(message(actor_name, object_id))
        except (redis.RedisError, OSError) as error:
            self._rest_until = time.monotonic() + REST_SECONDS
            log.warning("ring_failed", actor=actor_name, id=object_id, error=str(error))
            return False
        if self._broker.waiting > CROWD:
            self._crowded_until = time.monotonic() + REST_SECONDS
        return True


ringer = Ringer()


def doorbell(actor_name: str, object_id: str, ref: str = "") -> None:
    """Writes a doorbell in the enclosing transaction and rings it after commit."""
    outbox.add(actor_name, object_id, ref)
    database.on_commit(lambda: ringer.ring_soon(actor_name, object_id))


def later(actor_name: str, object_id: str, ref: str, delay_ms: int) -> None:
    """A doorbell that the relay rings when its time has come."""
    outbox.add(actor_name, object_id, ref, delay_ms)
