"""A walk: one worker's way through a run, with the run's state in memory and every change saved in one transaction.

What is in memory is a copy. `runs.write` refuses it when another worker planned meanwhile (StaleState: load again and
decide again) or when the run has moved on (LeaseLost: stop).
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from typing import Any, TypeVar

import structlog

from models import config, database, outbox, run_search, runs, snapshots, visits
from models.base import now_ms
from models.errors import StaleState, Unavailable
from models.events import Event
from models.runs import Run, RunInput
from models.status import RunStatus, StepStatus
from pipelines import catalog
from pipelines.definition import Pipeline
from pipelines.state import Planned, State, Visit
from workers import broker
from workers.agent.prompt import Facts, as_text
from workers.holds import Hold

log = structlog.get_logger(__name__)

T = TypeVar("T")
RETRY_SECONDS = 0.5
VISIT_FIELDS = [item.name for item in dataclass_fields(Visit)]
COUNTERS = ("input_tokens", "output_tokens", "cache_read_tokens", "cost_usd", "llm_calls", "tool_calls")
ENDS = {RunStatus.COMPLETED: "run_complete", RunStatus.FAILED: "run_failed"}


@dataclass(slots=True)
class Walk:
    run: Run
    inputs: RunInput
    pipeline: Pipeline
    state: State
    stored: dict[int, tuple[int, str]] = field(default_factory=dict)  # n -> (token, status) in the database
    written: bool = False  # something was saved in the transaction at hand

    @property
    def facts(self) -> Facts:
        run = self.run
        return Facts(
            run.id,
            run.pipeline_id,
            self.inputs.task_description,
            self.inputs.human_context,
            run.project_id,
            run.project_name,
        )

    @property
    def workspace(self):
        return config.get().workspaces_dir / self.run.id

    def remember(self) -> None:
        """The copy is what is stored now."""
        self.stored = {visit.n: (visit.token, visit.status) for visit in self.state.visits}

    def settle_copy(self) -> None:
        """What was saved is committed: the copy is what is stored."""
        if self.written:
            self.state.saved()
            self.remember()
            self.written = False


def load(run_id: str) -> Walk:
    """The run as stored now. Raises NotFound."""
    with database.connection():
        run = runs.get(run_id)
        walk = Walk(run, runs.inputs(run_id), definition(run.pipeline_hash), state=None)
        _load_state(walk)
    return walk


def reload(walk: Walk) -> None:
    """Brings the copy up to date."""
    with database.connection():
        walk.run = runs.get(walk.run.id)
        walk.inputs = runs.inputs(walk.run.id)
        _load_state(walk)


def _load_state(walk: Walk) -> None:
    run = walk.run
    history = [_visit(row) for row in visits.of_run(run.id, run.epoch)]
    given = context_fields(walk.inputs.human_context)
    walk.written = False
    walk.state = State(walk.pipeline, history, epoch=run.epoch, version=run.plan_version, given=given)
    walk.remember()


def _visit(row: visits.VisitRow) -> Visit:
    visit = Visit(**{name: getattr(row, name) for name in VISIT_FIELDS})
    visit.scope = tuple(tuple(part) for part in visit.scope)
    visit.status = StepStatus(visit.status)
    return visit


def row(run_id: str, visit: Visit) -> dict[str, Any]:
    """The visit as a row of `visits`."""
    return {"run_id": run_id, **{name: getattr(visit, name) for name in VISIT_FIELDS}}


@functools.lru_cache(maxsize=256)
def definition(hash: str) -> Pipeline:
    """The pinned definition of that content hash."""
    return catalog.parse(snapshots.text_of(hash))


def context_fields(human_context: str | None) -> dict[str, str]:
    """Fields of a `human_context` that is (or, after a restart, begins with) a JSON object, as template values."""
    if not human_context or not human_context.lstrip().startswith("{"):
        return {}
    try:
        value, _ = json.JSONDecoder().raw_decode(human_context.lstrip())
    except ValueError:
        return {}
    return {str(name): as_text(item) for name, item in value.items()} if isinstance(value, dict) else {}


def change(walk: Walk, decide: Callable[[Walk], T]) -> T:
    """Runs `decide`, which plans and saves, in one transaction; on fresh state again if it was stale."""
    while True:
        try:
            with database.transaction():
                result = decide(walk)
            walk.settle_copy()
            return result
        except StaleState:
            reload(walk)


def save(
    walk: Walk,
    before: Sequence[Event] = (),
    after: Sequence[Event] = (),
    *,
    started: Visit | None = None,
    to: str | None = None,
    add: dict[str, float] | None = None,
    **changes: Any,
) -> None:
    """Stores what was planned: the run row, the changed visits, the events, the doorbells of what waits.

    `started` is the visit whose `step_started` is the last of `after`.
    """
    run, state = walk.run, walk.state
    if state.ending:
        _refresh_counters(run)
    recorded = [*before, *(as_event(run, planned) for planned in state.events), *after]
    count(run, add)
    if new := [text for text in state.warnings if text not in run.warnings]:
        changes["warnings"] = run.warnings = [*run.warnings, *new]
    if state.ending:
        to, ending = _ending(walk)
        recorded.append(ending)
        changes |= _ended(walk)
    last = runs.write(run.id, recorded, to=to, at_epoch=run.epoch, at_version=state.version, add=add, **changes)
    walk.written = True
    run.last_seq = last
    if to is not None:
        run.status = to
    if started is not None:
        started.first_seq = last
    if state.ending and state.ending.error:
        texts = (walk.inputs.task_description, walk.inputs.human_context, *run.tags, state.ending.error)
        run_search.index(run.id, texts)
    _stamp(state.changed.values())
    visits.save([row(run.id, visit) for visit in state.changed.values()], walk.stored)
    _ring(walk)


def _refresh_counters(run: Run) -> None:
    """Other branches count on the row without planning, so the copy's counters may be behind."""
    stored = runs.get(run.id)
    for name in COUNTERS:
        setattr(run, name, getattr(stored, name))


