"""The queue dies, forgets, hangs, is missing, or is full."""

from __future__ import annotations

import itertools
import signal
import time
from pathlib import Path

import dramatiq

from workers.broker import broker

MOST_RINGS = 2.0  # per run


def test_f3_the_queue_dies_forgets_and_hangs(storm, size, row) -> None:
    blows = itertools.cycle([die, forget, hang])
    posted = storm.post(size(60, 1000), pause=size(0.6, 0.2))
    count = storm.strike(lambda: next(blows)(storm, size(2, 30)), (0.3, 1), posted, size(6, 12))
    storm.settle(posted, size(80, 600))
    found, answers = storm.findings(), storm.history.statuses()
    row("F3 Redis killed, flushed, frozen", storm, found, len(posted), blows=count, answers=dict(answers))
    assert not found.all and set(answers) == {201}


def die(storm, _: float) -> None:
    storm.kill("redis")
    time.sleep(0.5)
    storm.start_redis()


def forget(storm, _: float) -> None:
    storm.redis().flushall()


def hang(storm, pause: float) -> None:
    storm.kill("redis", signal.SIGSTOP)
    time.sleep(pause)
    storm.kill("redis", signal.SIGCONT)


def test_f4_the_queue_is_missing(storm, size, row) -> None:
    storm.kill("redis")
    started = time.monotonic()
    posted = storm.post(size(40, 500))
    ids = [future.result(300) for future in posted]
    rate = len(ids) / (time.monotonic() - started)
    storm.start_redis()
    storm.settle(posted, size(40, 300))
    found, answers = storm.findings(), storm.history.statuses()
    row("F4 no Redis", storm, found, len(posted), answers=dict(answers), accepted=f"{rate:.0f}/s")
    assert not found.all and set(answers) == {201}


def test_a_worker_fetches_no_more_than_it_has_slots_for() -> None:
    """What it fetched beyond that would wait for it while others are idle."""
    worker = dramatiq.Worker(broker, worker_threads=6)
    assert broker.consume("runs", prefetch=worker.queue_prefetch).prefetch == 6


def test_f10_many_runs_wait(storm, size, row) -> None:
    for name in storm.named("worker"):
        storm.kill(name, signal.SIGTERM)
    before, posted = rings(storm), storm.post(size(500, 10_000), "one")
    ids = [future.result(600) for future in posted]
    storm.complete()
    started, sizes = time.monotonic(), drain(storm)
    rate, rung = len(ids) / (time.monotonic() - started), (rings(storm) - before) / len(ids)
    found = storm.findings(60)
    figures = {"rings": f"{rung:.2f} per run", "drained": f"{rate:.0f}/s", "worker RSS": "{} -> {} MB".format(*sizes)}
    row("F10 many queued runs", storm, found, len(ids), **figures)
    assert not found.all and rung <= MOST_RINGS and sizes[1] <= sizes[0] * 1.25 + 10


def rings(storm) -> int:
    """Messages sent so far: each one leaves a token in a list."""
    return int(storm.redis().info("commandstats").get("cmdstat_lpush", {"calls": 0})["calls"])


def drain(storm) -> tuple[int, int]:
    """Waits for the end of all runs; the larger worker's memory (MB) when a quarter was done, and at the end."""
    waiting, first = len(storm.open_runs()), 0
    while left := len(storm.open_runs()):
        if not first and left < 0.75 * waiting:
            first = memory(storm)
        time.sleep(0.2)
    return first or memory(storm), memory(storm)


def memory(storm) -> int:
    pids = [storm.processes[name].pid for name in storm.named("worker")]
    return max(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 // 1_000_000 for pid in pids)
