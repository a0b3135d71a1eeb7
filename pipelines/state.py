"""The state of one epoch of a run as the planner sees it: its visits, and what follows from them.

Everything is derived from the list of visits, so a worker can rebuild it from SQL at any time and then keep it in
memory while it walks on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from models.status import ACTIVE, StepStatus
from pipelines.definition import Pipeline, Step, fold

Scope = tuple[
    tuple[str, int, int], ...
]  # (loop step key, n of the visit that entered the loop, item index), outside in
DONE = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})
OPEN = ACTIVE | {StepStatus.PENDING}


@dataclass(slots=True)
class Visit:
    """One entry into a step; the columns of `models.visits.VisitRow` without the run's id."""

    n: int
    step_key: str
    type: str
    visit: int
    reason: str
    epoch: int = 1
    status: StepStatus = StepStatus.QUEUED
    scope: Scope = ()
    agent_id: str | None = None
    items: list | None = None
    entered_from: str | None = None
    passed: bool = False
    planned_version: int = 0
    done_version: int | None = None
    attempt: int = 0
    retry_count: int = 0
    max_retries: int = 0
    losses: int = 0
    interrupted: str | None = None
    token: int = 0
    owner: str | None = None
    due_at: int | None = None
    model: str | None = None
    prompt: str | None = None
    variables: dict | None = None
    outputs: dict[str, str] | None = None
    structured: Any = None
    artifacts: list[dict] | None = None
    result: str | None = None
    error: str | None = None
    error_code: str | None = None
    feedback: dict | None = None
    usage: dict | None = None
    first_seq: int | None = None
    copied_from: str | None = None
    child_run_id: str | None = None
    approval_id: str | None = None
    queued_at: int | None = None
    started_at: int | None = None
    completed_at: int | None = None

    @property
    def item_index(self) -> int | None:
        return self.scope[-1][2] if self.scope else None


@dataclass(slots=True)
class Ending:
    """How the epoch ended."""

    status: str  # completed, failed
    error: str | None = None
    error_code: str | None = None
    failed_step: str | None = None


@dataclass(slots=True)
class Planned:
    """An event the planner wants recorded: its type, the visit it is about, its payload."""

    type: str
    visit: Visit | None
    payload: dict[str, Any] = field(default_factory=dict)


