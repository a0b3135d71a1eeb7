"""Rewinding: which visits a new epoch keeps, and which it does again (engine, "Restart and fork"). Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from models.errors import Conflict, Invalid
from models.status import StepStatus
from pipelines.state import DONE, Scope, State, Visit


@dataclasses.dataclass(frozen=True, slots=True)
class Rewound:
    """What a new epoch begins with: kept visits as they ended, then those to do again as queued.

    `cut` is the number of the earliest visit that is done again, None if everything is.
    """

    visits: list[Visit]
    cut: int | None = None


def to(state: State, place: str, failed_step: str | None) -> Rewound:
    """`place` is `start`, `failed` or a step key. Raises Conflict, Invalid."""
    if place == "start":
        return Rewound([])
    cut = _cut_of_failure(state, failed_step) if place == "failed" else _cut_of_step(state, place)
    if cut is None:
        return Rewound([])
    cut = _whole_map(state, cut)
    kept = [visit for visit in state.visits if visit.n < cut.n]
    again = [visit for visit in state.visits if visit.n >= cut.n and _goes_again(visit, cut)]
    end = state.latest(failed_step) if failed_step else None
    items = _kept_items(state, cut) if place == "failed" else []
    return Rewound(_renumbered([*(_settled(visit, end) for visit in kept), *_again(again, items), *items]), cut.n)


def _whole_map(state: State, visit: Visit) -> Visit:
    """The visit of the map where `visit` is one of its items, else itself."""
    item = visit.scope and visit.scope[-1][0] == visit.step_key and state.step(visit).map
    return state.entry(visit.scope) if item else visit


def _kept_items(state: State, cut: Visit) -> list[Visit]:
    """Items of a map that failed: what is done stays done, the rest is queued."""
    mine = [v for v in state.visits if v.scope[:-1] == cut.scope and v.scope[-1:] and v.scope[-1][1] == cut.n]
    done = StepStatus.COMPLETED
    return [_settled(visit, None) if visit.status == done else _afresh(visit) for visit in mine if cut.items]


def _again(visits: list[Visit], items: list[Visit]) -> list[Visit]:
    """Visits as they begin anew; a map whose items are kept goes on with those."""
    own = {visit.n for visit in items}
    fresh = [_afresh(visit) for visit in visits if visit.n not in own]
    if items:
        fresh[0].status = StepStatus.RUNNING
    return fresh


def _cut_of_failure(state: State, failed_step: str | None) -> Visit | None:
    cancelled = [visit for visit in state.visits if visit.status == StepStatus.CANCELLED]
    failed = [state.latest(failed_step)] if failed_step else []
    found = [visit for visit in (*failed, *cancelled) if visit is not None]
    if found:
        return min(found, key=lambda visit: visit.n)
    return state.visits[-1] if state.visits and failed_step else None


def _cut_of_step(state: State, key: str) -> Visit:
    if key not in state.pipeline.steps:
        raise Invalid(f"The pipeline has no step {key}", "unknown_step", errors={"from": [f"unknown step {key!r}"]})
    visit = state.latest(key)
    if visit is None:
        raise Conflict(f"Step {key} was never reached", "step_not_reached", allowed=_reached(state))
    return visit


def _reached(state: State) -> list[str]:
    return ["start", *dict.fromkeys(visit.step_key for visit in state.visits)]


def _goes_again(visit: Visit, cut: Visit) -> bool:
    """The cut itself, and what was activated together with it (not the items of a map among that)."""
    item = bool(visit.scope) and visit.scope[-1][0] == visit.step_key and visit.type == "agent"
    return visit.n == cut.n or (visit.planned_version == cut.planned_version and not item)


def _settled(visit: Visit, end: Visit | None) -> Visit:
    """A visit before the cut stays as it ended; one that was still at work, or ended the run, is done again.

    A failed visit that `onFailure` led away from is history like any other.
    """
    survived = visit.status == StepStatus.FAILED and not (end and visit.n == end.n)
    if visit.status in DONE or survived:
        return dataclasses.replace(visit, first_seq=None, token=0, owner=None)
    fresh = _afresh(visit)
    if visit.type == "map" and visit.items is not None:
        fresh.status = StepStatus.RUNNING  # its items are in the history too
    return fresh


def _afresh(visit: Visit) -> Visit:
    kept = ("n", "step_key", "type", "visit", "reason", "scope", "agent_id", "items", "entered_from", "planned_version")
    return Visit(**{name: getattr(visit, name) for name in kept})


def _renumbered(visits: list[Visit]) -> list[Visit]:
    """Numbers without holes; scopes follow the visits they name."""
    numbers = {visit.n: number for number, visit in enumerate(visits, 1)}
    for visit in visits:
        visit.n = numbers[visit.n]
        visit.scope = _mapped(visit.scope, numbers.__getitem__)
    return visits


def _mapped(scope: Scope, number: Callable[[int], int]) -> Scope:
    return tuple((key, number(entry), index) for key, entry, index in scope)