def count(run: Run, add: dict[str, float] | None) -> None:
    """Keeps the copy's counters in step with what was added to the row."""
    for name, value in (add or {}).items():
        setattr(run, name, getattr(run, name) + value)


def attempt_usage(hold: Hold, add: dict[str, float] | None = None) -> dict[str, float]:
    """The usage object of an attempt, `add` included."""
    figures = {name: hold.used[name] + (add or {}).get(name, 0) for name in COUNTERS}
    return figures | {"total_tokens": figures["input_tokens"] + figures["output_tokens"]}


def patiently(hold: Hold, write: Callable[[], T]) -> T:
    """Repeats a write while the database is away, until the hold is lost. Raises LeaseLost."""
    while True:
        try:
            return write()
        except Unavailable as error:
            log.warning("database_away", run_id=hold.run_id, error=error.message)
            time.sleep(RETRY_SECONDS)
            hold.check()


def _stamp(changed: Iterable[Visit]) -> None:
    """The planner has no clock: times of what it queued and ended are set here."""
    for visit in changed:
        if visit.status != StepStatus.PENDING and visit.queued_at is None:
            visit.queued_at = now_ms()
        if visit.done_version is not None and visit.completed_at is None:
            visit.completed_at = now_ms()


def _ring(walk: Walk) -> None:
    """A doorbell for each step that became queued and that nobody took; none for a run that is over."""
    if walk.state.ending:
        outbox.withdraw(walk.run.id)
        return
    for visit in walk.state.changed.values():
        if visit.status == StepStatus.QUEUED:
            broker.doorbell("advance_run", walk.run.id, ref(visit))


def ref(visit: Visit) -> str:
    """Which doorbell belongs to the visit."""
    return f"{visit.epoch}.{visit.n}"


def as_event(run: Run, planned: Planned) -> Event:
    """A planner's event with the envelope of its visit."""
    return event(run, planned.type, planned.visit, **planned.payload)


def event(run: Run, type: str, visit: Visit | None = None, **payload: Any) -> Event:
    """An event of the run, about `visit` if given. A payload's `item_index` wins over the visit's."""
    item_index = payload.pop("item_index", visit.item_index if visit else None)
    return Event(
        type,
        run_id=run.id,
        epoch=run.epoch,
        step_id=visit and visit.step_key,
        visit=visit and visit.visit,
        attempt=visit and visit.attempt,
        item_index=item_index,
        session_id=f"{run.id}_{visit.step_key}" if visit else None,
        agent_id=visit and visit.agent_id,
        payload=payload,
    )


def _ending(walk: Walk) -> tuple[RunStatus, Event]:
    ending, run = walk.state.ending, walk.run
    status = RunStatus(ending.status)
    payload = {"duration_ms": now_ms() - run.started_at if run.started_at else None, "usage": usage(run)}
    if status == RunStatus.COMPLETED:
        payload = {"outputs": walk.state.view(()), **payload}
    else:
        payload = {
            "error": ending.error,
            "error_code": ending.error_code,
            "failed_step": ending.failed_step,
            **payload,
        }
    return status, event(run, ENDS[status], **payload)


def _ended(walk: Walk) -> dict[str, Any]:
    ending = walk.state.ending
    return {
        "completed_at": now_ms(),
        "outputs": walk.state.view(()),
        "error": ending.error,
        "error_code": ending.error_code,
        "failed_step": ending.failed_step,
    }


def recorded_turns(run: Run, visit: Visit) -> int:
    """How many turns of the visit's current attempt have been stored."""
    sql = "SELECT count(*) FROM llm_calls WHERE run_id = ? AND epoch = ? AND n = ? AND attempt = ? AND status = 'ok'"
    return database.execute(sql, (run.id, run.epoch, visit.n, visit.attempt)).fetchone()[0]


def usage(run: Run) -> dict[str, float]:
    """The usage object of a run."""
    figures = {name: getattr(run, name) for name in COUNTERS}
    return figures | {"total_tokens": run.input_tokens + run.output_tokens}