class State:
    """The visits of one epoch, and what the planner decided since it was loaded."""

    def __init__(
        self,
        pipeline: Pipeline,
        visits: list[Visit],
        *,
        epoch: int = 1,
        version: int = 0,
        given: dict[str, str] | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.visits = visits
        self.epoch = epoch
        self.version = version
        self.given = given or {}  # fields of a JSON human_context
        self.changed: dict[int, Visit] = {}
        self.events: list[Planned] = []
        self.ending: Ending | None = None
        self.warnings: list[str] = []
        self._views: dict[Scope, dict[str, str]] = {}

    # --- writing (the planner only) ---

    def add(self, visit: Visit) -> Visit:
        self.visits.append(visit)
        return self.touch(visit)

    def touch(self, visit: Visit) -> Visit:
        """Marks the visit to be saved."""
        self.changed[visit.n] = visit
        self._views.clear()
        return visit

    def record(self, type: str, visit: Visit | None, **payload: Any) -> None:
        self.events.append(Planned(type, visit, payload))

    def saved(self) -> None:
        """Everything decided so far is committed."""
        self.changed, self.events = {}, []
        self.version += 1

    # --- reading ---

    def of(self, key: str, scope: Scope) -> list[Visit]:
        """The visits of a step in exactly this scope, oldest first."""
        return [visit for visit in self.visits if visit.step_key == key and visit.scope == scope]

    def latest(self, key: str, scope: Scope = ()) -> Visit | None:
        """The latest visit of a step in this scope or inside it."""
        depth = len(scope)
        for visit in reversed(self.visits):
            if visit.step_key == key and visit.scope[:depth] == scope:
                return visit
        return None

    def whole(self, key: str, scope: Scope = ()) -> Visit | None:
        """The latest visit that stands for the step as a whole: of a map its own, not that of an item."""
        found = self.latest(key, scope)
        items = found is not None and found.scope[-1:] and found.scope[-1][0] == key
        return self.entry(found.scope) if items and self.pipeline.steps[key].type == "map" else found

    def open_in(self, scope: Scope) -> list[Visit]:
        """Visits in or inside the scope that are not over."""
        depth = len(scope)
        return [visit for visit in self.visits if visit.status in OPEN and visit.scope[:depth] == scope]

    def entry(self, scope: Scope) -> Visit:
        """The visit that entered the innermost loop of the scope; it holds the loop's items."""
        return self.visits[scope[-1][1] - 1]

    def step(self, visit: Visit) -> Step:
        return self.pipeline.steps[visit.step_key]

    def view(self, scope: Scope) -> dict[str, str]:
        """Outputs by name as seen from the scope: its own, then those of the scopes around it, last writer first."""
        if scope not in self._views:
            outer = self.view(scope[:-1]) if scope else {}
            self._views[scope] = outer | self.own(scope)
        return self._views[scope]

    def own(self, scope: Scope) -> dict[str, str]:
        """Outputs written in the scope itself, last writer wins."""
        depth = len(scope)
        inside = [
            visit
            for visit in self.visits
            if visit.done_version is not None
            and visit.outputs
            and visit.scope[:depth] == scope
            and self._moved_out(visit.scope, depth)
        ]
        merged: dict[str, str] = {}
        for visit in sorted(inside, key=lambda visit: (visit.done_version, visit.n)):
            merged |= visit.outputs
        return merged

    def _moved_out(self, scope: Scope, depth: int) -> bool:
        """Whether values of `scope` are visible `depth` levels out: its loops are over and it was their last item."""
        inner = range(depth, len(scope))
        if any(self.pipeline.steps[scope[level][0]].type == "map" for level in inner):
            return False  # a map gives arrays instead
        return all(self._is_last(scope[: level + 1]) for level in inner)

    def _is_last(self, scope: Scope) -> bool:
        key, entry, index = scope[-1]
        around = [visit for visit in self.visits if (key, entry) in {part[:2] for part in visit.scope}]
        level = len(scope) - 1
        return not any(visit.status in OPEN for visit in around) and index == max(
            visit.scope[level][2] for visit in around
        )

    @property
    def steps_done(self) -> int:
        """How many steps of the file have been finished or skipped at least once."""
        return len({visit.step_key for visit in self.visits if visit.status in DONE})

    def items_of(self, key: str, scope: Scope) -> list[dict[str, str]]:
        """Outputs per item of the latest entry of loop step `key`."""
        latest = self.latest(key, scope)
        if latest is None or len(latest.scope) <= len(scope):
            return []
        inner = latest.scope[: len(scope) + 1]
        count = inner[-1][2] + 1
        return [self.own((*inner[:-1], (*inner[-1][:2], index))) for index in range(count)]

    def lookup(self, name: str, scope: Scope) -> str | None:
        """The value of `name` or `STEP.name` (rows 3 and 4 of the template's name table), None if unknown."""
        if "." in name:
            return self._step_value(*name.split(".", 1), scope)
        value = self.view(scope).get(fold(name))
        return self.given.get(name) if value is None else value

    def _step_value(self, key: str, name: str, scope: Scope) -> str | None:
        if name == "items" and key in self.pipeline.steps:
            return json.dumps(self.items_of(key, scope), ensure_ascii=False)
        for visit in reversed(self.visits):
            if visit.step_key == key and visit.outputs is not None and visit.scope == scope[: len(visit.scope)]:
                if name == "structured" and visit.structured is not None:
                    return json.dumps(visit.structured, ensure_ascii=False)
                return visit.outputs.get(fold(name))
        return None
