"""Boards: which statuses a project's tasks have, what they mean, and which may follow which. Pure; no database.

Nothing else in the code compares a status with a word like "done": only with these sets and classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

DONE, FAIL, BLOCKED, WORK, QUEUE = "done", "fail", "blocked", "work", "queue"
SETS = ("initial", "terminal_done", "terminal_fail", "blocked", "in_progress", "claimable")
MAY_FOLLOW = {  # class of a task -> classes it may go to; "start" is the in_progress set
    QUEUE: (QUEUE, "start", BLOCKED, DONE, FAIL),
    WORK: (WORK, QUEUE, BLOCKED, DONE, FAIL),
    BLOCKED: (QUEUE, FAIL),
    DONE: (QUEUE, "start"),
    FAIL: (QUEUE, "start"),
}
STAGES = {
    "backlog": "spec",
    "planning": "spec",
    "planned": "design",
    "ux": "ux",
    "ready": "implement",
    "in_progress": "implement",
    "review": "review",
    "test": "test",
    "done": "deploy",
}


def slug(name: str, limit: int = 64) -> str:
    """A name as a status: `In Progress` -> `in_progress`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:limit] or "column"


@dataclass(frozen=True, slots=True)
class Column:
    """`id` is empty before it is stored."""

    id: str
    name: str
    statuses: tuple[str, ...]
    wip_limit: int | None = None


@dataclass(frozen=True)
class Board:
    """Columns in order, the sets of statuses, and a project's own transitions if it has any."""

    columns: tuple[Column, ...]
    semantics: dict[str, tuple[str, ...]]
    transitions: dict[str, tuple[str, ...]] | None = field(default=None)

    @cached_property
    def statuses(self) -> tuple[str, ...]:
        return tuple(status for column in self.columns for status in column.statuses)

    @cached_property
    def _columns(self) -> dict[str, Column]:
        return {status: column for column in self.columns for status in column.statuses}

    @cached_property
    def classes(self) -> dict[str, str]:
        """status -> its class."""
        return {status: self._class_of(status) for status in self.statuses}

    def _class_of(self, status: str) -> str:
        for name, found in (("terminal_done", DONE), ("terminal_fail", FAIL), ("blocked", BLOCKED)):
            if status in self.semantics[name]:
                return found
        first = next((at for at, column in enumerate(self.columns) if self._starts(column)), len(self.columns))
        started = status in self.semantics["in_progress"] or self.columns.index(self._columns[status]) > first
        return WORK if started else QUEUE

    def _starts(self, column: Column) -> bool:
        return any(status in self.semantics["in_progress"] for status in column.statuses)

    def column(self, status: str) -> Column:
        return self._columns[status]

    def of_class(self, *names: str) -> list[str]:
        """The statuses of these classes."""
        return [status for status in self.statuses if self.classes[status] in names]

    def may_follow(self, before: str) -> list[str]:
        """The statuses that the table lets a task go to from `before`."""
        if self.transitions is not None:
            return [status for status in self.statuses if status in self.transitions.get(before, ())]
        goals = MAY_FOLLOW[self.classes[before]]
        start = self.semantics["in_progress"] if "start" in goals else ()
        allowed = {*self.of_class(*goals), *start}
        return [status for status in self.statuses if status in allowed and status != before]

    def first(self, name: str) -> str | None:
        """The first status of a set in the order of the board."""
        return next((status for status in self.statuses if status in self.semantics[name]), None)

    @property
    def fresh(self) -> str:
        """Where work goes that waits for nobody: `ready` if the board has it."""
        return "ready" if "ready" in self.statuses else self.initial

    @property
    def initial(self) -> str:
        return self.first("initial") or self.statuses[0]

    def is_forward(self, before: str, after: str) -> bool:
        return self.statuses.index(after) > self.statuses.index(before)

    def stages_of(self, statuses: Iterable[str]) -> list[str] | None:
        """The stages of statuses, each once; None on a board whose statuses have no stages."""
        if not set(self.statuses) & {"planning", "planned", "review", "test"}:
            return None
        return list(dict.fromkeys(STAGES[status] for status in statuses if status in STAGES))


