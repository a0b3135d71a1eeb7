"""The planner: what happens next in a run. Pure: it reads and changes a `State`, nothing else.

Each function is called once per decision, under the run row's lock; the caller then saves the changed visits and
records the events (engine, "Routing", "Loops and maps", "Failures").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models.errors import JoinStarved, LoopSourceInvalid, StepError, TooManyItems, TooManyVisits
from models.status import StepStatus
from pipelines import outputs as output_rules
from pipelines import results
from pipelines.definition import Action, Step
from pipelines.state import OPEN, Ending, Scope, State, Visit

DONE = {StepStatus.COMPLETED, StepStatus.SKIPPED}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a step's answer means for its route. `allowed`: the results that would match, when this one does not."""

    result: str = ""
    action: Action | None = None
    allowed: tuple[str, ...] = ()
    warning: str | None = None


def begin(state: State) -> None:
    """Activates the entry steps of a new epoch."""
    for key in state.pipeline.entry_steps:
        activate(state, key, (), "start", None)
    finish_scope(state, ())


def judge(state: State, visit: Visit, outputs: dict[str, str]) -> Verdict:
    """Which action the outputs select. A verdict with `allowed` means: none, and that is a bad output."""
    step = state.step(visit)
    result = results.result_of(step, outputs) if step.on_result else ""
    if not step.on_result or visit.type == "loop":
        return Verdict(result)
    action = results.match(step, result) or results.default(step)
    if action is not None or step.on_complete or _needed_by(state, step.key):
        return Verdict(result, action)
    if not result.strip() or step.key == list(state.pipeline.steps)[-1]:
        return Verdict(result, warning=f"{step.key}: result {result!r} matches nothing in onResult; the branch ended")
    return Verdict(result, allowed=tuple(results.allowed(step)))


def complete(state: State, visit: Visit, outputs: dict[str, str], verdict: Verdict) -> None:
    """The visit succeeded: ends it and activates what follows."""
    visit.status, visit.outputs, visit.result = StepStatus.COMPLETED, outputs, verdict.result or None
    visit.error = visit.error_code = visit.feedback = None
    _end(state, visit)
    if verdict.warning:
        state.warnings.append(verdict.warning)
    if visit.type == "loop" and visit.scope and visit.scope[-1][0] == visit.step_key:
        _activate_all(state, state.step(visit).loop.on_each_complete, visit, "next")
    else:
        _route(state, visit, verdict.action)
    _resume_remembered(state, visit)
    finish_scope(state, visit.scope)


def fail(state: State, visit: Visit, error: StepError) -> None:
    """The visit is given up: `onFailure`, the loop's `onItemFailure`, or the end of the run."""
    visit.status, visit.error, visit.error_code = StepStatus.FAILED, error.message, error.code
    _end(state, visit)
    state.record("step_failed", visit, error=error.message, error_code=error.code, retry_count=visit.retry_count)
    if _handled(state, visit, state.step(visit).on_failure):
        _resume_remembered(state, visit)
        finish_scope(state, visit.scope)
    elif (scope := _forgiving(state, visit.scope)) is not None:
        _cancel(state, scope, "another step of this item failed")
        state.record("loop_item_failed", visit, **_progress(state, scope), error=error.message, error_code=error.code)
        _next_item(state, scope)
        finish_scope(state, scope[:-1])
    else:
        _give_up(state, visit, error)


def _handled(state: State, visit: Visit, action: Action | None) -> bool:
    """Whether `onFailure` leads somewhere else than to the end of the run."""
    if action is None:
        return False
    _notify(state, visit, action)
    if action.goto:
        _goto(state, visit, action.goto, "failure")
    return bool(action.goto) or action.continue_loop


def stop(state: State, error: StepError) -> None:
    """The run fails as a whole, whatever its steps are doing."""
    _give_up(state, None, error)


def cancel(state: State, reason: str) -> None:
    """Ends every step that is not over."""
    _cancel(state, (), reason)


def activate(state: State, key: str, scope: Scope, reason: str, source: Visit | None) -> None:
    """Enters a step: a new visit, or one that is remembered if the step is at work already."""
    step = state.pipeline.steps[key]
    if state.ending:
        return
    if step.type == "loop" and not (scope and scope[-1][0] == key):
        _enter_loop(state, step, scope, reason, source)
        return
    earlier = state.of(key, scope)
    if len(earlier) >= step.max_visits:
        _too_many_visits(state, step, scope, source)
    elif earlier and earlier[-1].status == StepStatus.PENDING:
        return
    elif step.when and not _when(state, step, scope):
        _skip(state, step, scope, reason, source)
    else:
        waits = bool(earlier) and earlier[-1].status in OPEN
        _open(state, _new(state, step, scope, reason, source), remembered=waits)


def finish_scope(state: State, scope: Scope) -> None:
    """When nothing in a loop item is open any more, the next item starts; at the top, the run ends."""
    while not state.ending and not state.open_in(scope):
        if not scope:
            _end_run(state)
            return
        if not _left(state, scope):
            item = state.own(scope)
            state.record("loop_item_complete", state.entry(scope), **_progress(state, scope), outputs=item)
            _next_item(state, scope)
        scope = scope[:-1]


