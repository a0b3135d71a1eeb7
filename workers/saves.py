"""Saving a walk: everything that one decision changes, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from models import approvals, budgets, database, firings, outbox, runs, text_search, visits
from models.base import now_ms
from models.errors import NeedsPerson
from models.events import Event
from models.run_views import COUNTED
from models.runs import Run
from models.status import TERMINAL, RunStatus, StepStatus
from pipelines import plan, template
from pipelines.state import OPEN, Visit
from workers import broker, walks
from workers.agent import prompt, settings
from workers.publisher import publisher
from workers.walks import Walk, as_event, count, event, usage

ENDS = {RunStatus.COMPLETED: "run_complete", RunStatus.FAILED: "run_failed"}
WORKING = (RunStatus.RUNNING,)
OR_PAUSED = (RunStatus.RUNNING, RunStatus.PAUSED)


def save(
    walk: Walk,
    before: Sequence[Event] = (),
    after: Sequence[Event] = (),
    *,
    started: Visit | None = None,
    to: str | None = None,
    at_status: Sequence[str] = WORKING,
    add: dict[str, float] | None = None,
    **changes: Any,
) -> None:
    """Stores what was planned: the run row, the changed visits, the events, the doorbells of what waits.

    `started` is the visit whose `step_started` is the last of `after`. Raises LeaseLost, StaleState.
    """
    run, state = walk.run, walk.state
    asked = _ask(walk)
    if state.ending:
        _refresh_counters(run)
    add = {name: (add or {}).get(name, 0) + walk.add.get(name, 0) for name in {*(add or {}), *walk.add}}
    count(run, add)
    recorded = [*before, *(as_event(run, planned) for planned in state.events), *asked, *after]
    if new := [text for text in state.warnings if text not in run.warnings]:
        changes["warnings"] = run.warnings = [*run.warnings, *new]
    if state.ending:
        to = RunStatus(state.ending.status)
        recorded.append(_last_event(walk, to))
        changes |= _ended(walk)
    elif to in (None, RunStatus.RUNNING) and run.status in (*WORKING, RunStatus.PENDING) and _waits_for_people(walk):
        to = RunStatus.PAUSED
        changes |= _paused(walk, recorded)
    status = {"to": to, "at_status": at_status}
    last = runs.write(run.id, recorded, at_epoch=run.epoch, at_version=state.version, add=add, **status, **changes)
    walk.written, run.last_seq, run.status = True, last, to or run.status
    if started is not None:
        started.first_seq = last
    _stamp(state.changed.values())
    visits.save([walks.row(run.id, visit) for visit in state.changed.values()], walk.stored)
    _tell_others(walk)


def _refresh_counters(run: Run) -> None:
    """Other branches count on the row without planning, so the copy's counters may be behind."""
    stored = runs.get(run.id)
    for name in COUNTED:
        setattr(run, name, getattr(stored, name))


def _stamp(changed: Iterable[Visit]) -> None:
    """The planner has no clock: times of what it queued and ended are set here."""
    for visit in changed:
        if visit.status != StepStatus.PENDING and visit.queued_at is None:
            visit.queued_at = now_ms()
        if visit.done_version is not None and visit.completed_at is None:
            visit.completed_at = now_ms()


def _tell_others(walk: Walk) -> None:
    """Who must hear of it: workers, the parent run, child runs, people."""
    run, changed = walk.run, walk.state.changed.values()
    for ref in walk.answered:
        outbox.answered(run.id, ref)
    cancelled = [visit for visit in changed if visit.status == StepStatus.CANCELLED]
    for visit in cancelled:
        outbox.answered(run.id, walks.ref(visit))
        if visit.child_run_id:
            cancel(walks.load(visit.child_run_id), f"{run.id} does not need it any more", None)
    if run.status in TERMINAL:
        outbox.withdraw("advance_run", run.id)
        approvals.withdraw(run.id)
        if run.root_run_id or run.max_tokens is not None or run.max_cost_usd is not None:
            budgets.release(run.id, run.root_run_id)
        database.on_commit(lambda: publisher.nudge(run.id))
        if run.parent_run_id:
            broker.doorbell("advance_run", run.parent_run_id, f"child.{run.id}")
        if run.project_id:
            broker.doorbell("task_on_run_end", run.id, "task")
        if firings.comes_from_github(run.tainted_by):
            broker.doorbell("github_report", run.id, firings.ENDED)
    if cancelled and run.status not in TERMINAL:
        for visit in cancelled:
            budgets.release(run.id, run.root_run_id, visit.n)
        approvals.withdraw(run.id, [visit.n for visit in cancelled])
    for visit in changed:
        if visit.status == StepStatus.QUEUED and run.status not in TERMINAL:
            broker.doorbell("advance_run", run.id, walks.ref(visit))
    freed = {visit.agent_id for visit in changed if _left(walk, visit) and settings.most_steps(visit.agent_id)}
    if freed:
        database.on_commit(lambda: _ring_for(freed))


