"""Workers: one row per worker process. Its `beat` is the lease of every step that it owns.

A worker bumps its beat every third of a lease; the sweeper takes the steps of one whose beat stands still for a whole
lease on the sweeper's own monotonic clock (so no two clocks are compared), or at once if its process is visibly gone.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import peewee

from models import database
from models.base import Model, new_id, now_ms


class Worker(Model):
    id = peewee.TextField(primary_key=True)
    host = peewee.TextField()
    pid = peewee.IntegerField()
    process_started = (
        peewee.BigIntegerField()
    )  # clock ticks since boot: tells a process from a later one of the same pid
    version = peewee.TextField()
    slots = peewee.IntegerField()
    busy = peewee.IntegerField(default=0)
    beat = peewee.BigIntegerField(default=0)
    started_at = peewee.BigIntegerField()
    seen_at = peewee.BigIntegerField()

    class Meta:
        table_name = "workers"


def host() -> str:
    """What tells machines, and containers on one machine, apart: processes of equal `host` can see each other."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    space = Path("/proc/self/ns/pid")
    if not boot.exists():
        return socket.gethostname()
    return f"{boot.read_text().strip()}:{space.readlink() if space.exists() else ''}"


def process_started(pid: int) -> int:
    """When process `pid` started, in clock ticks since boot; 0 if there is none (or it is a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def mark() -> str:
    """This process as others can look for it: "host pid start"."""
    return f"{host()} {os.getpid()} {process_started(os.getpid())}"


def has_ended(mark: str) -> bool:
    """Whether the marked process can be seen from here and is not there any more."""
    where, pid, started = mark.rsplit(" ", 2)
    return where == host() and process_started(int(pid)) != int(started)


def register(version: str, slots: int) -> str:
    """Adds this process and returns its id."""
    worker_id, pid, now = new_id("wrk_"), os.getpid(), now_ms()
    with database.transaction():
        Worker.insert(
            id=worker_id,
            host=host(),
            pid=pid,
            process_started=process_started(pid),
            version=version,
            slots=slots,
            started_at=now,
            seen_at=now,
        ).execute()
    return worker_id


def unregister(worker_id: str) -> None:
    """Forgets a worker that has ended."""
    with database.transaction():
        Worker.delete().where(Worker.id == worker_id).execute()


# (stream, epoch, n, token, status of the stream) of everything that some worker holds; `{which}` says which worker.
# What nobody holds must be left out by name: where no worker is registered, NULL NOT IN (nobody) is true.
HELD = (
    "SELECT v.run_id, v.epoch, v.n, v.token, r.status FROM visits v JOIN runs r ON r.id = v.run_id"
    " WHERE v.owner IS NOT NULL AND v.owner {which} AND v.status = 'running'"
    " UNION ALL SELECT session_id, 1, seq, token, status FROM chat_messages"
    " WHERE owner IS NOT NULL AND owner {which} AND status = 'running'"
)


def held_by(worker_id: str) -> list[tuple[str, int, int, int]]:
    """(stream, epoch, n, token) of every running visit and chat turn that the worker owns."""
    return _held("= ?", worker_id, worker_id)


def held_by_strangers() -> list[tuple[str, int, int, int]]:
    """The same of workers that are not registered any more: they left while they still held something."""
    return _held("NOT IN (SELECT id FROM workers)")


def _held(which: str, *params: str) -> list[tuple[str, int, int, int]]:
    return [row[:4] for row in database.execute(HELD.format(which=which), params).fetchall()]


def alive(within_ms: int = 30_000) -> dict[str, int]:
    """`{alive, busy, slots}` over the workers seen lately."""
    sql = "SELECT count(*), coalesce(sum(busy), 0), coalesce(sum(slots), 0) FROM workers WHERE seen_at > ?"
    row = database.execute(sql, (now_ms() - within_ms,)).fetchone()
    return {"alive": int(row[0]), "busy": int(row[1]), "slots": int(row[2])}


def newest_version() -> str | None:
    """Build of the worker that started last."""
    worker = Worker.select(Worker.version).order_by(Worker.started_at.desc()).first()
    return worker and worker.version
