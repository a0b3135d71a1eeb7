"""A walk: one worker's way through a run, with the run's state in memory and every change saved in one transaction.

What is in memory is a copy. `runs.write` refuses it when another worker planned meanwhile (StaleState: load again and
decide again) or when the run has moved on (LeaseLost: stop).
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any, TypeVar

import structlog

from models import database, run_views, runs, snapshots, visits
from models.base import now_ms
from models.errors import LeaseLost, NeedsPerson, StaleState, Unavailable
from models.events import Event
from models.run_views import COUNTED
from models.runs import Run, RunInput
from models.status import StepStatus
from pipelines import catalog
from pipelines.definition import Pipeline
from pipelines.state import Planned, State, Visit
from workers import workspaces
from workers.agent.prompt import Facts, as_text
from workers.holds import Hold

log = structlog.get_logger(__name__)

T = TypeVar("T")
RETRY_SECONDS = 0.5
MAX_SHOWN_CHARS = 64 * 1024  # of one output in an event
VISIT_FIELDS = [item.name for item in dataclass_fields(Visit)]


@dataclass(slots=True)
class Walk:
    run: Run
    inputs: RunInput
    pipeline: Pipeline
    state: State
    stored: dict[int, tuple[int, str]] = field(default_factory=dict)  # n -> (token, status) in the database
    stale: bool = False  # the copy may differ from what is stored
    written: bool = False  # something was saved in the transaction at hand
    asked: dict[int, NeedsPerson] = field(default_factory=dict)  # n -> what its paused visit asks a person
    grants: list[dict[str, Any]] = field(default_factory=list)  # secrets of the run's agents, encrypted
    grants_read: float = float("-inf")  # when, by this process's clock
    offers_read: float = float("-inf")  # when the tools of MCP servers were, by the same clock
    skills: list[dict[str, Any]] | None = None  # those of the run's agents; they stay what they were at its start
    add: dict[str, float] = field(default_factory=dict)  # usage of ended child runs, to be counted with the next save
    answered: list[str] = field(default_factory=list)  # doorbells that go with the next save, once the run is locked

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
    def workspace(self) -> Path:
        return workspaces.folder(self.run.id)

    def remember(self) -> None:
        """The copy is what is stored now."""
        self.stored = {visit.n: (visit.token, visit.status) for visit in self.state.visits}

    def settle_copy(self) -> None:
        """What was saved is committed: the copy is what is stored."""
        if self.written:
            self.state.saved()
            self.remember()
            self.written, self.asked, self.add, self.answered = False, {}, {}, []


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
    walk.written, walk.asked, walk.add, walk.answered = False, {}, {}, []
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
        if walk.stale:
            reload(walk)
        walk.stale = True  # what `decide` does to the copy counts only once it is committed
        try:
            with database.transaction():
                result = decide(walk)
        except StaleState:
            continue
        walk.stale = False
        walk.settle_copy()
        return result


def count(run: Run, add: dict[str, float] | None) -> None:
    """Keeps the copy's counters in step with what was added to the row."""
    for name, value in (add or {}).items():
        setattr(run, name, getattr(run, name) + value)


def attempt_usage(hold: Hold, add: dict[str, float] | None = None) -> dict[str, float]:
    """The usage object of an attempt, `add` included."""
    return run_views.usage({name: hold.used[name] + (add or {}).get(name, 0) for name in COUNTED})


def patiently(hold: Hold, write: Callable[[], T]) -> T:
    """Repeats a write while the database is away, until the hold is lost. Raises LeaseLost."""
    while True:
        try:
            return write()
        except Unavailable as error:
            log.warning("database_away", stream=hold.stream, error=error.message)
            time.sleep(RETRY_SECONDS)
            hold.check()


def hand_back(hold: Hold, release: Callable[[], bool]) -> None:
    """That the database was away is no failure of the work: whoever takes it next goes on at the same turn."""
    with contextlib.suppress(LeaseLost):
        patiently(hold, release)


def ref(visit: Visit) -> str:
    """Which doorbell belongs to the visit."""
    return f"{visit.epoch}.{visit.n}"


def as_event(run: Run, planned: Planned) -> Event:
    """A planner's event with the envelope of its visit. What ended without an attempt has no usage of its own."""
    payload = dict(planned.payload)
    if "outputs" in payload:
        payload["outputs"] = shown(payload["outputs"])
    if planned.type == "step_complete":
        visit = planned.visit
        payload |= {"duration_ms": now_ms() - (visit.queued_at or now_ms()), "usage": visit.usage, "commit": None}
    return event(run, planned.type, planned.visit, **payload)


def shown(outputs: dict[str, str]) -> dict[str, str]:
    """Outputs as events show them: the beginning of long ones, whose whole text the steps' routes give."""
    return {name: _head(text) for name, text in outputs.items()}


def _head(text: str) -> str:
    if len(text) <= MAX_SHOWN_CHARS:
        return text
    return f"{text[:MAX_SHOWN_CHARS]}\n[... {len(text) - MAX_SHOWN_CHARS} characters more in the step's output ...]"


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


def recorded_turns(run: Run, visit: Visit) -> int:
    """How many turns of the visit's current attempt have been stored."""
    sql = "SELECT count(*) FROM llm_calls WHERE run_id = ? AND epoch = ? AND n = ? AND attempt = ? AND status = 'ok'"
    return database.execute(sql, (run.id, run.epoch, visit.n, visit.attempt)).fetchone()[0]


def usage(run: Run) -> dict[str, float]:
    """The usage object of a run."""
    return run_views.usage({name: getattr(run, name) for name in COUNTED})
