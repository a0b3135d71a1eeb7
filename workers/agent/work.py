"""What an agent works on: an attempt at a step, or a turn of a chat. Loop, journal and feed know no more of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from models import chats, database, runs, visits
from models.chats import ChatMessage, ChatSession
from models.events import Event
from models.runs import Run
from models.status import RunStatus
from pipelines.state import Visit
from workers import walks
from workers.holds import Hold

OR_PAUSED = (RunStatus.RUNNING, RunStatus.PAUSED)  # what was under way when the run was paused still counts


class Work(Protocol):
    """`resumed`: another worker began it. `message_id`: of the chat message that is being written."""

    hold: Hold
    resumed: bool
    message_id: str | None

    def place(self, turn: int) -> dict[str, Any]:
        """The columns that say where a turn stands, the turn itself last."""

    def line(self, turn: int) -> dict[str, Any]:
        """`place` and whose call it is, for the ledger."""

    def event(self, type: str, **payload: Any) -> Event:
        """An event of this work."""

    def write(self, recorded: Sequence[Event], add: dict[str, float] | None = None) -> None:
        """Stores events and counters in the enclosing transaction. Raises LeaseLost if the work was taken away."""


@dataclass(slots=True)
class StepWork:
    """One attempt at one visit of a run."""

    run: Run
    visit: Visit
    hold: Hold
    message_id: None = None

    @property
    def resumed(self) -> bool:
        return self.visit.interrupted is not None

    def place(self, turn: int) -> dict[str, Any]:
        visit, run = self.visit, self.run
        place = {"run_id": run.id, "epoch": run.epoch, "n": visit.n, "step_key": visit.step_key}
        return place | {"attempt": visit.attempt, "turn": turn}

    def line(self, turn: int) -> dict[str, Any]:
        visit, run = self.visit, self.run
        owner = {"agent_id": visit.agent_id, "pipeline_id": run.pipeline_id, "project_id": run.project_id}
        return self.place(turn) | owner

    def event(self, type: str, **payload: Any) -> Event:
        return walks.event(self.run, type, self.visit, **payload)

    def write(self, recorded: Sequence[Event], add: dict[str, float] | None = None) -> None:
        fence = visits.fence(*self.hold.key)
        runs.write(self.run.id, recorded, at_status=OR_PAUSED, at_epoch=self.hold.epoch, fence=fence, add=add)
        database.on_commit(lambda: walks.count(self.run, add))


@dataclass(slots=True)
class ChatWork:
    """One turn of a chat: an answer that is being written."""

    session: ChatSession
    message: ChatMessage
    hold: Hold

    @property
    def message_id(self) -> str:
        return self.message.id

    @property
    def resumed(self) -> bool:
        return self.message.interrupted is not None

    @property
    def fence(self) -> tuple[str, tuple]:
        return chats.fence(self.session.id, self.hold.n, self.hold.token)

    def place(self, turn: int) -> dict[str, Any]:
        return {"session_id": self.session.id, "message_id": self.message.id, "turn": turn}

    def line(self, turn: int) -> dict[str, Any]:
        owner = {"agent_id": self.session.agent_id, "project_id": self.session.project_id}
        return self.place(turn) | owner

    def event(self, type: str, **payload: Any) -> Event:
        return chats.event(self.session, type, **payload)

    def write(self, recorded: Sequence[Event], add: dict[str, float] | None = None) -> None:
        chats.write(self.session.id, recorded, fence=self.fence, add=add)
