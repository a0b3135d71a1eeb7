"""A Dramatiq `pipeline` of five no-op actors with nothing of ours: stock broker, threads, nothing durable per step."""

from __future__ import annotations

import signal
import sys
import time

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Pipelines
from environs import Env

STEPS = 5
client = redis.Redis.from_url(Env().str("REDIS_URL"), db=1)
broker = RedisBroker(client=client, namespace="bare", middleware=[Pipelines()])
dramatiq.set_broker(broker)


@dramatiq.actor
def step(number: int, run: str) -> int:
    if number == STEPS - 1:
        client.rpush("bare:done", f"{run} {time.time()}")
    return number


def start(run: int) -> None:
    dramatiq.pipeline([step.message_with_options(args=(n, str(run)), pipe_ignore=True) for n in range(STEPS)]).run()


def finished() -> bytes:
    return client.blpop("bare:done", timeout=60)[1]


def single(count: int) -> None:
    for number in range(count):
        started = time.time()
        start(number)
        print((float(finished().split()[1]) - started) * 1000)


def many(count: int) -> None:
    started = time.monotonic()
    for number in range(count):
        start(number)
    for _ in range(count):
        finished()
    print(time.monotonic() - started)


def work() -> None:
    worker = dramatiq.Worker(broker, worker_threads=8, worker_timeout=10)
    worker.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    worker.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    {"worker": work, "single": lambda: single(int(sys.argv[2])), "many": lambda: many(int(sys.argv[2]))}[sys.argv[1]]()
