"""Decisions of people: each applied once, in the transaction that records it."""

from __future__ import annotations

from typing import Any

import structlog

from models import approvals, database, runs
from models.approvals import Approval
from models.base import now_ms
from models.calls import ToolUse
from models.errors import (
    ApprovalRejected,
    BudgetExceeded,
    Conflict,
    EffectUnknown,
    Forbidden,
    Invalid,
    LeaseLost,
)
from models.status import RunStatus, StepStatus
from pipelines import plan, results
from pipelines.state import Visit
from workers import saves, walks
from workers.broker import doorbell
from workers.walks import Walk

log = structlog.get_logger(__name__)


def decide(
    approval_id: str, decision: str, *, comment: str | None = None, data: dict | None = None, by: str | None = None
) -> Approval:
    """Decides once and lets the run go on in the same transaction; the same decision again changes nothing.

    Raises NotFound, Conflict, Invalid, Forbidden.
    """
    approval = approvals.get(approval_id)
    if decision not in approval.options:
        raise Invalid(f"{decision!r} is no option of {approval_id}", errors={"decision": [_one_of(approval.options)]})
    of_the_run = approval.kind == "budget" and approval.data.get("limit") != "day"  # the day's is raised as a setting
    if of_the_run and decision == "raise" and not any((data or {}).get(name) for name in _RAISES):
        raise Invalid("Say by how much", errors={"data": [f"needs one of: {', '.join(_RAISES)}"]})
    if approval.approvers and by not in approval.approvers:
        raise Forbidden(f"Only {', '.join(approval.approvers)} may decide {approval_id}")
    _settle(approval, "decided", decision, comment, data or {}, by)
    return approvals.get(approval_id)


def _one_of(options: list[str]) -> str:
    return f"must be one of: {', '.join(options)}"


def expire() -> int:
    """Applies the declared default of every approval whose time is up; returns how many."""
    with database.connection():
        found = approvals.expired()
    for approval in found:
        try:
            _settle(approval, "expired", approval.on_expiry, "nobody decided in time", {}, None)
        except Conflict as late:
            log.info("expiry_too_late", approval=approval.id, reason=late.message)
    return len(found)


def _settle(approval: Approval, status: str, decision: str, comment: str | None, data: dict, by: str | None) -> None:
    def apply(walk: Walk) -> None:
        runs.lock(walk.run.id)
        if approvals.decide(approval, status, decision, comment, by):
            _apply(walk, approval, decision, comment, data, by)

    with database.connection():
        walk = walks.load(approval.run_id)
    try:
        walks.change(walk, apply)
    except LeaseLost as moved:
        raise Conflict(f"The run moved on: {moved.message}", "approval_withdrawn", allowed=[]) from moved


def _apply(walk: Walk, approval: Approval, decision: str, comment: str | None, data: dict, by: str | None) -> None:
    visit = walk.state.visits[approval.n - 1]
    if walk.run.epoch != approval.epoch or visit.status != StepStatus.PAUSED:
        raise LeaseLost(f"{approval.id} belongs to an earlier state of the run")
    if walk.run.status == RunStatus.PAUSED and walk.run.status_reason == "user":
        raise Conflict(f"Run {walk.run.id} is paused: resume it first", "run_paused", allowed=["resume"])
    _wake(walk, by)
    payload = {"approval_id": approval.id, "decision": decision, "comment": comment, "decided_by": by}
    decided = walks.event(walk.run, "approval_decided", visit, **payload)
    walk.state.touch(visit).interrupted = None
    add = _EFFECTS[approval.kind](walk, visit, approval, decision, comment, data) or {}
    saves.save(walk, before=[decided], **add)
    if visit.status == StepStatus.RUNNING:
        doorbell("advance_run", walk.run.id, walks.ref(visit))


def _wake(walk: Walk, by: str | None) -> None:
    """A run that waited only for people runs again."""
    run = walk.run
    if run.status == RunStatus.PAUSED:
        resume(walk, by)


def resume(walk: Walk, by: str | None) -> None:
    """paused -> running, in the enclosing transaction; time in `paused` does not count against the run."""
    run = walk.run
    resumed = walks.event(run, "run_resumed", by=by)
    pause = now_ms() - (run.paused_at or now_ms())
    changes = {"status_reason": None, "paused_at": None}
    to = RunStatus.RUNNING if run.started_at else RunStatus.PENDING
    runs.write(run.id, [resumed], to=to, at_epoch=run.epoch, add={"paused_ms": pause}, **changes)
    run.status, run.status_reason, run.paused_ms = to, None, run.paused_ms + pause


def _step(walk: Walk, visit: Visit, approval: Approval, decision: str, comment: str | None, data: dict) -> None:
    outputs = {"decision": decision, "comment": comment or ""}
    step = walk.state.step(visit)
    if decision == "fail" and "fail" not in approval.options:
        plan.fail(walk.state, visit, ApprovalRejected(f"Nobody decided {visit.step_key} in time"))
    elif decision == "reject" and not (results.match(step, decision) or results.default(step)):
        plan.fail(walk.state, visit, ApprovalRejected(comment or f"{visit.step_key} was rejected"))
    else:
        plan.end_without_attempt(walk.state, visit, outputs)


def _tool(walk: Walk, visit: Visit, approval: Approval, decision: str, comment: str | None, data: dict) -> None:
    allowed = decision == "allow"
    refusal = f"A person did not allow this call. {comment or ''}".strip()
    changes = {"status": "allowed"} if allowed else {"status": "done", "result": refusal, "is_error": True}
    _note_use(approval, changes)
    _go_on(visit)


def _effect(walk: Walk, visit: Visit, approval: Approval, decision: str, comment: str | None, data: dict) -> None:
    if decision == "fail":
        plan.fail(walk.state, visit, EffectUnknown(comment or f"{approval.data['tool_name']}: its outcome is unknown"))
        return
    result = str(data.get("result") or comment or "Done (confirmed by a person).")
    _note_use(approval, {"status": "allowed"} if decision == "repeat" else {"status": "done", "result": result})
    _go_on(visit)


def _budget(
    walk: Walk, visit: Visit, approval: Approval, decision: str, comment: str | None, data: dict
) -> dict[str, Any] | None:
    if decision != "raise":
        plan.fail(walk.state, visit, BudgetExceeded(comment or "The budget was not raised"))
        return None
    _go_on(visit)
    return {"add": {column: data[name] for name, column in _RAISES.items() if data.get(name)}}


_RAISES = {"add_cost_usd": "max_cost_usd", "add_tokens": "max_tokens"}
_EFFECTS = {"step": _step, "tool": _tool, "effect": _effect, "budget": _budget}


def _note_use(approval: Approval, changes: dict[str, Any]) -> None:
    ToolUse.update(**changes).where(ToolUse.id == approval.data["use_id"]).execute()


def _go_on(visit: Visit) -> None:
    """The same attempt goes on from its journal, with whichever worker comes first."""
    visit.status, visit.interrupted = StepStatus.RUNNING, "resume"
