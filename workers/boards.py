"""A change of a project's board: what was asked for and all that follows from it, saved in one transaction.

`Change.move` is the only writer of a task's status and column, whoever asks: people, claims, runs, cascades.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from models import database, projects, tasks
from models.base import now_ms
from models.boards import BLOCKED, DONE, FAIL, QUEUE, WORK, Board
from models.errors import Conflict, Invalid
from models.events import Event
from models.projects import Project
from models.tasks import Task, TaskEvent

MOST_TASKS = 10_000  # that one change may move


class Change:
    """The project is locked; rows are changed in memory and stored by `save`."""

    def __init__(self, project: Project, board: Board, actor: str | None) -> None:
        self.project, self.board, self.actor = project, board, actor
        self.done = board.of_class(DONE)
        self._tasks: dict[str, Task] = {}
        self._touched: dict[str, Task] = {}
        self._entries: list[TaskEvent] = []
        self._recorded: list[Event] = []
        self._ends: dict[str, int] = {}  # column -> the place after its last task
        self._moved: list[tuple[Task, str]] = []  # with the class before, whose consequences are open
        self.parents: set[str] = set()  # tasks whose children have moved
        self._count = 0

    # --- rows ---

    def task(self, task_id: str) -> Task:
        """Raises NotFound."""
        return self._tasks.get(task_id) or self.know(tasks.get(task_id, self.project.id))

    def know(self, task: Task) -> Task:
        """One object per row."""
        return self._tasks.setdefault(task.id, task)

    def reload(self, task_id: str) -> Task:
        """After a statement of its own has changed the row."""
        self._tasks.pop(task_id, None)
        return self.task(task_id)

    def touch(self, task: Task) -> Task:
        """The row has changed: it is stored, and it is another version."""
        if task.id not in self._touched:
            self._touched[task.id] = self._tasks[task.id] = task
            task.version += 1
            task.updated_at = now_ms()
        return task

    def note(self, task: Task, kind: str, note: str | None = None, **facts: Any) -> None:
        """An entry of the task's history; `facts`: from_status, to_status, data."""
        self.touch(task)
        task.history_seq += 1
        place = {"task_id": task.id, "seq": task.history_seq, "project_id": self.project.id, "at": now_ms()}
        self._entries.append(TaskEvent(**place, actor=self.actor, kind=kind, note=note, **{"data": {}} | facts))

    def event(self, type: str, task: Task, **payload: Any) -> None:
        self._recorded.append(projects.event(self.project, type, task_id=task.id, **payload))

    def save(self) -> None:
        """Everything, and what follows from it."""
        self._settle()
        self.store()
        if self._recorded:
            projects.write(self.project, self._recorded)

    def store(self) -> None:
        """Writes rows and history, so that queries see them."""
        tasks.save(list(self._touched.values()))
        tasks.add_history(self._entries)
        self._count += len(self._touched)
        if self._count > MOST_TASKS:
            raise Conflict(f"This would move more than {MOST_TASKS} tasks at once", "cascade_too_large")
        self._touched, self._entries = {}, []

    # --- status ---

    def transition(
        self, task: Task, status: str, note: str | None = None, *, forced: bool = False, **place: Any
    ) -> bool:
        """Moves the task if the board's rules let it; False if it is there already. Raises Invalid, Conflict."""
        if status not in self.board.statuses:
            allowed = self.allowed(task)
            reason = {"status": [f"one of: {', '.join(self.board.statuses)}"]}
            raise Invalid(f"{status!r} is no status of this board", "unknown_status", reason, allowed=allowed)
        if status == task.status:
            return False
        if not forced:
            self._check(task, status)
        self.move(task, status, note, forced=forced, **place)
        return True

    def _check(self, task: Task, status: str) -> None:
        if status not in self.board.may_follow(task.status):
            why = f"A task in {task.status!r} cannot move to {status!r}"
            raise Conflict(why, "transition_not_allowed", allowed=self.allowed(task), **{"from": task.status})
        blockers = self._blockers(task, status)
        if blockers:
            names = ", ".join(repr(blocker["title"]) for blocker in blockers[:3])
            raise Conflict(f"It waits for {names}", "dependencies_open", allowed=self.allowed(task), blockers=blockers)
        self.check_limit(status, task)

    def _blockers(self, task: Task, status: str) -> list[dict[str, Any]]:
        """What must be done before the task may go there."""
        before, after = self.board.classes[task.status], self.board.classes[status]
        gated = after == DONE or (after == WORK and before != WORK)
        return tasks.blockers(task.id, self.done) if gated else []

    def check_limit(self, status: str, task: Task | None = None) -> None:
        """Raises Conflict if the column of the status has no room for one more task."""
        column = self.board.column(status)
        if column.wip_limit is None or (task and task.column_id == column.id):
            return
        count = tasks.count_in(column.id, self.project.id)
        if count >= column.wip_limit:
            facts = {"column_id": column.id, "limit": column.wip_limit, "count": count}
            raise Conflict(f"{column.name} has its {column.wip_limit} tasks already", "wip_limit", **facts)

    def allowed(self, task: Task) -> list[str]:
        """Where the task could go now."""
        found = []
        for status in self.board.may_follow(task.status):
            try:
                self._check_rest(task, status)
            except Conflict:
                continue
            found.append(status)
        return found

    def _check_rest(self, task: Task, status: str) -> None:
        if self._blockers(task, status):
            raise Conflict("It waits for other tasks", "dependencies_open")
        self.check_limit(status, task)

    def move(
        self,
        task: Task,
        status: str,
        note: str | None = None,
        *,
        forced: bool = False,
        by_server: bool = False,
        position: int | None = None,
    ) -> None:
        """Puts the task into a status and its column, whatever the rules say."""
        before, holder, board = task.status, task.assigned_agent, self.board
        was, now = board.classes[before], board.classes[status]
        column_id = board.column(status).id
        place = self.place(column_id, position)
        self.touch(task)
        task.status, task.column_id, task.column_position = status, column_id, place
        task.completed_at = (task.completed_at or now_ms()) if now == DONE else None
        self._mark_blocked(task, before, was, now, by_server)
        self._mark_stages(task, before, status)
        if now in (DONE, FAIL):
            self.drop_claim(task)
        kind = "forced" if forced else "status"
        self.note(task, kind, note, from_status=before, to_status=status)
        facts = {"from_status": before, "to_status": status, "column_id": task.column_id, "note": note}
        self.event("task_status_changed", task, **facts, actor=self.actor, version=task.version)
        if now == DONE != was:
            self.event("task_completed", task, agent_id=holder, title=task.title)
        if was != now:
            self._moved.append((task, was))
            if task.parent_task_id and {was, now} & {DONE, FAIL, WORK}:
                self.parents.add(task.parent_task_id)

    def place(self, column_id: str, position: int | None = None) -> int:
        """A place in a column: at the end, or where the others make room."""
        if position is not None:
            self.store()
            tasks.make_room(self.project.id, column_id, position)
            return position
        end = self._ends.get(column_id)
        end = tasks.last_position(column_id, self.project.id) if end is None else end
        self._ends[column_id] = end + 1
        return end

    def _mark_blocked(self, task: Task, before: str, was: str, now: str, by_server: bool) -> None:
        if now != BLOCKED:
            task.blocked_reason = task.blocked_from = None
        elif was != BLOCKED:
            task.blocked_reason, task.blocked_from = "dependency" if by_server else "manual", before

    def _mark_stages(self, task: Task, before: str, status: str) -> None:
        left, entered = self.board.stages_of([before]), self.board.stages_of([status])
        if not left or not entered or left == entered:
            return
        if self.board.is_forward(before, status):
            task.completed_stages = [*dict.fromkeys([*task.completed_stages, *left])]
        else:
            stages = task.completed_stages
            task.completed_stages = stages[: stages.index(entered[0])] if entered[0] in stages else stages

    # --- claims ---

    def drop_claim(self, task: Task) -> None:
        """Nobody holds the task any more; the fence stays, so that the late holder's writes are refused."""
        self.touch(task)
        if task.claim_live:
            task.assigned_agent = None
        task.holder, task.claim_live, task.claimed_at, task.claim_until = None, False, None, 0

    def end_claim(self, task: Task, kind: str) -> None:
        """A claim that was given back or has run out: what was begun under it goes back to where it was."""
        agent_id, claimed_from = task.assigned_agent, task.claimed_from
        self.drop_claim(task)
        self.note(task, kind, data={"agent_id": agent_id, "fence": task.fence})
        name = {"released": "task_released", "expired": "task_claim_expired"}[kind]
        self.event(name, task, agent_id=agent_id, title=task.title, fence=task.fence)
        if task.status in self.board.semantics["in_progress"] and task.run_id is None:
            back = claimed_from if claimed_from in self.board.of_class(QUEUE) else self.board.fresh
            self.move(task, back, f"claim {kind}", by_server=True)

    # --- what follows ---

    def _settle(self) -> None:
        while self._moved or self.parents:
            self.store()
            if self._moved:
                moved, self._moved = self._moved, []
                self._pass_on(moved)
            else:
                self._raise_parent(self.task(self.parents.pop()))

    def _pass_on(self, moved: Sequence[tuple[Task, str]]) -> None:
        """Dependents of tasks that were done, have failed, or are open again."""
        now = {task.id: self.board.classes[task.status] for task, _ in moved}
        was = {task.id: before for task, before in moved}
        self._unblock([id for id in now if now[id] == DONE])
        self.block(self._dependents([id for id in now if now[id] == FAIL], far=True), failed=True)
        reopened = [id for id in now if was[id] in (DONE, FAIL) and now[id] not in (DONE, FAIL)]
        self.block(self._dependents(reopened))

    def _dependents(self, ids: Sequence[str], far: bool = False) -> list[Task]:
        return [self.know(task) for task in tasks.dependents(ids, self.project.id, far)] if ids else []

    def _unblock(self, ids: Sequence[str]) -> None:
        self.release(self._dependents(ids))

    def release(self, found: Iterable[Task]) -> None:
        """Those that nothing blocks any more go back to where they were."""
        self.store()
        waiting = [task for task in found if task.blocked_reason == "dependency"]
        open_still = tasks.with_open_blockers([task.id for task in waiting], self.done)
        for task in waiting:
            if task.id not in open_still:
                back = task.blocked_from if task.blocked_from in self.board.statuses else self.board.fresh
                self.move(task, back, "what it waited for is done", by_server=True)

    def block(self, found: Iterable[Task], failed: bool = False) -> None:
        """Tasks that wait for something again; who is at work is told instead."""
        blocked = self.board.first("blocked")
        for task in found:
            kind = self.board.classes[task.status]
            if kind == QUEUE and blocked is not None:
                self.move(task, blocked, "it waits for other tasks", by_server=True)
            elif kind == WORK and failed:
                self.event("task_blocker_failed", task, agent_id=task.assigned_agent)

    def _raise_parent(self, parent: Task) -> None:
        """A parent follows its children where it may."""
        sql = "SELECT DISTINCT status FROM tasks WHERE parent_task_id = ?"
        found = {self.board.classes[row[0]] for row in database.execute(sql, (parent.id,)).fetchall()}
        goal = self._goal(found, self.board.classes[parent.status])
        if goal is None or parent.claim_live or goal not in self.board.may_follow(parent.status):
            return
        if not self._blockers(parent, goal):
            self.move(parent, goal, "its subtasks have moved", by_server=True)

    def _goal(self, children: set[str], now: str) -> str | None:
        if children == {DONE}:
            return None if now == DONE else self.board.first("terminal_done")
        if WORK in children:
            return self.board.first("in_progress") if now == QUEUE else None
        if FAIL in children and children <= {DONE, FAIL}:
            return None if now == FAIL else self.board.first("terminal_fail")
        return None


@contextmanager
def changing(project_id: str, actor: str | None) -> Iterator[Change]:
    """A change of the project's board, saved at the end of the block. Raises NotFound."""
    with database.transaction():
        project = projects.lock(project_id)
        change = Change(project, projects.board(project), actor)
        yield change
        change.save()
