"""Visits: one row per entry into a step, in order of activation; together they are the run's history.

The row also carries the current attempt and its lease: `owner` is the worker that holds it, `token` the fencing token,
one more at each claim. An attempt that failed and will be repeated is kept in `attempts`.
A step of the API is the latest visit of its key; a step without a visit is `pending`.
"""

from __future__ import annotations

from collections.abc import Sequence

import peewee

from models import database
from models.base import JSONField, Model
from models.errors import IllegalTransition, LeaseLost
from models.status import may_follow


class VisitRow(Model):
    run_id = peewee.TextField()
    epoch = peewee.IntegerField()
    n = peewee.IntegerField()  # 1, 2, 3 ... in order of activation
    step_key = peewee.TextField()
    type = peewee.TextField()
    agent_id = peewee.TextField(null=True)
    status = peewee.TextField()
    visit = peewee.IntegerField()  # per step and loop item
    scope = JSONField()  # [[loop step key, n of the visit that entered the loop, item index], ...] from the outside in
    items = JSONField(null=True)  # on the visit that entered a loop: its list
    entered_from = peewee.TextField(null=True)
    reason = peewee.TextField()  # start, next, goto, needs, loop, failure, restart
    passed = peewee.BooleanField(default=False)  # finished the normal way: counts for joins
    planned_version = peewee.IntegerField(default=0)  # plan version at activation
    done_version = peewee.IntegerField(null=True)  # plan version at which it ended: order of completion
    attempt = peewee.IntegerField(default=0)
    retry_count = peewee.IntegerField(default=0)
    max_retries = peewee.IntegerField(default=0)
    losses = peewee.IntegerField(default=0)  # workers that died in this visit
    interrupted = peewee.TextField(null=True)  # why a running visit has no owner: worker_lost, deploy, database_away
    token = peewee.IntegerField(default=0)
    owner = peewee.TextField(null=True)
    due_at = peewee.BigIntegerField(null=True)  # ms, the database's clock: when `retrying` repeats
    model = peewee.TextField(null=True)
    prompt = peewee.TextField(null=True)
    variables = JSONField(null=True)
    outputs = JSONField(null=True)
    structured = JSONField(null=True)
    artifacts = JSONField(null=True)  # [{path, size, sha256, action}] of the files it changed
    result = peewee.TextField(null=True)
    error = peewee.TextField(null=True)
    error_code = peewee.TextField(null=True)
    feedback = JSONField(null=True)  # {error, error_code, output} of the attempt before, for the prompt of the next
    usage = JSONField(null=True)
    first_seq = peewee.IntegerField(null=True)  # number of the current attempt's step_started event
    copied_from = peewee.TextField(null=True)
    child_run_id = peewee.TextField(null=True)
    approval_id = peewee.TextField(null=True)
    queued_at = peewee.BigIntegerField(null=True)
    started_at = peewee.BigIntegerField(null=True)
    completed_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "visits"
        primary_key = peewee.CompositeKey("run_id", "epoch", "n")


VisitRow.add_index(
    VisitRow.index(
        VisitRow.owner,
        VisitRow.status,
        where=peewee.SQL("status IN ('queued', 'running', 'retrying', 'paused')"),
        name="visits_active",
    )
)


def _index_ended(name: str, *columns: str) -> None:
    fields = [VisitRow._meta.fields[column] for column in columns]
    VisitRow.add_index(VisitRow.index(*fields, where=peewee.SQL(ENDED), name=name))


ENDED = "done_version IS NOT NULL AND agent_id IS NOT NULL"  # an agent's; word for word as in the indexes
_index_ended("visits_ended", "status", "completed_at", "run_id", "step_key")
_index_ended("visits_ended_agent", "agent_id", "status", "completed_at", "run_id", "step_key")