def _left(walk: Walk, visit: Visit) -> bool:
    """Whether somebody worked on it until now."""
    return visit.owner is None and walk.stored.get(visit.n, (0, ""))[1] == StepStatus.RUNNING


def _ring_for(agents: Iterable[str]) -> None:
    """An agent that was at its limit may have room again: its oldest waiting step need not wait for the relay."""
    with database.connection():
        waiting = {visits.first_waiting(agent_id) for agent_id in agents}
    for run_id in waiting - {None}:
        broker.ringer.ring_soon("advance_run", run_id)


# --- endings ---


def _last_event(walk: Walk, status: RunStatus) -> Event:
    ending, run = walk.state.ending, walk.run
    payload = {"duration_ms": _duration(run), "usage": usage(run)}
    if status == RunStatus.COMPLETED:
        return event(run, ENDS[status], outputs=walks.shown(walk.state.view(())), **payload)
    why = {"error": ending.error, "error_code": ending.error_code, "failed_step": ending.failed_step}
    return event(run, ENDS[status], **why, **payload)


def _ended(walk: Walk) -> dict[str, Any]:
    ending, run = walk.state.ending, walk.run
    if ending.error:
        texts = (walk.inputs.task_description, walk.inputs.human_context, *run.tags, ending.error)
        text_search.RUNS.index(run.id, texts)
    return {
        "completed_at": now_ms(),
        "status_reason": None,
        "outputs": walk.state.view(()),
        "steps_done": walk.state.steps_done,
        "error": ending.error,
        "error_code": ending.error_code,
        "failed_step": ending.failed_step,
    }


def _duration(run: Run) -> int | None:
    return now_ms() - run.started_at if run.started_at else None


def cancel(walk: Walk, reason: str | None, by: str | None) -> None:
    """Ends the run and its child runs now, in the enclosing transaction; a run that is over is left as it is."""
    run = walk.run
    if run.status in TERMINAL:
        return
    plan.cancel(walk.state, reason or "the run was cancelled")
    _refresh_counters(run)
    payload = {"reason": reason, "cancelled_by": by, "duration_ms": _duration(run), "usage": usage(run)}
    changes = {"completed_at": now_ms(), "outputs": walk.state.view(()), "status_reason": None}
    changes["steps_done"] = walk.state.steps_done
    save(walk, after=[event(run, "run_cancelled", **payload)], to=RunStatus.CANCELLED, **changes)


# --- people ---


def _ask(walk: Walk) -> list[Event]:
    """An approval for each visit that began to wait for a person."""
    waiting = [v for v in walk.state.changed.values() if v.status == StepStatus.PAUSED and v.approval_id is None]
    return [_request(walk, visit, walk.asked.get(visit.n) or _of_step(walk, visit)) for visit in waiting]


def _of_step(walk: Walk, visit: Visit) -> NeedsPerson:
    approval = walk.state.step(visit).approval
    text, _ = template.render(approval.prompt, prompt.variables(walk.facts, walk.state, visit))
    asks = NeedsPerson("step", text, approval.options)
    asks.details = {
        "approvers": list(approval.approvers),
        "expires_in_ms": int(approval.timeout_seconds * 1000) if approval.timeout_seconds else None,
        "on_expiry": approval.on_timeout,
    }
    return asks


def _request(walk: Walk, visit: Visit, asks: NeedsPerson) -> Event:
    run = walk.run
    row = {"expires_in_ms": None, "on_expiry": "fail"} | asks.details
    row |= {"kind": asks.kind, "prompt": asks.message, "options": list(asks.options), "data": asks.data}
    visit.approval_id = approvals.request(
        row | {"run_id": run.id, "epoch": run.epoch, "n": visit.n, "step_key": visit.step_key}
    )
    visit.interrupted = asks.kind
    stored = approvals.get(visit.approval_id)
    payload = {name: getattr(stored, name) for name in ("kind", "prompt", "options", "expires_at")}
    return event(run, "approval_requested", visit, approval_id=visit.approval_id, **payload)


def _waits_for_people(walk: Walk) -> bool:
    still = [visit for visit in walk.state.visits if visit.status in OPEN and visit.status != StepStatus.PENDING]
    return bool(still) and all(visit.status == StepStatus.PAUSED for visit in still)


def _paused(walk: Walk, recorded: list[Event]) -> dict[str, Any]:
    first = next(visit for visit in walk.state.visits if visit.status == StepStatus.PAUSED)
    reason = approvals.REASONS[first.interrupted]
    recorded.append(event(walk.run, "run_paused", reason=reason, approval_id=first.approval_id))
    walk.run.status_reason = reason
    return {"status_reason": reason, "paused_at": now_ms()}
