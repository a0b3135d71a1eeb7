"""Taking a step: who works on what, under which token, and how it is given back."""

from __future__ import annotations

from models import budgets, database, outbox, visits
from models.base import now_ms
from models.errors import LeaseLost, QueueTimeout, RunTimeout, StepError, WorkerLost
from models.events import Event
from models.status import TERMINAL, RunStatus, StepStatus
from pipelines import plan
from pipelines.state import Visit
from workers import children, saves, walks
from workers.agent import prompt, settings
from workers.broker import doorbell
from workers.process import Process
from workers.walks import Walk

MAX_LOSSES = 3  # workers that may die in one visit before it counts as poison


def claim(run_id: str) -> tuple[Walk, Visit] | None:
    """Takes a step of the run that waits for a worker; None if there is none to take."""
    walk = walks.load(run_id)
    if walk.run.status in TERMINAL:
        with database.transaction():
            outbox.withdraw("advance_run", run_id)
        return None
    if walk.run.status == RunStatus.PAUSED:
        return None
    try:
        visit = walks.change(walk, _claim)
    except LeaseLost:  # it ended, or was restarted, while we looked
        return None
    return (walk, visit) if visit else None


def _claim(walk: Walk) -> Visit | None:
    run, first = walk.run, []
    changes = {}
    if run.status == RunStatus.PENDING:
        run.started_at = now_ms()
        changes = {"to": RunStatus.RUNNING, "started_at": run.started_at}
        first = [walks.event(run, "run_started", pipeline_id=run.pipeline_id)]
        walk.answered.append("")
        if walk.state.visits:
            plan.enter_queued(walk.state)
        else:
            plan.begin(walk.state)
    visit, last = take(walk)
    if visit or changes or walk.state.changed or walk.state.ending:
        saves.save(walk, first, last, started=visit, **changes)
    return visit


def take(walk: Walk) -> tuple[Visit | None, list[Event]]:
    """Starts (or takes over) the first step that may start, in memory: (visit, its events). The caller saves."""
    if not walk.state.ending and _run_time_is_up(walk):
        seconds = walk.run.max_duration_seconds
        plan.stop(walk.state, RunTimeout(f"The run took longer than its {seconds} seconds"))
    children.settle_ended(walk)
    begun: list[Event] = []
    while not walk.state.ending and (visit := _next(walk)):
        try:
            if visit.type != "pipeline":
                return visit, [*begun, *_begin(walk, visit)]
            _answer(walk, visit)
            begun.append(children.begin(walk, visit))
        except StepError as error:
            plan.fail(walk.state, visit, error)
    return None, begun


def _run_time_is_up(walk: Walk) -> bool:
    started = walk.run.started_at
    return bool(started) and now_ms() - started - walk.run.paused_ms > walk.run.max_duration_seconds * 1000


def _next(walk: Walk) -> Visit | None:
    history = walk.state.visits
    if Process.stopping or sum(visit.owner is not None for visit in history) >= walk.pipeline.max_parallel:
        return None
    waiting = [visit for visit in history if visit.owner is None and _claimable(visit)]
    if any(visit.status == StepStatus.RETRYING for visit in waiting):
        now = database.now()
        waiting = [visit for visit in waiting if visit.status != StepStatus.RETRYING or visit.due_at <= now]
    return next((visit for visit in waiting if _has_room(walk, visit)), None)


def _has_room(walk: Walk, visit: Visit) -> bool:
    """Whether the visit's agent may work at one more step; what it has begun it may go on with."""
    limit = None if visit.status == StepStatus.RUNNING else settings.most_steps(visit.agent_id)
    if limit is None:
        return True
    visits.lock_agent(visit.agent_id)
    mine = [other for other in walk.state.visits if other.owner and other.agent_id == visit.agent_id]
    here = sum(other.status == StepStatus.RUNNING for other in mine)
    return here + visits.at_work(visit.agent_id, outside=walk.run.id) < limit


