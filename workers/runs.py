"""Runs: the commands that start, cancel and restart them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from models import config, database, outbox, runs, settings, skill_grants, snapshots, text_search, visits
from models.base import new_id, now_ms
from models.errors import Conflict, Invalid, LeaseLost, TooMany
from models.events import Event
from models.runs import TASK_HEAD, Run, RunInput
from models.status import TERMINAL, RunStatus, StepStatus
from pipelines import rewind
from pipelines.catalog import Entry
from pipelines.definition import Pipeline, fold
from pipelines.state import Visit
from workers import approvals, saves, task_runs, walks, workspaces
from workers.broker import doorbell
from workers.publisher import publisher
from workers.walks import Walk

MAX_CONTEXT_BYTES = 1_000_000
DAY_SECONDS = 86_400
ENDED = ("error", "error_code", "failed_step", "outputs", "started_at", "completed_at", "paused_at")  # of an epoch
COUNTED = ("spent_cost_usd", "spent_tokens", "budget_warned", "paused_ms", "steps_done")  # per epoch


def start(
    entry: Entry,
    *,
    task_description: str,
    human_context: str | None = None,
    tags: tuple[str, ...] = (),
    metadata: dict | None = None,
    **columns: Any,
) -> str:
    """Writes a pending run with all it needs and rings for a worker; returns its id. Raises TooMany.

    `columns`: project_name, project_id, model_override, max_cost_usd, max_tokens, max_duration_seconds, on_budget,
    webhook_url, warnings, created_by, tainted_by.
    """
    run_id, pipeline = new_id("run_"), entry.pipeline
    row = _row(run_id, entry, task_description, tags, columns)
    with database.transaction():
        _refuse_if_full()
        snapshots.keep(entry.hash, pipeline.id, entry.text)
        Run.add(row)
        texts = {"task_description": task_description, "human_context": human_context}
        RunInput.add({"run_id": run_id, **texts, "metadata": metadata or {}})
        _index(run_id, tags, pipeline)
        skill_grants.pin(run_id)
        text_search.RUNS.index(run_id, (*texts.values(), *tags))
        _created(run_id, row)
        doorbell("advance_run", run_id)
    return run_id


def _row(run_id: str, entry: Entry, task: str, tags: tuple[str, ...], columns: dict[str, Any]) -> dict[str, Any]:
    pipeline, now = entry.pipeline, now_ms()
    given = {name: value for name, value in columns.items() if value is not None}
    seconds = min(given.pop("max_duration_seconds", DAY_SECONDS), pipeline.max_duration_seconds)
    return {
        "id": run_id,
        "pipeline_id": pipeline.id,
        "pipeline_version": pipeline.version,
        "pipeline_hash": entry.hash,
        "task_head": task[:TASK_HEAD],
        "task_truncated": len(task) > TASK_HEAD,
        "status": RunStatus.PENDING,
        "max_cost_usd": _first(pipeline.budget.max_cost_usd, settings.get("runBudgetUsd")),
        "max_tokens": pipeline.budget.max_tokens,
        "max_duration_seconds": seconds,
        "on_budget": pipeline.budget.on_budget or "fail",
        "steps_total": len(pipeline.steps),
        "tags": list(tags),
        "workspace_type": "plain",
        "created_at": now,
        "updated_at": now,
        **given,
    }


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _refuse_if_full() -> None:
    cap = config.get().max_pending_runs
    sql = "SELECT count(*) FROM (SELECT 1 FROM runs WHERE status = 'pending' LIMIT ?) AS pending"
    if database.execute(sql, (cap,)).fetchone()[0] >= cap:
        raise TooMany(f"{cap} runs are pending already", "too_many_pending", retry_after=30)


def _index(run_id: str, tags: tuple[str, ...], pipeline: Pipeline) -> None:
    """What lists find the run by."""
    agents = {step.agent for step in pipeline.steps.values() if step.agent}
    runs.tag(run_id, tags)
    runs.name_agents(run_id, sorted(agents))


def _created(run_id: str, row: dict[str, Any]) -> None:
    payload = {
        "pipeline_id": row["pipeline_id"],
        "task_description": row["task_head"],
        "project_id": row.get("project_id"),
        "project_name": row.get("project_name"),
        "parent_run_id": row.get("parent_run_id"),
        "forked_from": row.get("forked_from"),
    }
    created = Event("run_created", run_id=run_id, epoch=1, payload=payload)
    runs.write(run_id, [created], at_status=[RunStatus.PENDING])


def cancel(run_id: str, reason: str | None = None, by: str | None = None) -> None:
    """Ends the run now: no worker can write to it any more, and what works on it stops within a second.

    A run that is cancelled already is left as it is. Raises NotFound, Conflict.
    """
    _repeat_until_settled(run_id, lambda walk: _cancel(walk, reason, by))


def _cancel(walk: Walk, reason: str | None, by: str | None) -> None:
    run = walk.run
    if run.status in (RunStatus.COMPLETED, RunStatus.FAILED):
        raise Conflict(f"Run {run.id} is {run.status}", "run_already_finished", allowed=["restart"])
    saves.cancel(walk, reason, by)


def pause(run_id: str, reason: str | None = None, by: str | None = None) -> None:
    """No new attempt or LLM call starts in the run or its child runs until it is resumed. Raises NotFound, Conflict."""
    _repeat_until_settled(run_id, lambda walk: _pause(walk, reason, by))


def _pause(walk: Walk, reason: str | None, by: str | None) -> None:
    run = walk.run
    if run.status in TERMINAL:
        raise Conflict(f"Run {run.id} is {run.status}", "run_not_active", allowed=["restart"])
    for visit in walk.state.visits:
        if visit.child_run_id and visit.status == StepStatus.RUNNING:
            child = walks.load(visit.child_run_id)
            if child.run.status not in TERMINAL:
                _pause(child, reason, by)
    if run.status == RunStatus.PAUSED and run.status_reason == "user":
        return
    paused = walks.event(run, "run_paused", reason="user", approval_id=None, comment=reason, by=by)
    changes = {"status_reason": "user", "paused_at": run.paused_at or now_ms()}
    to = None if run.status == RunStatus.PAUSED else RunStatus.PAUSED
    place = {"at_status": saves.OR_PAUSED, "at_epoch": run.epoch, "at_version": walk.state.version}
    runs.write(run.id, [paused], to=to, **place, **changes)
    database.on_commit(lambda: publisher.nudge(run.id))


def resume(run_id: str, by: str | None = None) -> None:
    """Goes on from the journal. Raises NotFound, Conflict."""
    _repeat_until_settled(run_id, lambda walk: _resume(walk, by))


def _resume(walk: Walk, by: str | None) -> None:
    run = walk.run
    if run.status != RunStatus.PAUSED:
        raise Conflict(f"Run {run.id} is {run.status}", "not_paused", allowed=["pause", "cancel"])
    if run.status_reason != "user":
        why = f"Run {run.id} waits for a decision: decide its approval"
        raise Conflict(why, "waiting_for_decision", allowed=["cancel"])
    approvals.resume(walk, by)
    if run.status == RunStatus.PENDING:
        doorbell("advance_run", run.id)
        return
    saves.save(walk)
    for visit in walk.state.visits:
        if visit.child_run_id and visit.status == StepStatus.RUNNING:
            child = walks.load(visit.child_run_id)
            if child.run.status == RunStatus.PAUSED and child.run.status_reason == "user":
                _resume(child, by)
        elif visit.status in (StepStatus.QUEUED, StepStatus.RUNNING) and visit.owner is None:
            doorbell("advance_run", run.id, walks.ref(visit))


def _repeat_until_settled(run_id: str, decide: Callable[[Walk], None]) -> None:
    """Runs a command on the run as it is now, again if its status changed meanwhile."""
    while True:
        walk = walks.load(run_id)
        try:
            walks.change(walk, decide)
            return
        except LeaseLost:
            continue


def restart(
    run_id: str,
    *,
    context: str | None = None,
    from_: str = "start",
    pipeline: str | None = None,
    by: str | None = None,
    latest: Callable[[], Entry | None] = lambda: None,
    **limits: Any,
) -> None:
    """A finished run begins a new epoch: from the `start`, from what `failed`, or from a step's latest visit.

    `pipeline` is `latest` or `pinned`; `latest()` finds the current file. `limits`: max_cost_usd, max_tokens,
    max_duration_seconds. Raises NotFound, Conflict, Invalid.
    """
    with database.transaction():
        walk = walks.load(run_id)
        _refuse_restart(walk, from_)
        entry = _definition(walk, pipeline or ("latest" if from_ == "start" else "pinned"), latest)
        rewound = rewind.to(walk.state, from_, walk.run.failed_step)
        _refuse_lost_steps(rewound.visits, entry)
        _guide(walk, context)
        given = {name: value for name, value in limits.items() if value is not None}
        _begin_epoch(walk, entry, rewound, given)
        kept = sorted({visit.step_key for visit in rewound.visits if visit.status != StepStatus.QUEUED})
        restarted = walks.event(walk.run, "run_restarted", **{"from": from_}, context=context, by=by, kept_steps=kept)
        runs.write(run_id, [restarted], at_status=[RunStatus.PENDING])
        task_runs.take_back(walk.run)
        doorbell("advance_run", run_id)


def _refuse_restart(walk: Walk, from_: str) -> None:
    run = walk.run
    if run.status not in TERMINAL:
        raise Conflict(f"Run {run.id} is {run.status}", "run_active", allowed=["cancel"])
    if from_ == "failed" and run.status == RunStatus.COMPLETED:
        raise Conflict(f"Run {run.id} has completed", "nothing_failed", allowed=["restart"])
    if run.parent_run_id:
        raise Conflict(f"Run {run.id} belongs to {run.parent_run_id}: restart that one", "child_run")


def _definition(walk: Walk, which: str, latest: Callable[[], Entry | None]) -> Entry | None:
    """The file to go on with; None keeps the pinned one."""
    if which == "pinned":
        return None
    entry = latest()
    if entry is None or not entry.valid:
        walk.run.warnings = [*walk.run.warnings, "the latest pipeline file is gone or invalid: the pinned one is used"]
        return None
    return entry if entry.hash != walk.run.pipeline_hash else None


def _refuse_lost_steps(history: list[Visit], entry: Entry | None) -> None:
    lost = sorted({visit.step_key for visit in history} - set(entry.pipeline.steps)) if entry else []
    if lost:
        raise Invalid(f"The latest pipeline has no step {', '.join(lost)}", "unknown_step")


def _guide(walk: Walk, context: str | None) -> None:
    """Appends guidance under a heading with the time; what was there stays."""
    if not context:
        return
    before = f"{walk.inputs.human_context}\n\n" if walk.inputs.human_context else ""
    text = f"{before}### Added at restart, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n{context}"
    if len(text.encode()) > MAX_CONTEXT_BYTES:
        raise Invalid("The guidance of all restarts together is longer than 1 MB", "context_too_large")
    RunInput.update(human_context=text).where(RunInput.run_id == walk.run.id).execute()
    text_search.RUNS.index(walk.run.id, (walk.inputs.task_description, text, *walk.run.tags))


def _begin_epoch(walk: Walk, entry: Entry | None, rewound: rewind.Rewound, limits: dict[str, Any]) -> None:
    """The run row of the next epoch, and its history. The old epoch's rows stay as they are."""
    run = walk.run
    if entry is not None:
        snapshots.keep(entry.hash, entry.pipeline.id, entry.text)
        limits |= {
            "pipeline_hash": entry.hash,
            "pipeline_version": entry.pipeline.version,
            "steps_total": len(entry.pipeline.steps),
        }
    nothing = dict.fromkeys(ENDED)
    fresh = dict.fromkeys(COUNTED, 0)
    place = {"epoch": run.epoch + 1, "workspace_from": _snapshot(run, rewound.cut)}
    changes = {"warnings": run.warnings, **place, **nothing, **fresh, **limits}
    runs.write(run.id, [], to=RunStatus.PENDING, at_epoch=run.epoch, at_version=run.plan_version, **changes)
    run.epoch += 1
    _save_history(run.id, run.epoch, rewound.visits)


