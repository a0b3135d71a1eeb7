"""Runs: one row each, which is also the lock, the fence and the event counter of everything in the run.

`runs` is narrow because every step boundary updates it; the long texts live in `run_inputs`, written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

from models import database, events
from models.base import JSONField, Model, now_ms
from models.errors import LeaseLost, NotFound, StaleState
from models.events import Event
from models.status import RUN_SOURCES, RunStatus

TASK_HEAD = 1_000  # characters of the task that lists show


class Run(Model):
    id = peewee.TextField(primary_key=True)
    pipeline_id = peewee.TextField()
    pipeline_version = peewee.TextField(null=True)
    pipeline_hash = peewee.TextField()
    project_id = peewee.TextField(null=True)
    project_name = peewee.TextField(null=True)
    task_id = peewee.TextField(null=True)
    task_head = peewee.TextField()
    task_truncated = peewee.BooleanField(default=False)
    status = peewee.TextField()
    status_reason = peewee.TextField(null=True)
    outputs = JSONField(null=True)  # set at the end of an epoch; live ones come from the visits
    error = peewee.TextField(null=True)
    error_code = peewee.TextField(null=True)
    failed_step = peewee.TextField(null=True)
    epoch = peewee.IntegerField(default=1)
    plan_version = peewee.IntegerField(default=0)  # +1 per planned change: who planned on an older one plans again
    parent_run_id = peewee.TextField(null=True)
    parent_step_id = peewee.TextField(null=True)
    forked_from = JSONField(null=True)
    schedule_id = peewee.TextField(null=True)
    model_override = peewee.TextField(null=True)
    max_cost_usd = peewee.DoubleField(null=True)
    max_tokens = peewee.BigIntegerField(null=True)
    max_duration_seconds = peewee.IntegerField()
    on_budget = peewee.TextField()
    root_run_id = peewee.TextField(null=True)  # whose budget counts; null: this run's own
    spent_cost_usd = peewee.DoubleField(default=0)  # of the whole tree in this epoch; counted where a limit is set
    spent_tokens = peewee.BigIntegerField(default=0)
    reserved_cost_usd = peewee.DoubleField(default=0)  # for calls in flight
    reserved_tokens = peewee.BigIntegerField(default=0)
    budget_warned = peewee.IntegerField(default=0)  # percent that was warned of
    paused_at = peewee.BigIntegerField(null=True)
    paused_ms = peewee.BigIntegerField(default=0)  # of this epoch; does not count against its time
    input_tokens = peewee.BigIntegerField(default=0)
    output_tokens = peewee.BigIntegerField(default=0)
    cache_read_tokens = peewee.BigIntegerField(default=0)
    cost_usd = peewee.DoubleField(default=0)
    llm_calls = peewee.IntegerField(default=0)
    tool_calls = peewee.IntegerField(default=0)
    steps_total = peewee.IntegerField()
    steps_done = peewee.IntegerField(default=0)  # set at the end of an epoch, as `outputs`
    tags = JSONField(default=list)
    webhook_url = peewee.TextField(null=True)
    workspace_type = peewee.TextField(null=True)
    workspace_from = peewee.TextField(null=True)  # snapshot that this epoch begins with; "" for an empty folder
    task_branch = peewee.TextField(null=True)
    warnings = JSONField(default=list)
    created_by = peewee.TextField(null=True)
    tainted_by = peewee.TextField(null=True)  # what from outside has been read in it; None: it is trusted
    last_seq = peewee.IntegerField(default=0)
    created_at = peewee.BigIntegerField()
    updated_at = peewee.BigIntegerField()
    started_at = peewee.BigIntegerField(null=True)
    completed_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "runs"
        indexes = (
            (("status", "id"), False),
            (("pipeline_id", "id"), False),
            (("project_id", "id"), False),
            (("parent_run_id", "id"), False),
            (("schedule_id", "id"), False),
            (("status", "completed_at"), False),
        )


class RunInput(Model):
    run_id = peewee.TextField(primary_key=True)
    task_description = peewee.TextField()
    human_context = peewee.TextField(null=True)
    metadata = JSONField(default=dict)

    class Meta:
        table_name = "run_inputs"


class RunTag(Model):
    tag = peewee.TextField()
    run_id = peewee.TextField()

    class Meta:
        table_name = "run_tags"
        primary_key = peewee.CompositeKey("tag", "run_id")
        without_rowid = True


class RunAgent(Model):
    """Which agents own a step of the run; one row each, written at create."""

    agent_id = peewee.TextField()
    run_id = peewee.TextField(index=True)

    class Meta:
        table_name = "run_agents"
        primary_key = peewee.CompositeKey("agent_id", "run_id")
        without_rowid = True


def get(run_id: str) -> Run:
    """Raises NotFound."""
    found = Run.fetch("id = ?", (run_id,))
    if not found:
        raise NotFound(f"Run {run_id} not found", "run_not_found")
    return found[0]


def lock(run_id: str) -> None:
    """Holds the run's row to the end of the transaction. Taken before rows that belong to it, nobody meets half way."""
    if database.dialect() == "postgres":  # SQLite has one writer anyway
        database.execute("SELECT 1 FROM runs WHERE id = ? FOR UPDATE", (run_id,))


