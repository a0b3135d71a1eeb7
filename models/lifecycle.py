"""The timeline: what agents did, read from the event log, newest first.

An entry is an event of one of the types below, so its id never changes. A page is a walk along one index, or along one
part of it per type, however many events there are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models import cursors, database
from models.events import IN_TIMELINE, IS_SELDOM, SELDOM, TIMELINE
from models.ledger import STEP_SESSION

TYPES = {  # of an entry -> of its event
    "work_started": "step_started",
    "work_complete": "step_complete",
    "work_failed": "step_failed",
    "work_retrying": "step_retrying",
    "work_cancelled": "step_cancelled",
    "session_started": "chat_session_created",
    "session_turn": "chat_turn_end",
    "session_ended": "chat_session_ended",
    "status_change": "agent_status_changed",
    "message_sent": "agent_message",
    "approval_requested": "approval_requested",
    "approval_decided": "approval_decided",
    "task_claimed": "task_claimed",
    "task_released": "task_released",
    "task_completed": "task_completed",
}
NAMES = {event: name for name, event in TYPES.items()}
PLACE = re.compile(r"(\d{1,15})\.([a-z0-9_]{1,64})\.(\d{1,15})")  # of an event: created_at, stream, seq
ORDER = "created_at DESC, stream DESC, seq DESC"
FACTS = "e.stream, e.seq, e.type, e.step_key, e.agent_id, e.project_id, e.data, e.created_at"


@dataclass(frozen=True, slots=True)
class Filters:
    """All joined by AND; None or empty: not filtered. `session_id` also is the agent session of a step."""

    agent_id: str | None = None
    run_id: str | None = None
    session_id: str | None = None
    project_id: str | None = None
    type: Sequence[str] = ()
    since: int | None = None  # ms, inclusive
    before: int | None = None  # ms, exclusive


def page(filters: Filters, limit: int, after: str | None = None) -> list[dict[str, Any]]:
    """Up to `limit` rows of events, newest first, older than place `after`. Raises Invalid if that is not a place."""
    where, values = _where(filters, after)
    end = f"{''.join(f' AND {condition}' for condition in where)} ORDER BY {ORDER} LIMIT {limit}"
    walks = [f"SELECT * FROM (SELECT created_at, stream, seq FROM {walk}{end}) part" for walk in _walks(filters)]
    found = f"SELECT * FROM ({' UNION ALL '.join(walks)}) parts ORDER BY {ORDER} LIMIT {limit}"
    sql = f"SELECT {FACTS} FROM ({found}) found CROSS JOIN events e WHERE e.stream = found.stream AND e.seq = found.seq"
    return database.rows(
        f"{sql} ORDER BY found.created_at DESC, found.stream DESC, found.seq DESC", values * len(walks)
    )


def place(row: dict[str, Any]) -> str:
    """Where an event stands in the timeline: the cursor of the page after it."""
    return f"{row['created_at']}.{row['stream']}.{row['seq']}"


def _where(filters: Filters, after: str | None) -> tuple[list[str], list[Any]]:
    """(conditions, parameters). Without a bound on the time SQLite would sort all of an agent's events."""
    asked = [("agent_id = ?", filters.agent_id), ("project_id = ?", filters.project_id)]
    asked += [("stream = ?", filters.run_id), ("created_at < ?", filters.before)]
    asked += [("created_at >= ?", filters.since or 0)]
    if filters.session_id is not None:
        step = STEP_SESSION.fullmatch(filters.session_id)
        asked += zip(("stream = ?", "step_key = ?"), step.groups() if step else (filters.session_id, None), strict=True)
    asked = [(condition, value) for condition, value in asked if value is not None]
    where, values = [condition for condition, _ in asked], [value for _, value in asked]
    if after is not None:
        where.append("(created_at, stream, seq) < (?, ?, ?)")
        values += _parts(after)
    return where, values


def _walks(filters: Filters) -> list[str]:
    """What is walked: the index of the narrowest filter; of types that come seldom, the part of each."""
    types = [TYPES[name] for name in filters.type or TYPES]
    stream = filters.run_id or filters.session_id
    if not stream and all(TIMELINE[name] == SELDOM for name in types):
        return [_walk("seldom", f"{IS_SELDOM} AND type = '{name}'") for name in types]
    owner = "stream" if stream else "agent" if filters.agent_id else "project" if filters.project_id else "time"
    names = ", ".join(f"'{name}'" for name in types)
    return [_walk(owner, f"{IN_TIMELINE} AND type IN ({names})" if filters.type else IN_TIMELINE)]


def _walk(index: str, condition: str) -> str:
    """SQLite must be told the index."""
    hint = "" if database.dialect() == "postgres" else f" INDEXED BY events_timeline_{index}"
    return f"events{hint} WHERE {condition}"


def _parts(text: str) -> tuple[int, str, int]:
    found = PLACE.fullmatch(text)
    if found is None:
        raise cursors.bad()
    return int(found[1]), found[2], int(found[3])


def runs_of(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`{run id: {pipeline_id, pipeline_hash, project_id, task_id}}` of the runs whose events these are."""
    ids = sorted({row["stream"] for row in rows if row["stream"].startswith("run_")})
    if not ids:
        return {}
    sql = "SELECT id, pipeline_id, pipeline_hash, project_id, task_id FROM runs"
    return {run["id"]: run for run in database.rows(f"{sql} WHERE id IN ({', '.join('?' * len(ids))})", ids)}