# --- entering ---


def _new(state: State, step: Step, scope: Scope, reason: str, source: Visit | None) -> Visit:
    return Visit(
        n=len(state.visits) + 1,
        epoch=state.epoch,
        step_key=step.key,
        type=step.type,
        agent_id=step.agent,
        visit=1 + sum(visit.step_key == step.key for visit in state.visits),
        attempt=_last_attempt(state, step.key, scope),
        scope=scope,
        reason=reason,
        entered_from=source.step_key if source else None,
        planned_version=state.version + 1,
    )


def _last_attempt(state: State, key: str, scope: Scope) -> int:
    """Attempts are numbered per step and item and never reused."""
    item = [part[2] for part in scope]
    same = [v.attempt for v in state.visits if v.step_key == key and [part[2] for part in v.scope] == item]
    return max(same, default=0)


def _open(state: State, visit: Visit, remembered: bool = False) -> None:
    state.add(visit)
    if remembered:
        visit.status = StepStatus.PENDING
        return
    visit.status = StepStatus.QUEUED
    state.record("step_queued", visit, reason=visit.reason, from_step=visit.entered_from)


def _resume_remembered(state: State, over: Visit) -> None:
    for visit in state.of(over.step_key, over.scope):
        if visit.status == StepStatus.PENDING and not state.ending:
            visit.status = StepStatus.QUEUED
            state.touch(visit)
            state.record("step_queued", visit, reason=visit.reason, from_step=visit.entered_from)


def _skip(state: State, step: Step, scope: Scope, reason: str, source: Visit | None) -> None:
    visit = state.add(_new(state, step, scope, reason, source))
    visit.status = StepStatus.SKIPPED
    _end(state, visit)
    state.record("step_skipped", visit, reason="its `when` does not hold")
    _go_on(state, visit)


def _when(state: State, step: Step, scope: Scope) -> bool:
    return all(
        any(results.same(written, state.lookup(name, scope) or "") for written in wanted)
        for name, wanted in step.when.items()
    )


def _too_many_visits(state: State, step: Step, scope: Scope, source: Visit | None) -> None:
    recent = [visit.step_key for visit in state.visits if visit.scope == scope]
    start = len(recent) - 1 - recent[::-1].index(step.key)
    cycle = " -> ".join([*recent[start:], step.key])
    error = TooManyVisits(f"{step.key} was entered {step.max_visits} times ({cycle})")
    _give_up(state, source, error, step.key)


# --- loops ---


def _enter_loop(state: State, step: Step, scope: Scope, reason: str, source: Visit | None) -> None:
    visit = _new(state, step, scope, reason, source)
    try:
        items = _loop_items(state, step, scope)
    except StepError as error:
        _open(state, visit)
        fail(state, visit, error)
        return
    visit.items = items
    if items:
        visit.scope = (*scope, (step.key, visit.n, 0))
        visit.attempt = _last_attempt(state, step.key, visit.scope)
        _open(state, visit)
        return
    state.add(visit)
    visit.status, visit.outputs = StepStatus.COMPLETED, {}
    _end(state, visit)
    state.record("step_complete", visit, outputs={}, duration_ms=0, usage=None)
    _loop_done(state, visit, scope)


def _loop_items(state: State, step: Step, scope: Scope) -> list:
    source = state.lookup(step.loop.over, scope)
    if source is None:
        raise LoopSourceInvalid(f"{step.key} loops over `{step.loop.over}`, which nothing has produced")
    try:
        items = output_rules.parse_list(source)
    except ValueError as error:
        raise LoopSourceInvalid(f"{step.key} loops over `{step.loop.over}`: {error}") from error
    if len(items) > step.loop.max_items:
        raise TooManyItems(f"`{step.loop.over}` has {len(items)} items; {step.key} allows {step.loop.max_items}")
    return items


def _progress(state: State, scope: Scope) -> dict:
    index, total = scope[-1][2], len(state.entry(scope).items)
    return {"item_index": index, "total_items": total, "completed": index + 1}


def _next_item(state: State, scope: Scope) -> None:
    key, entry, index = scope[-1]
    if index + 1 < len(state.entry(scope).items):
        activate(state, key, (*scope[:-1], (key, entry, index + 1)), "loop", None)
    else:
        _loop_done(state, state.latest(key, scope), scope[:-1])


def _loop_done(state: State, visit: Visit, scope: Scope) -> None:
    """After the last item: `onAllComplete`, else the loop step's own routing, in the scope around the loop."""
    step = state.step(visit)
    state.touch(visit).passed = True
    if step.loop.on_all_complete:
        for key in step.loop.on_all_complete:
            activate(state, key, scope, "next", visit)
        _joins(state, visit, scope)
        return
    _route(state, visit, results.match(step, visit.result or "") or results.default(step), scope)


