"""What GitHub's events have started: each run or task with the place on GitHub that it is about."""

from __future__ import annotations

from typing import Any

import peewee

from models import database
from models.base import Model, new_id, now_ms

LOCK = 7_340_004  # of PostgreSQL's advisory locks: one firing is decided at a time
LIVE = "('pending', 'running', 'paused')"


class Firing(Model):
    id = peewee.TextField(primary_key=True)
    scope = peewee.TextField()  # target and concurrency key: one at a time
    trigger_id = peewee.TextField(null=True)
    delivery_id = peewee.TextField(null=True)  # of the inbox
    repository = peewee.TextField()  # owner/name as GitHub spells it
    installation_id = peewee.BigIntegerField(null=True)
    number = peewee.IntegerField(null=True)
    is_pull = peewee.BooleanField(default=False)
    head_sha = peewee.TextField(null=True)
    run_id = peewee.TextField(null=True, unique=True)  # null: it waits for its turn, or has made a task
    task_id = peewee.TextField(null=True)
    waiting = peewee.BooleanField(default=False)
    created_at = peewee.BigIntegerField()

    class Meta:
        table_name = "github_firings"
        indexes = ((("scope", "id"), False), (("waiting", "scope", "id"), False))


def lock() -> None:
    """To the end of the transaction nobody else decides whether something may start."""
    database.serialize(LOCK)


def add(**fields: Any) -> Firing:
    row = {"id": new_id("fir_"), "created_at": now_ms()} | fields
    Firing.add(row)
    return Firing(**row)


def live_runs(scope: str) -> list[str]:
    """Ids of the runs of that scope that go on."""
    joined = "github_firings f JOIN runs r ON r.id = f.run_id"
    sql = f"SELECT f.run_id FROM {joined} WHERE f.scope = ? AND r.status IN {LIVE}"
    return [row[0] for row in database.execute(sql, (scope,)).fetchall()]


def has_task(scope: str) -> bool:
    sql = "SELECT 1 FROM github_firings f JOIN tasks t ON t.id = f.task_id WHERE f.scope = ? LIMIT 1"
    return database.execute(sql, (scope,)).fetchone() is not None


def of_run(run_id: str) -> Firing | None:
    """What the run is about, None if it has nothing to do with GitHub."""
    found = Firing.fetch("run_id = ?", (run_id,))
    return found[0] if found else None


def first_waiting(scope: str) -> Firing | None:
    found = Firing.fetch("waiting = ? AND scope = ? ORDER BY id LIMIT 1", (True, scope))
    return found[0] if found else None


def begin(firing: Firing, run_id: str) -> None:
    """Its turn has come."""
    Firing.update(run_id=run_id, waiting=False).where(Firing.id == firing.id).execute()