def _snapshot(run: Run, cut: int | None) -> str | None:
    """What the workspace must be when visit `cut` begins again; nothing ("") before the first."""
    return "" if cut is None else workspaces.find(run.id, run.epoch, cut)


def _save_history(run_id: str, epoch: int, history: list[Visit]) -> None:
    for visit in history:
        visit.epoch = epoch
    visits.save([walks.row(run_id, visit) for visit in history], {})


def fork(
    run_id: str,
    *,
    from_step: str,
    changes: dict[str, Any],
    latest: Callable[[], Entry | None] = lambda: None,
    by: str | None = None,
) -> str:
    """A new run that begins where another one entered `from_step`; returns its id. The source is not touched.

    `changes`: task_description, human_context, model_override, pipeline (`pinned` or `latest`), outputs {name: text},
    max_cost_usd, max_tokens, tags, metadata. Raises NotFound, Conflict, Invalid.
    """
    with database.transaction():
        walk = walks.load(run_id)
        source = walk.run
        if source.status == RunStatus.PENDING:
            raise Conflict(f"Run {run_id} is pending: nothing can be taken from it", "run_pending", allowed=["cancel"])
        entry = _definition(walk, changes.get("pipeline") or "pinned", latest)
        rewound = rewind.to(walk.state, from_step, source.failed_step)
        _refuse_lost_steps(rewound.visits, entry)
        outputs = {fold(name): text for name, text in (changes.get("outputs") or {}).items()}
        history = _copied(rewound.visits, run_id, outputs)
        fork_id = new_id("run_")
        _add(fork_id, _forked(fork_id, walk, entry, from_step, rewound.cut, changes, by), walk, changes)
        _save_history(fork_id, 1, history)
    return fork_id


