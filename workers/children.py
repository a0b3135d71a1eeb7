"""Child pipelines: a step that is a run of its own. The parent waits for it without a worker."""

from __future__ import annotations

from models import runs, taint
from models.errors import ChildFailed, ConfigError
from models.events import Event
from models.run_views import COUNTED
from models.runs import Run
from models.status import TERMINAL, RunStatus, StepStatus
from pipelines import plan, results, template
from pipelines.state import Visit
from workers import definitions, walks
from workers import runs as commands
from workers.agent import prompt
from workers.walks import Walk

MAX_DEPTH = 5  # pipelines inside pipelines


def begin(walk: Walk, visit: Visit) -> Event:
    """Starts the child run of a queued visit, in the enclosing transaction. Raises ConfigError."""
    run, step = walk.run, walk.state.step(visit)
    entry = definitions.startable(step.pipeline)
    _refuse_depth(run)
    given = _given(walk, visit)
    walk.state.touch(visit)
    visit.attempt += 1
    visit.status = StepStatus.RUNNING
    visit.child_run_id = commands.start(
        entry,
        task_description=given.get("task") or walk.inputs.task_description,
        human_context=given.get("context"),
        project_name=given.get("project") or run.project_name,
        project_id=run.project_id,
        model_override=run.model_override,
        parent_run_id=run.id,
        parent_step_id=visit.step_key,
        root_run_id=run.root_run_id or run.id,
        created_by=run.created_by,
        tainted_by=runs.get(run.id).tainted_by,
    )
    return walks.event(run, "step_started", visit, model=None, max_retries=0)


def _refuse_depth(run: Run) -> None:
    depth, parent = 1, run.parent_run_id
    while parent:
        depth, parent = depth + 1, runs.get(parent).parent_run_id
    if depth >= MAX_DEPTH:
        raise ConfigError(f"Pipelines nest deeper than {MAX_DEPTH}")


def _given(walk: Walk, visit: Visit) -> dict[str, str]:
    lookup = prompt.variables(walk.facts, walk.state, visit)
    return {name: template.render(text, lookup)[0] for name, text in walk.state.step(visit).with_.items()}


def settle_ended(walk: Walk) -> None:
    """Ends the visits whose child run is over, in memory; what the child used is counted with the next save."""
    for visit in list(walk.state.visits):
        if visit.child_run_id and visit.status == StepStatus.RUNNING and not walk.state.ending:
            child = runs.get(visit.child_run_id)
            if child.status in TERMINAL:
                _settle(walk, visit, child)


def _settle(walk: Walk, visit: Visit, child: Run) -> None:
    walk.answered.append(f"child.{child.id}")
    walk.add = {name: walk.add.get(name, 0) + getattr(child, name) for name in COUNTED}
    if child.tainted_by:
        taint.mark(walk.run.id, f"{child.tainted_by}, in run {child.id}")
    visit.usage = walks.usage(child)
    walk.state.touch(visit)
    step, outputs = walk.state.step(visit), child.outputs or {}
    taken = {name: outputs.get(name, "") for name in step.declared} | {"status": child.status}
    if child.status == RunStatus.COMPLETED or results.match(step, child.status):
        plan.end_without_attempt(walk.state, visit, taken)
    else:
        why = child.error or f"it was {child.status}"
        plan.fail(walk.state, visit, ChildFailed(f"The run {child.id} of {child.pipeline_id} failed: {why}"))