def derived(columns: Sequence[Column], given: dict[str, Sequence[str]] | None) -> dict[str, tuple[str, ...]]:
    """The sets of a board: those given, the rest from the order of the columns."""
    statuses = [status for column in columns for status in column.statuses]
    if given is None:
        same = set(statuses) & {"in_progress"}
        defaults = {"initial": statuses[:1], "claimable": statuses[:1], "terminal_done": statuses[-1:]}
        given = defaults | {"in_progress": sorted(same)}
    found = {name: tuple(given.get(name) or ()) for name in SETS}
    if not found["claimable"]:
        found["claimable"] = found["initial"]
    return found


def problems(board: Board) -> dict[str, list[str]]:
    """{field: why} of a board that cannot work."""
    found: dict[str, list[str]] = {}
    twice = sorted({status for status in board.statuses if board.statuses.count(status) > 1})
    if twice:
        found["columns"] = [f"status {status!r} is in two columns" for status in twice]
    unknown = sorted({status for statuses in board.semantics.values() for status in statuses} - set(board.statuses))
    if unknown:
        found["status_semantics"] = [f"no column has the status {status!r}" for status in unknown]
    for name in ("initial", "terminal_done"):
        if not board.semantics[name]:
            found.setdefault("status_semantics", []).append(f"{name} needs at least one status")
    if not found and board.transitions is not None:
        found |= _transition_problems(board)
    return found


def _transition_problems(board: Board) -> dict[str, list[str]]:
    table, known = board.transitions or {}, set(board.statuses)
    named = {*table, *(status for goals in table.values() for status in goals)}
    wrong = [f"no column has the status {status!r}" for status in sorted(named - known)]
    wrong += [f"{status!r} never comes to an end" for status in sorted(known - _ending(board))]
    return {"transitions": wrong} if wrong else {}


def _ending(board: Board) -> set[str]:
    """The statuses from which a done one can be reached."""
    reached = set(board.of_class(DONE))
    while True:
        more = {status for status in board.statuses if set(board.may_follow(status)) & reached} - reached
        if not more:
            return reached
        reached |= more


def _columns(*entries: tuple[Any, ...]) -> tuple[Column, ...]:
    return tuple(Column("", name, (slug(name),), *limit) for name, *limit in entries)


@dataclass(frozen=True, slots=True)
class Template:
    """A board that a project can begin with."""

    id: str
    name: str
    description: str
    columns: tuple[Column, ...]
    semantics: dict[str, tuple[str, ...]]
    pipeline_id: str | None = None
    workspace_type: str | None = None


def _template(id: str, name: str, description: str, columns: tuple[Column, ...], **sets: str) -> Template:
    more = {key: sets.pop(key) for key in ("pipeline_id", "workspace_type") if key in sets}
    semantics = {key: tuple(sets.get(key, "").split()) for key in SETS}
    return Template(id, name, description, columns, semantics, **more)


SOFTWARE = _columns(
    *(("Backlog",), ("Planning",), ("Planned",), ("UX",), ("Blocked",), ("Ready",), ("In Progress", 5)),
    *(("Review",), ("Test",), ("Done",), ("Failed",)),
)
TEMPLATES = {
    template.id: template
    for template in (
        _template(
            "software-dev",
            "Software development",
            "From an idea to what is delivered, with planning, design, review and test",
            SOFTWARE,
            initial="backlog",
            terminal_done="done",
            terminal_fail="failed",
            blocked="blocked",
            in_progress="in_progress",
            claimable="backlog planning planned ux ready test failed",
            pipeline_id="engineering",
            workspace_type="git_worktree",
        ),
        _template(
            "kanban-simple",
            "Simple kanban",
            "To do, in progress, done",
            _columns(("Todo",), ("In Progress", 5), ("Done",)),
            initial="todo",
            terminal_done="done",
            in_progress="in_progress",
            claimable="todo",
        ),
        _template(
            "content-pipeline",
            "Content",
            "From an idea over drafts and editing to what is published",
            _columns(("Idea",), ("Drafting", 3), ("Editing",), ("Review",), ("Published",), ("Archived",)),
            initial="idea",
            terminal_done="published",
            terminal_fail="archived",
            in_progress="drafting",
            claimable="idea review",
        ),
        _template(
            "research",
            "Research",
            "From a question to findings",
            _columns(("Question",), ("Investigating", 3), ("Synthesizing",), ("Findings",), ("Parked",)),
            initial="question",
            terminal_done="findings",
            terminal_fail="parked",
            in_progress="investigating",
            claimable="question",
        ),
    )
}
DEFAULT_TEMPLATE = "software-dev"