def _copied(history: list[Visit], source_id: str, outputs: dict[str, str]) -> list[Visit]:
    """Kept visits say where they come from; changed outputs stand where they were written last."""
    kept = [visit for visit in history if visit.done_version is not None]
    for visit in kept:
        visit.copied_from, visit.usage = source_id, None
    for name, text in outputs.items():
        writers = [visit for visit in kept if name in (visit.outputs or {})] or kept
        if writers:
            last = max(writers, key=lambda visit: visit.done_version)
            last.outputs = {**(last.outputs or {}), name: text}
    return history


def _forked(
    fork_id: str, walk: Walk, entry: Entry | None, from_step: str, cut: int | None, changes: dict, by: str | None
) -> dict[str, Any]:
    """The new run's row: the source's, without what it has done."""
    source, now = walk.run, now_ms()
    task = changes.get("task_description") or walk.inputs.task_description
    definition = entry.pipeline if entry else walk.pipeline
    given = {name: changes[name] for name in ("model_override", "max_cost_usd", "max_tokens") if changes.get(name)}
    kept = ("pipeline_id", "project_id", "project_name", "model_override", "max_cost_usd", "max_tokens", "on_budget")
    return {
        **{name: getattr(source, name) for name in (*kept, "max_duration_seconds", "workspace_type", "tainted_by")},
        "id": fork_id,
        "pipeline_version": definition.version,
        "pipeline_hash": entry.hash if entry else source.pipeline_hash,
        "task_head": task[:TASK_HEAD],
        "task_truncated": len(task) > TASK_HEAD,
        "status": RunStatus.PENDING,
        "steps_total": len(definition.steps),
        "tags": changes.get("tags") or source.tags,
        "warnings": source.warnings,
        "forked_from": {"run_id": source.id, "epoch": source.epoch, "from_step": from_step},
        "workspace_from": _snapshot(source, cut),
        "created_by": by,
        "created_at": now,
        "updated_at": now,
        **given,
    }