class Attempt(Model):
    """An attempt that is over while its visit went on."""

    run_id = peewee.TextField()
    epoch = peewee.IntegerField()
    n = peewee.IntegerField()
    attempt = peewee.IntegerField()
    status = peewee.TextField()
    model = peewee.TextField(null=True)
    prompt = peewee.TextField(null=True)
    outputs = JSONField(null=True)
    error = peewee.TextField(null=True)
    error_code = peewee.TextField(null=True)
    usage = JSONField(null=True)
    losses = peewee.IntegerField(default=0)
    first_seq = peewee.IntegerField(null=True)
    last_seq = peewee.IntegerField(null=True)
    started_at = peewee.BigIntegerField(null=True)
    completed_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "attempts"
        primary_key = peewee.CompositeKey("run_id", "epoch", "n", "attempt")


COLUMNS = [field.column_name for field in VisitRow._meta.sorted_fields]
KEY = ("run_id", "epoch", "n")


def fence(run_id: str, epoch: int, n: int, token: int) -> tuple[str, tuple]:
    """The condition that the visit is still held under `token`, for `runs.write`."""
    held = "EXISTS (SELECT 1 FROM visits WHERE run_id = ? AND epoch = ? AND n = ? AND token = ? AND status = 'running')"
    return held, (run_id, epoch, n, token)


def save(rows: Sequence[dict], seen: dict[int, tuple[int, str]]) -> None:
    """Inserts or updates whole visit rows in one statement (the caller holds the run row).

    `seen` is `{n: (token, status)}` as read by the caller: a row whose token has moved on is not written.
    Raises LeaseLost if any row was not written, IllegalTransition if a status may not follow the one before.
    """
    if not rows:
        return
    for row in rows:
        _check_transition(row, seen)
    values = ", ".join([f"({', '.join('?' * len(COLUMNS))})"] * len(rows))
    changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in KEY)
    cases = " ".join("WHEN ? THEN ?" for _ in rows)
    sql = (
        f"INSERT INTO visits ({', '.join(COLUMNS)}) VALUES {values} ON CONFLICT (run_id, epoch, n)"
        f" DO UPDATE SET {changes} WHERE visits.token = CASE excluded.n {cases} END"
    )
    params = [VisitRow._meta.fields[name].db_value(row[name]) for row in rows for name in COLUMNS]
    params += [value for row in rows for value in (row["n"], seen[row["n"]][0] if row["n"] in seen else -1)]
    if database.execute(sql, params).rowcount != len(rows):
        raise LeaseLost("A visit is held by another worker")


def _check_transition(row: dict, seen: dict[int, tuple[int, str]]) -> None:
    before = seen[row["n"]][1] if row["n"] in seen else None
    if before is not None and not may_follow(row["status"], before):
        raise IllegalTransition(f"{row['run_id']} {row['step_key']}: {before} -> {row['status']}")


ACTIVE_SQL = "status IN ('queued', 'running', 'retrying', 'paused')"  # word for word as in the partial index


def lock_agent(agent_id: str) -> None:
    """From here to the end of the transaction nobody else counts or begins the agent's steps."""
    if database.dialect() == "postgres":  # SQLite has one writer anyway
        database.execute("SELECT pg_advisory_xact_lock(7340003, hashtext(?))", (agent_id,))


def at_work(agent_id: str, outside: str = "") -> int:
    """How many steps the agent works at, in other runs than `outside`."""
    sql = f"SELECT count(*) FROM visits WHERE {ACTIVE_SQL} AND owner IS NOT NULL AND agent_id = ? AND run_id <> ?"
    return database.execute(sql, (agent_id, outside)).fetchone()[0]


def first_waiting(agent_id: str) -> str | None:
    """The run whose step has waited longest for the agent."""
    sql = (
        f"SELECT run_id FROM visits WHERE {ACTIVE_SQL} AND status = 'queued' AND owner IS NULL AND agent_id = ?"
        " ORDER BY queued_at LIMIT 1"
    )
    row = database.execute(sql, (agent_id,)).fetchone()
    return row and row[0]


def of_run(run_id: str, epoch: int) -> list[VisitRow]:
    """The history of one epoch, in order of activation."""
    return VisitRow.fetch("run_id = ? AND epoch = ? ORDER BY n", (run_id, epoch))