def inputs(run_id: str) -> RunInput:
    """The long texts of a run."""
    return RunInput.fetch("run_id = ?", (run_id,))[0]


def tag(run_id: str, tags: Sequence[str]) -> None:
    """Makes the run findable by its tags."""
    _insert_pairs("run_tags (tag, run_id)", run_id, tags)


def name_agents(run_id: str, agents: Sequence[str]) -> None:
    """Makes the run findable by the agents that own its steps."""
    _insert_pairs("run_agents (agent_id, run_id)", run_id, agents)


def _insert_pairs(target: str, run_id: str, values: Sequence[str]) -> None:
    if values:
        marks = ", ".join(["(?, ?)"] * len(values))
        database.execute(f"INSERT INTO {target} VALUES {marks}", [part for value in values for part in (value, run_id)])


def write(
    run_id: str,
    recorded: Sequence[Event],
    *,
    to: str | None = None,
    at_status: Sequence[str] = (RunStatus.RUNNING,),
    at_epoch: int | None = None,
    at_version: int | None = None,
    fence: tuple[str, tuple] | None = None,
    add: dict[str, float] | None = None,
    **changes: Any,
) -> int:
    """Changes the run row and stores `recorded` as its next events; returns the run's new `last_seq`.

    `to` is a status to go to; without it the run must be in `at_status`. `at_epoch` and `at_version` are what the
    caller has seen; with a version the plan counts as changed. `fence` is an SQL condition with its parameters (a
    visit's token); `add` increments counters.
    Raises LeaseLost if the run has moved on, StaleState if only the plan's version has.
    """
    sets, params = ["last_seq = last_seq + ?", "updated_at = ?"], [len(recorded), now_ms()]
    if at_version is not None:
        sets.append("plan_version = plan_version + 1")
    for name, value in (add or {}).items():
        sets.append(f"{name} = {name} + ?")
        params.append(value)
    if to is not None:
        changes["status"] = str(to)
    for name, value in changes.items():
        sets.append(f"{name} = ?")
        params.append(getattr(Run, name).db_value(value))
    where, values = _guards(_sources(to, at_status), at_epoch, at_version, fence)
    sql = f"UPDATE runs SET {', '.join(sets)} WHERE id = ? AND {' AND '.join(where)} RETURNING last_seq, project_id"
    row = database.execute(sql, (*params, run_id, *values)).fetchone()
    if row is None:
        raise _refusal(run_id, _sources(to, at_status), at_epoch, at_version)
    if recorded:
        events.append(run_id, row[0], recorded, row[1])
    return row[0]


def _sources(to: str | None, at_status: Sequence[str]) -> list[str]:
    return list(at_status) if to is None else sorted(RUN_SOURCES[to])


def _guards(sources, epoch, version, fence) -> tuple[list[str], list]:
    where, values = [f"status IN ({', '.join('?' * len(sources))})"], [str(source) for source in sources]
    if epoch is not None:
        where.append("epoch = ?")
        values.append(epoch)
    if version is not None:
        where.append("plan_version = ?")
        values.append(version)
    if fence is not None:
        where.append(fence[0])
        values += fence[1]
    return where, values


def _refusal(run_id: str, sources: list[str], epoch: int | None, version: int | None) -> Exception:
    run = get(run_id)
    if version is not None and run.status in sources and run.epoch == epoch and run.plan_version != version:
        return StaleState(f"Run {run_id} was planned by another worker")
    return LeaseLost(f"Run {run_id} is {run.status} in epoch {run.epoch}")


# Tables whose rows belong to a run, and the column that says to which.
OWNED = {
    "visits": "run_id",
    "attempts": "run_id",
    "approvals": "run_id",
    "llm_calls": "run_id",
    "tool_uses": "run_id",
    "secret_uses": "run_id",
    "skill_pins": "run_id",
    "run_tags": "run_id",
    "run_agents": "run_id",
    "run_inputs": "run_id",
    "events": "stream",
    "runs": "id",
}


def family(run_id: str) -> list[str]:
    """The run and its child runs, theirs included."""
    found = [run_id]
    for parent in found:
        rows = database.execute("SELECT id FROM runs WHERE parent_run_id = ?", (parent,)).fetchall()
        found += [row[0] for row in rows]
    return found


def delete(run_id: str) -> None:
    """Removes every row of one run in the enclosing transaction."""
    for table, column in OWNED.items():
        database.execute(f"DELETE FROM {table} WHERE {column} = ?", (run_id,))
