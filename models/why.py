"""Why a run does not go on: what each of its open visits waits for, in a few statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from models import config, database, outbox, runs, workers
from models.approvals import REASONS
from models.base import now_ms
from models.runs import Run
from models.status import TERMINAL, RunStatus, StepStatus
from models.visits import ACTIVE_SQL

OVERDUE_MS = 5_000  # a doorbell that has not rung for this long after its time: nobody can reach the queue
MOST_HOLDERS = 10
LONGEST_ERROR = 300  # characters
SILENT_SHARE = 0.7  # of a lease without a beat; then the worker itself stops
DONE = (StepStatus.COMPLETED, StepStatus.SKIPPED)
VISITS = (
    "SELECT v.n, v.step_key, v.agent_id, v.type, v.status, v.passed, v.planned_version, v.done_version, v.owner,"
    " v.due_at, v.model, v.retry_count, v.max_retries, v.error, v.error_code, v.queued_at, v.completed_at,"
    " v.child_run_id,"
    " w.seen_at, c.status AS child_status, a.id AS approval_id, a.kind, a.prompt, a.data, a.created_at AS asked_at,"
    " a.expires_at FROM visits v LEFT JOIN workers w ON w.id = v.owner LEFT JOIN runs c ON c.id = v.child_run_id"
    " LEFT JOIN approvals a ON a.id = v.approval_id AND a.status = 'pending'"
    " WHERE v.run_id = ? AND v.epoch = ? ORDER BY v.n"
)
PAUSED = "SELECT data FROM events WHERE stream = ? AND type = 'run_paused' ORDER BY seq DESC LIMIT 1"

Row = dict[str, Any]
Reason = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the pinned definition says about waiting."""

    max_parallel: int
    needs: Mapping[str, Sequence[str]]  # step key -> the steps it joins
    limits: Mapping[str, int] = field(default_factory=dict)  # agent -> how many steps it may work at


def explain(run_id: str, rules_of: Callable[[str], Rules]) -> dict[str, Any]:
    """The `why` object of the API; `rules_of` takes the hash of a definition. Raises NotFound."""
    run, now = runs.get(run_id), now_ms()
    if run.status in TERMINAL:
        return _answer(run, [], [_finished(run)])
    visits = database.rows(VISITS, (run.id, run.epoch))
    working = [row for row in visits if _is_worked_on(row, now)]
    reasons = [*_pause(run), *(found for row in visits if (found := _of_visit(row, now)))]
    if run.status != RunStatus.PAUSED:
        rules = rules_of(run.pipeline_hash)
        reasons += [*_queue(run, visits, rules, now), *_joins(visits, rules)]
    return _answer(run, working, reasons)


def _answer(run: Run, working: list[Row], reasons: list[Reason]) -> dict[str, Any]:
    waiting = run.status not in TERMINAL and not working
    keys = ", ".join(dict.fromkeys(row["step_key"] for row in working))
    summary = f"{keys}: at work" if working else reasons[0]["message"] if reasons else "It goes on at any moment"
    return {"run_id": run.id, "status": run.status, "waiting": waiting, "summary": summary, "reasons": reasons}


def _reason(
    code: str, message: str, step_id: str | None = None, since: int | None = None, until: int | None = None, **refs: Any
) -> Reason:
    return {"code": code, "message": message, "step_id": step_id, "since": since, "until": until, "refs": refs}


def _finished(run: Run) -> Reason:
    why = f": {run.error[:LONGEST_ERROR]}" if run.error else ""
    return _reason("finished", f"The run is {run.status}{why}", run.failed_step, run.completed_at)


def _pause(run: Run) -> Iterator[Reason]:
    if run.status_reason == "user":
        said = next((orjson.loads(row["data"]) for row in database.rows(PAUSED, (run.id,))), {})
        comment = f" ({said['comment']})" if said.get("comment") else ""
        message = f"{said.get('by') or 'A person'} paused the run{comment}; resume it"
        yield _reason("paused_by_user", message, since=run.paused_at, comment=said.get("comment"), by=said.get("by"))


# --- one visit ---


def _is_worked_on(row: Row, now: int) -> bool:
    return row["owner"] is not None and not _is_silent(row, now)


def _is_silent(row: Row, now: int) -> bool:
    return row["seen_at"] is None or now - row["seen_at"] > SILENT_SHARE * _lease_ms()


def _lease_ms() -> int:
    return int(config.get().lease_seconds * 1000)


def _of_visit(row: Row, now: int) -> Reason | None:
    """What this visit waits for, None if it is over, at work, or waits for a worker only."""
    if row["kind"] is not None:
        return _of_approval(row)
    if row["status"] == StepStatus.RETRYING and row["due_at"] > now:
        return _of_backoff(row, now)
    if row["status"] == StepStatus.RUNNING and row["child_run_id"]:
        refs = {"run_id": row["child_run_id"], "status": row["child_status"]}
        message = f"{row['step_key']} waits for {row['child_run_id']}, which is {row['child_status']}"
        return _reason("child_run", message, row["step_key"], row["queued_at"], **refs)
    if row["status"] == StepStatus.RUNNING and row["owner"] and _is_silent(row, now):
        until = row["seen_at"] and row["seen_at"] + _lease_ms()
        message = f"The worker of {row['step_key']} is silent; another one takes over when its lease ends"
        return _reason("worker_lost", message, row["step_key"], row["seen_at"], until, worker=row["owner"])
    return None


