"""The planner: what happens next in a run. Pure: it reads and changes a `State`, nothing else.

Each function is called once per decision, under the run row's lock; the caller then saves the changed visits and
records the events (engine, "Routing", "Loops and maps", "Failures").
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from models.errors import AgentFailed, BadOutput, JoinStarved, LoopSourceInvalid, StepError, TooManyItems, TooManyVisits
from models.status import ACTIVE, StepStatus
from pipelines import outputs as output_rules
from pipelines import results
from pipelines.definition import Action, Loop, Map, Step
from pipelines.state import DONE, OPEN, Ending, Scope, State, Visit


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
    if not _is_item(visit):
        _route(state, visit, verdict.action)
    elif visit.type == "loop":
        _activate_all(state, state.step(visit).loop.on_each_complete, visit, "next")
    _resume_remembered(state, visit)
    finish_scope(state, visit.scope)


def enter_queued(state: State) -> None:
    """Starts the queued visits that need no worker to start: those of a history that a restart or fork begins with."""
    for visit in list(state.visits):
        if visit.status == StepStatus.QUEUED:
            state.touch(visit)
            _enter(state, visit)


def fail(state: State, visit: Visit, error: StepError) -> None:
    """The visit is given up: `onFailure`, the loop's or map's `onItemFailure`, or the end of the run."""
    visit.status, visit.error, visit.error_code = StepStatus.FAILED, error.message, error.code
    _end(state, visit)
    state.record("step_failed", visit, error=error.message, error_code=error.code, retry_count=visit.retry_count)
    if _is_item(visit) and visit.type != "loop":
        _fail_map_item(state, visit, error)
    elif _handled(state, visit, state.step(visit).on_failure):
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
        if state.pipeline.steps[scope[-1][0]].type == "map":
            _map_item_done(state, scope)
            return
        if not _left(state, scope):
            _record_item(state, scope)
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
    else:
        _queue(state, visit)


def _queue(state: State, visit: Visit) -> None:
    visit.status = StepStatus.QUEUED
    state.touch(visit)
    state.record("step_queued", visit, reason=visit.reason, from_step=visit.entered_from)
    _enter(state, visit)


def _enter(state: State, visit: Visit) -> None:
    """What a step without an agent of its own does when its turn comes."""
    if visit.type == "map":
        _enter_map(state, visit)
    elif visit.type == "approval":
        visit.status, visit.interrupted = StepStatus.PAUSED, "step"


def _resume_remembered(state: State, over: Visit) -> None:
    for visit in state.of(over.step_key, over.scope):
        if visit.status == StepStatus.PENDING and not state.ending:
            _queue(state, visit)


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
    entries = [v for v in state.visits if v.step_key == step.key and v.items is not None and v.scope[:-1] == scope]
    if len(entries) >= step.max_visits:
        _too_many_visits(state, step, scope, source)
        return
    visit = _new(state, step, scope, reason, source)
    try:
        items = _items(state, step.key, step.loop, scope)
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
    state.record("step_complete", visit, outputs={}, result=None)
    _loop_done(state, visit, scope)


def _items(state: State, key: str, spec: Loop | Map, scope: Scope) -> list:
    source = state.lookup(spec.over, scope)
    if source is None:
        raise LoopSourceInvalid(f"{key} goes over `{spec.over}`, which nothing has produced")
    try:
        items = output_rules.parse_list(source)
    except ValueError as error:
        raise LoopSourceInvalid(f"{key} goes over `{spec.over}`: {error}") from error
    if len(items) > spec.max_items:
        raise TooManyItems(f"`{spec.over}` has {len(items)} items; {key} allows {spec.max_items}")
    return items


def _is_item(visit: Visit) -> bool:
    """Whether this is the visit of one item of its own loop or map."""
    return bool(visit.scope) and visit.scope[-1][0] == visit.step_key


def _record_item(state: State, scope: Scope) -> None:
    progress, item = _progress(state, scope), state.own(scope)
    state.record("loop_item_complete", state.entry(scope), **progress, outputs=item)


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


# --- maps ---


def _enter_map(state: State, visit: Visit) -> None:
    """The visit of the map itself waits while visits of its items, up to `concurrency` at once, do the work."""
    step = state.step(visit)
    try:
        visit.items = _items(state, step.key, step.map, visit.scope)
    except StepError as error:
        fail(state, visit, error)
        return
    visit.status = StepStatus.RUNNING
    for index in range(len(visit.items)):
        _add_item(state, visit, index)
    _start_items(state, visit)
    if not visit.items:
        _map_done(state, visit)


def _add_item(state: State, of: Visit, index: int) -> None:
    scope = (*of.scope, (of.step_key, of.n, index))
    item = _new(state, state.step(of), scope, "loop", None)
    item.type, item.visit, item.status = "agent", of.visit, StepStatus.PENDING
    state.add(item)


def _items_of_map(state: State, of: Visit) -> list[Visit]:
    return [
        visit
        for visit in state.visits
        if visit.scope[:-1] == of.scope and visit.scope[-1:] and visit.scope[-1][:2] == (of.step_key, of.n)
    ]


def _start_items(state: State, of: Visit) -> None:
    items = _items_of_map(state, of)
    room = state.step(of).map.concurrency - sum(item.status in ACTIVE for item in items)
    waiting = [item for item in items if item.status == StepStatus.PENDING]
    for item in waiting[: max(room, 0)]:
        _queue(state, item)


def _map_item_done(state: State, scope: Scope) -> None:
    of = state.entry(scope)
    if of.status != StepStatus.RUNNING:
        return
    items = _items_of_map(state, of)
    if items[scope[-1][2]].status == StepStatus.COMPLETED:
        done = sum(item.status == StepStatus.COMPLETED for item in items)
        state.record(
            "loop_item_complete", of, **_progress(state, scope) | {"completed": done}, outputs=state.own(scope)
        )
    _start_items(state, of)
    if all(item.status not in OPEN for item in items):
        _map_done(state, of)


def _fail_map_item(state: State, item: Visit, error: StepError) -> None:
    of = state.entry(item.scope)
    if state.step(of).map.on_item_failure == "continue":
        state.record("loop_item_failed", of, **_progress(state, item.scope), error=error.message, error_code=error.code)
        finish_scope(state, item.scope)
        return
    _cancel(state, of.scope, "another item failed", within=of)
    fail(state, of, error)


def _map_done(state: State, of: Visit) -> None:
    """Every declared output becomes a JSON array in the order of the items, null for one that failed."""
    items = _items_of_map(state, of)
    if items and all(item.status == StepStatus.FAILED for item in items):
        last = items[-1]
        fail(state, of, StepError(last.error, last.error_code))
        return
    outputs = {
        name: json.dumps([item.outputs and item.outputs.get(name) for item in items], ensure_ascii=False)
        for name in state.step(of).declared
    }
    end_without_attempt(state, of, outputs)


def end_without_attempt(state: State, visit: Visit, outputs: dict[str, str]) -> None:
    """Ends a visit whose outputs come from elsewhere: a map's items, a child run, a person."""
    verdict = judge(state, visit, outputs)
    if verdict.allowed:
        wanted = ", ".join(verdict.allowed)
        fail(state, visit, BadOutput(f"{visit.step_key}: {verdict.result!r} is none of {wanted}"))
        return
    if verdict.action and verdict.action.fail is not None:
        _notify(state, visit, verdict.action)
        fail(state, visit, AgentFailed(verdict.action.fail or f"The result {verdict.result!r} says so"))
        return
    state.record("step_complete", visit, outputs=outputs, result=verdict.result or None)
    complete(state, visit, outputs, verdict)


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
    latest = [state.whole(key, scope) or state.whole(key) for key in step.needs]
    if not all(visit and visit.status in DONE and visit.passed for visit in latest):
        return False
    active = {visit.step_key for visit in state.open_in(scope)}
    own = state.whole(step.key, scope)
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
        own = state.whole(step.key)
        finished = {key: visit for key in step.needs or () if (visit := state.whole(key)) and visit.passed}
        if any(own is None or visit.done_version > own.planned_version for visit in finished.values()):
            missing = ", ".join(key for key in step.needs if key not in finished)
            error = JoinStarved(f"{step.key} waited for {missing}, which never finished")
            state.ending = Ending("failed", error.message, error.code, step.key)
            return
    state.ending = Ending("completed")


def _give_up(state: State, visit: Visit | None, error: StepError, failed_step: str | None = None) -> None:
    state.ending = Ending("failed", error.message, error.code, failed_step or (visit and visit.step_key))
    _cancel(state, (), "another branch failed")


def _cancel(state: State, scope: Scope, reason: str, within: Visit | None = None) -> None:
    """Stops everything open in the scope (or only the items of map `within`); no worker can write to it any more."""
    for visit in _items_of_map(state, within) if within else state.open_in(scope):
        if visit.status not in OPEN:
            continue
        remembered = visit.status == StepStatus.PENDING
        visit.status = StepStatus.SKIPPED if remembered else StepStatus.CANCELLED
        visit.token += 1
        _end(state, visit)
        if not remembered:
            state.record("step_cancelled", visit, reason=reason)
