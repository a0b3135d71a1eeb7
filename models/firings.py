"""What GitHub's events have started: each run or task with the place on GitHub that it is about."""

from __future__ import annotations

from typing import Any

import peewee

from models import database
from models.base import Model, new_id, now_ms

LOCK = 7_340_004  # of PostgreSQL's advisory locks: one firing is decided at a time
STARTED, ENDED = "github", "github.end"  # doorbells of a run's report
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
    check_id = peewee.BigIntegerField(null=True)  # of GitHub's check run
    report_attempts = peewee.IntegerField(default=0)  # that failed one after the other
    report_error = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()

    class Meta:
        table_name = "github_firings"
        indexes = ((("scope", "id"), False), (("waiting", "scope", "id"), False))


class GitHubComment(Model):
    """The one comment that we keep at an issue or pull request."""

    place = peewee.TextField(primary_key=True)  # owner/name#number in lower case
    comment_id = peewee.BigIntegerField()

    class Meta:
        table_name = "github_comments"


def comes_from_github(tainted_by: str | None) -> bool:
    """Whether a run that this taints was begun by something on GitHub, which then hears of it."""
    return tainted_by is not None and tainted_by.startswith("github ")


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


def note(firing: Firing, **columns: Any) -> None:
    """What has come of a report, in the enclosing transaction."""
    for name, value in columns.items():
        setattr(firing, name, value)
    Firing.update(**columns).where(Firing.id == firing.id).execute()


def comment_of(place: str) -> int | None:
    """Its id on GitHub, as far as is known."""
    row = database.execute("SELECT comment_id FROM github_comments WHERE place = ?", (place,)).fetchone()
    return row and row[0]


def keep_comment(place: str, comment_id: int | None) -> None:
    """That is the one from now on; None: it is gone."""
    GitHubComment.delete().where(GitHubComment.place == place).execute()
    if comment_id is not None:
        GitHubComment.create(place=place, comment_id=comment_id)


def begin(firing: Firing, run_id: str) -> None:
    """Its turn has come."""
    Firing.update(run_id=run_id, waiting=False).where(Firing.id == firing.id).execute()
