"""A worker process: `python -m workers [--queues runs,control] [--concurrency 100]`."""

import argparse
import signal
import threading

import dramatiq
import structlog

from models import config, crypto, database, schema, workers
from models.logs import configure_logs
from workers import (  # noqa: F401 (importing a module registers its actors)
    chat_turns,
    consolidation,
    control,
    deliveries,
    github_looks,
    holds,
    inquiries,
    keeper,
    maintenance,
    mcp_discovery,
    memory_index,
    reconciling,
    reports,
    repositories,
    skill_folders,
    skill_imports,
    steps,
    task_runs,
)
from workers.agent.feed import flusher
from workers.broker import broker, ringer
from workers.process import Process
from workers.publisher import publisher
from workers.releases import release
from workers.version import VERSION

log = structlog.get_logger(__name__)

HANDOVER_SECONDS = 4.0  # from SIGTERM to the end of the process


def main() -> None:
    arguments = _arguments()
    configure_logs()
    database.init()
    schema.migrate()
    crypto.ring()
    Process.worker_id = workers.register(VERSION, arguments.concurrency)
    structlog.contextvars.bind_contextvars(worker=Process.worker_id)
    guard = keeper.Keeper(Process.worker_id, lambda *held: release(*held, why="worker_lost")).start()
    control.listen(guard)
    publisher.start()
    ringer.start()
    flusher.start()
    worker = dramatiq.Worker(broker, queues=arguments.queues, worker_threads=arguments.concurrency)
    worker.start()
    log.info("worker_started", concurrency=arguments.concurrency, queues=sorted(arguments.queues or broker.queues))
    _wait_for_signal()
    _shut_down(worker, guard)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers", description="Works on what the queues ring for.")
    parser.add_argument("--queues", type=lambda text: set(text.split(",")), help="queues to serve (default: all)")
    parser.add_argument("--concurrency", type=int, default=config.get().worker_concurrency, help="steps at once")
    return parser.parse_args()


def _wait_for_signal() -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()


def _shut_down(worker: dramatiq.Worker, guard: keeper.Keeper) -> None:
    """Takes nothing new, gives back what is held, and leaves; another worker goes on at once."""
    log.info("worker_stopping", holds=len(holds.current()))
    Process.stopping = True
    for thread in (*worker.consumers.values(), *worker.workers):
        thread.stop()
    keeper.hand_over()
    worker.stop(timeout=int(HANDOVER_SECONDS * 1000))
    guard.stopping = True
    workers.unregister(Process.worker_id)


if __name__ == "__main__":
    main()
