"""Rows as the workers write them, so that the API can be tested without running any."""

from __future__ import annotations

from typing import Any

from models import database, runs, snapshots, text_search
from models.approvals import Approval
from models.base import new_id, now_ms
from models.calls import LLMCall, ToolUse
from models.events import Event
from models.runs import Run, RunAgent, RunInput, RunTag
from models.visits import Attempt, VisitRow

PIPELINE = """\
id: two
steps:
  - id: FIX
    agent: developer
    input: Fix {{task_description}}
    outputs: [summary]
  - id: TEST
    agent: tester
    input: Test it
    maxRetries: 5
"""


def run(task: str = "Mend the fence", tags: tuple[str, ...] = (), **columns: Any) -> str:
    """A run with its inputs, its tags, its agents and its first event; returns its id."""
    run_id, now = columns.pop("id", None) or new_id("run_"), now_ms()
    inputs = {name: columns.pop(name) for name in ("human_context", "metadata") if name in columns}
    row = {
        "id": run_id,
        "pipeline_id": "two",
        "pipeline_hash": "sha256:two",
        "status": "pending",
        "task_head": task[:1000],
        "task_truncated": len(task) > 1000,
        "tags": list(tags),
        "max_duration_seconds": 86_400,
        "on_budget": "fail",
        "steps_total": 2,
        "created_at": now,
        "updated_at": now,
    }
    row |= columns
    with database.transaction():
        snapshots.keep("sha256:two", "two", PIPELINE)
        Run.insert(row).execute()
        RunInput.insert(run_id=run_id, task_description=task, **inputs).execute()
        for tag in tags:
            RunTag.insert(tag=tag, run_id=run_id).execute()
        for agent in ("developer", "tester"):
            RunAgent.insert(agent_id=agent, run_id=run_id).execute()
        text_search.RUNS.index(run_id, [task, inputs.get("human_context"), *tags, row.get("error")])
    emit(run_id, "run_created")
    return run_id


def emit(run_id: str, *types: str, **payload: Any) -> int:
    """Events of the run, each in a transaction of its own, as the workers write them; returns the last number."""
    for type in types:
        last = record(run_id, Event(type, run_id=run_id, epoch=1, payload=payload))
    return last


def record(run_id: str, *events: Event, **changes: Any) -> int:
    with database.transaction():
        return runs.write(run_id, events, at_status=[runs.get(run_id).status], **changes)


def finish(run_id: str, type: str = "run_complete") -> int:
    """The end of the run: its status and its last event in one transaction."""
    status = {"run_complete": "completed", "run_failed": "failed", "run_cancelled": "cancelled"}[type]
    set_status(run_id, "running")
    with database.transaction():
        return runs.write(run_id, [Event(type, run_id=run_id, epoch=1)], to=status, completed_at=now_ms())


def set_status(run_id: str, status: str, **columns: Any) -> None:
    with database.transaction():
        Run.update(status=status, **columns).where(Run.id == run_id).execute()


def visit(run_id: str, key: str, n: int = 1, **columns: Any) -> None:
    """One entry into a step."""
    row = {
        "run_id": run_id,
        "epoch": 1,
        "n": n,
        "step_key": key,
        "type": "agent",
        "agent_id": "developer",
        "status": "completed",
        "visit": 1,
        "scope": [],
        "reason": "start",
        "attempt": 1,
        "max_retries": 2,
    }
    with database.transaction():
        VisitRow.insert(row | columns).execute()


def attempt(run_id: str, n: int, number: int, **columns: Any) -> None:
    """An attempt that failed and was repeated."""
    row = {"run_id": run_id, "epoch": 1, "n": n, "attempt": number, "status": "failed", "prompt": "Try"}
    with database.transaction():
        Attempt.insert(row | columns).execute()


def call(run_id: str | None = None, **columns: Any) -> str:
    """One line of the ledger; returns its id."""
    row = {
        "id": new_id("llm_"),
        "run_id": run_id,
        "provider": "openai",
        "model": "small",
        "status": "ok",
        "created_at": now_ms(),
    }
    with database.transaction():
        LLMCall.add(row | columns)
    return (row | columns)["id"]


def tool_use(run_id: str | None, **columns: Any) -> None:
    """A tool call of an attempt."""
    row = {"run_id": run_id, "turn": 1, "tool_call_id": "call_1", "arguments": {}, "created_at": now_ms()}
    with database.transaction():
        ToolUse.add(row | columns)


def approval(run_id: str, **columns: Any) -> str:
    """Something that a person must decide; returns its id."""
    row = {
        "id": new_id("apr_"),
        "kind": "step",
        "status": "pending",
        "run_id": run_id,
        "epoch": 1,
        "n": 1,
        "step_key": "FIX",
        "prompt": "Ship it?",
        "options": ["approve", "reject"],
        "on_expiry": "reject",
        "created_at": now_ms(),
    }
    with database.transaction():
        Approval.add(row | columns)
    return row["id"]


def say(run_id: str, key: str, *texts: str, attempt: int = 1, turn: int = 1, item_index: int | None = None) -> int:
    """Pieces of an agent's answer."""
    for text in texts:
        event = Event("agent_output", run_id=run_id, epoch=1, step_id=key, attempt=attempt, item_index=item_index)
        event.payload = {"text": text, "turn": turn}
        last = record(run_id, event)
    return last


def lose_database() -> None:
    """From now on nobody answers where the database should be."""
    database.db.obj.close_all()
    database.init("postgresql://nobody@127.0.0.1:1/none")