def _claimable(visit: Visit) -> bool:
    """Waits for a worker: not the visit of a map or a child pipeline, which waits for others while it is running."""
    if visit.status == StepStatus.RUNNING:
        return visit.type in ("agent", "loop")
    return visit.status in (StepStatus.QUEUED, StepStatus.RETRYING)


def _begin(walk: Walk, visit: Visit) -> list[Event]:
    """The next attempt, or the same one after its worker was lost. Raises a StepError if it cannot start."""
    walk.state.touch(visit)
    _answer(walk, visit)
    if visit.status == StepStatus.RUNNING:
        return [_resume(walk, visit)]
    _refuse_if_late(walk, visit)
    chosen = settings.choose(walk, visit)
    events = []
    if visit.status == StepStatus.RETRYING:
        events = [walks.event(walk.run, "step_queued", visit, reason="retry", from_step=None)]
    _open_attempt(walk, visit, chosen)
    started = walks.event(walk.run, "step_started", visit, model=visit.model, max_retries=visit.max_retries)
    return [*events, started]


def _answer(walk: Walk, visit: Visit) -> None:
    if visit.n in walk.stored:
        walk.answered.append(walks.ref(visit))


def _refuse_if_late(walk: Walk, visit: Visit) -> None:
    limit = walk.state.step(visit).queue_timeout_seconds
    if limit and visit.queued_at and now_ms() - visit.queued_at > limit * 1000:
        raise QueueTimeout(f"{visit.step_key} waited longer than {limit:g} s for a worker")


def _open_attempt(walk: Walk, visit: Visit, chosen: settings.Chosen) -> None:
    visit.attempt += 1
    visit.model, visit.max_retries = chosen.model, chosen.max_retries
    built = prompt.build(walk.facts, walk.state, visit, chosen.has_tools)
    visit.prompt, visit.variables = built.text, built.variables
    walk.state.warnings += [f"{visit.step_key} uses {{{{ {name} }}}}, which nothing defines" for name in built.unknown]
    visit.status, visit.due_at, visit.usage, visit.interrupted = StepStatus.RUNNING, None, None, None
    visit.started_at, visit.completed_at = now_ms(), None
    _hold(visit)


def _resume(walk: Walk, visit: Visit) -> Event:
    _hold(visit)
    turns = walks.recorded_turns(walk.run, visit)
    return walks.event(walk.run, "step_resumed", visit, from_turn=turns, reason=visit.interrupted)


def _hold(visit: Visit) -> None:
    visit.token += 1
    visit.owner = Process.worker_id


def mine(walk: Walk, n: int, token: int) -> Visit:
    """The visit as the walk knows it, still held under `token`. Raises LeaseLost."""
    visit = walk.state.visits[n - 1] if n <= len(walk.state.visits) else None
    if visit is None or visit.token != token or visit.status != StepStatus.RUNNING:
        raise LeaseLost(f"{walk.run.id} visit {n} is not held under token {token} any more")
    return visit


def release(run_id: str, epoch: int, n: int, token: int, why: str) -> bool:
    """Gives a running step back so that any worker can take it over; `why`: worker_lost, deploy or database_away.

    A step that has cost three workers their lives is failed instead. False if the hold is gone already.
    """
    walk = walks.load(run_id)
    if walk.run.epoch != epoch:
        return False
    try:
        walks.change(walk, lambda walk: _release(walk, n, token, why))
    except LeaseLost:
        return False
    return True


def _release(walk: Walk, n: int, token: int, why: str) -> None:
    visit = mine(walk, n, token)
    visit.owner, visit.interrupted = None, why
    visit.token += 1
    visit.losses += why == "worker_lost"
    walk.state.touch(visit)
    budgets.release(walk.run.id, walk.run.root_run_id, n)
    if visit.losses >= MAX_LOSSES:
        plan.fail(walk.state, visit, WorkerLost(f"{visit.step_key} lost its worker {visit.losses} times"))
    saves.save(walk, at_status=saves.OR_PAUSED)
    if visit.status == StepStatus.RUNNING:
        doorbell("advance_run", walk.run.id, walks.ref(visit))
