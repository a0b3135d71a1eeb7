"""When agents begin and stop working, as events of their own: no step and no chat can tell it alone.

The relay, which sees every committed event once and in order, is the only writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models import agents, database, events
from models.events import Event

TYPE = "agent_status_changed"
BEGINS = frozenset({"step_started", "step_resumed", "chat_turn_started"})
ENDS = frozenset(
    ["step_complete", "step_failed", "step_retrying", "step_cancelled", "approval_requested", "chat_turn_end"]
)
LAST = (
    f"SELECT data FROM events WHERE agent_id = ? AND timeline IS NOT NULL AND type = '{TYPE}'"
    " ORDER BY created_at DESC, stream DESC, seq DESC LIMIT 1"
)


class Activity:
    def __init__(self) -> None:
        self._working: dict[str, bool] = {}  # agent -> what its last event says

    def note(self, rows: Sequence[dict[str, Any]]) -> None:
        """Records, in the enclosing transaction, which agents these events made begin or stop."""
        told = [row for row in rows if row["type"] in BEGINS | ENDS]
        moments: dict[str, list[tuple[bool, int]]] = {}  # agent -> [(begins, ms), ...]
        for event in map(events.decode, (row["data"] for row in told)):
            if event["agent_id"]:
                moments.setdefault(event["agent_id"], []).append((event["type"] in BEGINS, event["timestamp"]))
        busy = agents.at_work() if moments else set()
        for agent_id, seen in moments.items():
            self._settle(agent_id, seen, agent_id in busy)

    def _settle(self, agent_id: str, seen: list[tuple[bool, int]], is_busy: bool) -> None:
        """An agent that was idle and began something has worked, however shortly."""
        was_working = self._was_working(agent_id)
        begins = not was_working and (is_busy or any(begins for begins, _ in seen))
        if begins:
            _record(agent_id, "working", next((ms for begins, ms in seen if begins), seen[0][1]))
        if (was_working or begins) and not is_busy:
            _record(agent_id, "idle", seen[-1][1])
        database.on_commit(lambda: self._working.update({agent_id: is_busy}))

    def _was_working(self, agent_id: str) -> bool:
        if agent_id not in self._working:
            last = database.rows(LAST, (agent_id,))
            self._working[agent_id] = bool(last) and events.decode(last[0]["data"])["status"] == "working"
        return self._working[agent_id]


def _record(agent_id: str, status: str, moment: int) -> None:
    events.note(Event(TYPE, agent_id=agent_id, payload={"status": status}, timestamp=moment))
