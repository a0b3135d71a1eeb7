"""The statuses of runs and steps, and which may follow which (engine, "Statuses and transitions")."""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    PENDING = "pending"  # accepted, no worker has claimed it in this epoch
    RUNNING = "running"  # at least one step is queued, running or retrying
    PAUSED = "paused"  # waits for a person; `status_reason` says why
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepStatus(StrEnum):
    PENDING = "pending"  # not entered yet
    QUEUED = "queued"  # entered, waiting for a worker
    RUNNING = "running"  # a worker holds its lease, or is about to take it over
    RETRYING = "retrying"  # the last attempt failed; repeats at `due_at`
    PAUSED = "paused"  # waits for a person
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
ACTIVE = frozenset({StepStatus.QUEUED, StepStatus.RUNNING, StepStatus.RETRYING, StepStatus.PAUSED})

_R, _S = RunStatus, StepStatus

# target -> statuses it may follow
RUN_SOURCES: dict[RunStatus, frozenset[RunStatus]] = {
    _R.RUNNING: frozenset({_R.PENDING, _R.PAUSED}),
    _R.PAUSED: frozenset({_R.PENDING, _R.RUNNING}),
    _R.COMPLETED: frozenset({_R.RUNNING}),
    _R.FAILED: frozenset({_R.PENDING, _R.RUNNING, _R.PAUSED}),
    _R.CANCELLED: frozenset({_R.PENDING, _R.RUNNING, _R.PAUSED}),
    _R.PENDING: frozenset({_R.COMPLETED, _R.FAILED, _R.CANCELLED, _R.PAUSED}),
}

STEP_SOURCES: dict[StepStatus, frozenset[StepStatus]] = {
    _S.QUEUED: frozenset({_S.PENDING, _S.RETRYING, _S.COMPLETED, _S.FAILED, _S.SKIPPED}),
    _S.RUNNING: frozenset({_S.QUEUED, _S.PAUSED}),
    _S.COMPLETED: frozenset({_S.RUNNING, _S.PAUSED}),
    _S.RETRYING: frozenset({_S.RUNNING}),
    _S.PAUSED: frozenset({_S.QUEUED, _S.RUNNING}),
    _S.FAILED: frozenset({_S.RUNNING, _S.QUEUED, _S.PAUSED}),
    _S.CANCELLED: ACTIVE,
    _S.SKIPPED: frozenset({_S.PENDING}),
}


def may_follow(status: str, before: str) -> bool:
    """Whether a step may go from `before` to `status` in one transaction: it may pass through `queued` on the way."""
    if status == before or before in STEP_SOURCES[status]:
        return True
    return before in STEP_SOURCES[_S.QUEUED] and _S.QUEUED in STEP_SOURCES[status]