def _left(state: State, scope: Scope) -> bool:
    """Whether a goto to the `onAllComplete` step has taken the run out of this loop already."""
    key, entry, _ = scope[-1]
    ends = state.pipeline.steps[key].loop.on_all_complete
    return any(
        visit.step_key in ends and visit.scope == scope[:-1] and visit.n > entry and visit.reason in ("goto", "failure")
        for visit in state.visits
    )


def _forgiving(state: State, scope: Scope) -> Scope | None:
    """The innermost loop item around that may fail without failing the run."""
    for depth in range(len(scope), 0, -1):
        if state.pipeline.steps[scope[depth - 1][0]].loop.on_item_failure == "continue":
            return scope[:depth]
    return None


# --- routing ---


def _route(state: State, visit: Visit, action: Action | None, scope: Scope | None = None) -> None:
    if action is not None:
        _notify(state, visit, action)
        if action.goto:
            _goto(state, visit, action.goto, "goto", scope)
            return
        if action.continue_loop:
            return
    _go_on(state, visit, scope)


def _go_on(state: State, visit: Visit, scope: Scope | None = None) -> None:
    """The normal way: `onComplete`, and every join that is now complete."""
    state.touch(visit).passed = True
    _activate_all(state, state.step(visit).on_complete, visit, "next", scope)
    _joins(state, visit, visit.scope if scope is None else scope)


def _activate_all(state: State, keys: Iterable[str], visit: Visit, reason: str, scope: Scope | None = None) -> None:
    for key in keys:
        activate(state, key, _scope_for(state, key, visit.scope if scope is None else scope), reason, visit)


def _goto(state: State, visit: Visit, key: str, reason: str, scope: Scope | None = None) -> None:
    activate(state, key, _scope_for(state, key, visit.scope if scope is None else scope), reason, visit)


def _scope_for(state: State, key: str, scope: Scope) -> Scope:
    """Where a target belongs: out of the loop it ends, back to the item of the loop it is, else right here."""
    for depth in range(len(scope), 0, -1):
        loop_key = scope[depth - 1][0]
        if key == loop_key:
            return scope[:depth]
        if key in state.pipeline.steps[loop_key].loop.on_all_complete:
            return scope[: depth - 1]
    return scope


def _notify(state: State, visit: Visit, action: Action) -> None:
    for note in action.notify:
        state.record("agent_message", visit, **{"from": visit.agent_id, "to": note.agent, "message": note.message})


def _joins(state: State, over: Visit, scope: Scope) -> None:
    for step in state.pipeline.steps.values():
        if step.needs and over.step_key in step.needs and _ready(state, step, scope):
            activate(state, step.key, _scope_for(state, step.key, scope), "needs", over)


def _ready(state: State, step: Step, scope: Scope) -> bool:
    latest = [state.latest(key, scope) or state.latest(key) for key in step.needs]
    if not all(visit and visit.status in DONE and visit.passed for visit in latest):
        return False
    active = {visit.step_key for visit in state.open_in(scope)}
    own = state.latest(step.key, scope)
    since = own.planned_version if own else -1
    return not active & _transitive_needs(state, step) and any(visit.done_version > since for visit in latest)


def _transitive_needs(state: State, step: Step) -> set[str]:
    found, queue = set(), list(step.needs or ())
    while queue:
        key = queue.pop()
        if key not in found:
            found.add(key)
            queue += state.pipeline.steps[key].needs or ()
    return found


def _needed_by(state: State, key: str) -> bool:
    return any(key in (step.needs or ()) for step in state.pipeline.steps.values())


# --- ending ---


def _end(state: State, visit: Visit) -> None:
    visit.done_version = state.version + 1
    visit.owner = visit.due_at = None
    state.touch(visit)


def _end_run(state: State) -> None:
    for step in state.pipeline.steps.values():
        own = state.latest(step.key)
        finished = {key: visit for key in step.needs or () if (visit := state.latest(key)) and visit.passed}
        if any(own is None or visit.done_version > own.planned_version for visit in finished.values()):
            missing = ", ".join(key for key in step.needs if key not in finished)
            error = JoinStarved(f"{step.key} waited for {missing}, which never finished")
            state.ending = Ending("failed", error.message, error.code, step.key)
            return
    state.ending = Ending("completed")


def _give_up(state: State, visit: Visit | None, error: StepError, failed_step: str | None = None) -> None:
    state.ending = Ending("failed", error.message, error.code, failed_step or (visit and visit.step_key))
    _cancel(state, (), "another branch failed")


def _cancel(state: State, scope: Scope, reason: str) -> None:
    """Stops everything open in the scope; tokens go up so that no worker can write any more."""
    for visit in state.open_in(scope):
        remembered = visit.status == StepStatus.PENDING
        visit.status = StepStatus.SKIPPED if remembered else StepStatus.CANCELLED
        visit.token += 1
        _end(state, visit)
        if not remembered:
            state.record("step_cancelled", visit, reason=reason)