def _of_approval(row: Row) -> Reason:
    refs = {"approval_id": row["approval_id"], "kind": row["kind"]}
    if tool := orjson.loads(row["data"]).get("tool_name"):
        refs["tool"] = tool
    message = f"{row['step_key']} waits for a person: {row['prompt'][:LONGEST_ERROR]}"
    return _reason(REASONS[row["kind"]], message, row["step_key"], row["asked_at"], row["expires_at"], **refs)


def _of_backoff(row: Row, now: int) -> Reason:
    seconds = max(round((row["due_at"] - now) / 1000), 1)
    number = f"attempt {row['retry_count'] + 1} of {row['max_retries'] + 1}"
    message = f"{row['step_key']} repeats in {seconds} s ({number}): {(row['error'] or '')[:LONGEST_ERROR]}"
    refs = {"error_code": row["error_code"], "provider": row["model"] and row["model"].partition("/")[0]}
    return _reason("retry_backoff", message, row["step_key"], row["completed_at"], row["due_at"], **refs)


# --- the queue ---


def _queue(run: Run, visits: list[Row], rules: Rules, now: int) -> Iterator[Reason]:
    """Why nobody has taken what waits for a worker."""
    ready = [row for row in visits if _is_ready(row, now)]
    if not ready and run.status != RunStatus.PENDING:
        return
    step, since = (ready[0]["step_key"], ready[0]["queued_at"]) if ready else (None, run.updated_at)
    holders = [row["step_key"] for row in visits if row["owner"] is not None]
    if len(holders) >= rules.max_parallel:
        message = f"The run works at {rules.max_parallel} steps at once already"
        yield _reason("agent_limit", message, step, since, limit=rules.max_parallel, holders=holders)
    elif ready and (busy := _agent_limit(ready[0], rules)):
        yield busy
    else:
        yield _in_line(run, step, since)


def _agent_limit(row: Row, rules: Rules) -> Reason | None:
    """That the step's agent works at as many steps as it may."""
    limit = rules.limits.get(row["agent_id"] or "")
    if limit is None or row["status"] == StepStatus.RUNNING:
        return None
    sql = f"SELECT run_id, step_key AS step_id FROM visits WHERE {ACTIVE_SQL} AND owner IS NOT NULL AND agent_id = ?"
    holders = database.rows(f"{sql} LIMIT {limit}", (row["agent_id"],))
    if len(holders) < limit:
        return None
    message = f"{row['agent_id']} works at {limit} steps already (maxConcurrentSteps)"
    return _reason("agent_limit", message, row["step_key"], row["queued_at"], limit=limit, holders=holders)


def _is_ready(row: Row, now: int) -> bool:
    """Whether the visit only waits for a worker to take it (or to take it over)."""
    if row["status"] == StepStatus.RUNNING:
        return row["owner"] is None and row["type"] in ("agent", "loop")
    return row["status"] == StepStatus.QUEUED or (row["status"] == StepStatus.RETRYING and row["due_at"] <= now)


def _in_line(run: Run, step: str | None, since: int | None) -> Reason:
    seen, (ahead, overdue_ms) = workers.alive(), outbox.standing(run.id)
    if not seen["alive"]:
        return _reason("no_worker", "No worker is there: start one", step, since)
    if overdue_ms > OVERDUE_MS:
        message = "Nobody has told the workers yet: the relay does not run, or Redis is away"
        return _reason("queue_unreachable", message, step, since)
    free = max(seen["slots"] - seen["busy"], 0)
    message = f"It waits for a worker: {ahead} before it, {free} of {seen['slots']} slots are free"
    refs = {"position": ahead + 1, "slots": seen["slots"], "holders": [] if free else _holders()}
    return _reason("workers_busy", message, step, since, **refs)


def _holders() -> list[dict[str, str]]:
    """Some of what the workers are at."""
    sql = f"SELECT run_id, step_key AS step_id FROM visits WHERE {ACTIVE_SQL} AND owner IS NOT NULL"
    return database.rows(f"{sql} LIMIT {MOST_HOLDERS}")


# --- joins ---


def _joins(visits: list[Row], rules: Rules) -> Iterator[Reason]:
    """Steps that some of what they need has finished for, and that wait for the rest."""
    latest = {row["step_key"]: row for row in visits}
    for key, needs in rules.needs.items():
        found = [latest[need] for need in needs if need in latest]
        since = latest[key]["planned_version"] if key in latest else -1
        done = [row for row in found if row["status"] in DONE and row["passed"]]
        left = [need for need in needs if need not in {row["step_key"] for row in done}]
        if left and any(row["done_version"] > since for row in done):
            message = f"{key} starts when {', '.join(left)} {'is' if len(left) == 1 else 'are'} done"
            yield _reason("join", message, key, max(row["completed_at"] or 0 for row in done), needs=left)