def _add(run_id: str, row: dict[str, Any], walk: Walk, changes: dict[str, Any]) -> None:
    """The rows of a forked run, beside its history."""
    Run.add(row)
    texts = {
        "task_description": changes.get("task_description") or walk.inputs.task_description,
        "human_context": changes.get("human_context") or walk.inputs.human_context,
    }
    RunInput.add({"run_id": run_id, **texts, "metadata": changes.get("metadata") or walk.inputs.metadata})
    _index(run_id, row["tags"], walks.definition(row["pipeline_hash"]))
    skill_grants.take_over_pins(run_id, walk.run.id)
    text_search.RUNS.index(run_id, (*texts.values(), *row["tags"]))
    _created(run_id, row)
    doorbell("advance_run", run_id)


def remove(run_id: str) -> None:
    """Deletes a run that is over with its child runs: rows, events, workspace. Raises NotFound, Conflict."""
    run = runs.get(run_id)
    if run.status not in TERMINAL:
        raise Conflict(f"Run {run_id} is {run.status}", "run_active", allowed=["cancel"])
    with database.transaction():
        family = runs.family(run_id)
        for member in family:
            runs.delete(member)
            text_search.RUNS.remove(member)
        outbox.withdraw("advance_run", run_id)
        database.on_commit(lambda: [workspaces.remove(member) for member in family])
