"""Agents' sessions: what each agent is at, or was: steps of runs, one line each, and chats; the last active first.

A step under way is listed by the visit that is furthest (of a map, many are under way at once), a step that is over by
its last visit. The last activity of a step at work is that of its run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models import agent_chats, cursors, database
from models.run_views import COUNTED, usage
from models.step_views import decoded

LONGEST_PROMPT = 500  # characters
FEW = 1_000  # runs of a project; one with more has its share of what ended lately
LIVE = {"queued": ("queued",), "running": ("running",), "waiting": ("retrying", "paused")}
LIVE["active"] = sum(LIVE.values(), ())
OVER = {status: (status,) for status in ("completed", "failed", "cancelled")}
LIVE["all"], OVER["all"] = LIVE["active"], sum(OVER.values(), ())
SHOWN = {stored: status for status in ("queued", "running", "waiting") for stored in LIVE[status]}
PLACE = re.compile(r"(\d{1,15})\.(?:chat_[0-9a-z]{26}|(run_[0-9a-z]{26})\.([A-Za-z0-9_-]{1,64}))")
FIRST_CHAT = "chat_" + 26 * "0"  # no id of a chat is smaller
ORDER = "last_activity_at DESC, run_id DESC, step_key DESC"
COLUMNS = (
    "v.run_id, v.step_key, v.epoch, v.n, v.agent_id, v.status, v.owner, v.model, v.attempt, v.error, v.usage,"
    f" v.queued_at, v.started_at, v.completed_at, substr(v.prompt, 1, {LONGEST_PROMPT}) AS prompt,"
    " r.pipeline_id, r.project_id"
)
SAME_RUN = "r.id = v.run_id AND r.epoch = v.epoch AND v.type <> 'map' AND v.copied_from IS NULL"
IS_LIVE = "v.status IN ('queued', 'running', 'retrying', 'paused') AND v.agent_id IS NOT NULL"
IS_OVER = "v.done_version IS NOT NULL AND v.agent_id IS NOT NULL"  # as in the indexes
ANOTHER = (
    "NOT EXISTS (SELECT 1 FROM visits x WHERE x.run_id = v.run_id AND x.epoch = v.epoch AND x.step_key = v.step_key"
    " AND x.type <> 'map' AND x.status <> 'pending'"
)
IS_LAST = f"{ANOTHER} AND x.n > v.n) AND {ANOTHER} AND x.done_version IS NULL)"


@dataclass(frozen=True, slots=True)
class Filters:
    """All joined by AND; None: not filtered. `status` is a key of LIVE or OVER, or a chat's."""

    status: str = "active"
    kind: str | None = None  # step, chat
    agent_id: str | None = None
    project_id: str | None = None
    since: int | None = None  # ms, inclusive

    def conditions(self) -> tuple[str, list[Any]]:
        """(what follows a WHERE, its parameters)."""
        asked = {"v.agent_id = ?": self.agent_id, "r.project_id = ?": self.project_id}
        given = {condition: value for condition, value in asked.items() if value is not None}
        return "".join(f" AND {condition}" for condition in given), list(given.values())


def page(filters: Filters, limit: int, after: str | None = None) -> list[dict[str, Any]]:
    """Up to `limit` sessions beyond place `after`; of those of one moment chats come first. Raises Invalid."""
    found = PLACE.fullmatch(after) if after else None
    if after and found is None:
        raise cursors.bad()
    chats, steps = [], []
    if filters.kind != "step":
        chats = agent_chats.page(filters, limit, f"{found[1]}.{FIRST_CHAT}" if found and found[2] else after)
    if filters.kind != "chat":
        beyond = (int(found[1]), found[2], found[3]) if found and found[2] else (found and int(found[1]) + 1, "", "")
        steps = _steps(filters, limit, beyond if found else None)
    return sorted([*chats, *steps], key=lambda row: -row["last_activity_at"])[:limit]


def place(row: dict[str, Any]) -> str:
    """Where a session stands in the list: the cursor of the page after it."""
    return ".".join(str(row[name]) for name in ("last_activity_at", "id", "run_id", "step_key") if name in row)


def _steps(filters: Filters, limit: int, after: tuple[int, str, str] | None) -> list[dict[str, Any]]:
    beyond, place = ("(last_activity_at, run_id, step_key) < (?, ?, ?)", after) if after else ("1 = 1", ())
    parts, params = [], []
    for sql, values in _parts(filters):
        own = f"SELECT * FROM ({sql}) part WHERE last_activity_at >= ? AND {beyond} ORDER BY {ORDER} LIMIT {limit}"
        parts.append(f"SELECT * FROM ({own}) own")
        params += [*values, filters.since or 0, *place]
    if not parts:
        return []
    return database.rows(f"SELECT * FROM ({' UNION ALL '.join(parts)}) found ORDER BY {ORDER} LIMIT {limit}", params)


def _parts(filters: Filters) -> list[tuple[str, list[Any]]]:
    """(SQL, parameters) of what is under way, and of each way to be over."""
    live = [_live(filters, LIVE[filters.status])] if filters.status in LIVE else []
    return live + [_over(filters, status) for status in OVER.get(filters.status, ())]


def _live(filters: Filters, statuses: Sequence[str]) -> tuple[str, list[Any]]:
    """Looks at as many rows as steps are under way."""
    conditions, values = filters.conditions()
    rank = "CASE v.status WHEN 'running' THEN 1 WHEN 'queued' THEN 3 ELSE 2 END, v.n"
    place = f"row_number() OVER (PARTITION BY v.run_id, v.step_key ORDER BY {rank}) AS place"
    last = "CASE v.status WHEN 'queued' THEN v.queued_at ELSE r.updated_at END AS last_activity_at"
    source = f"visits v {_hint('visits_active')} CROSS JOIN runs r WHERE {SAME_RUN} AND {IS_LIVE}{conditions}"
    marks = ", ".join("?" * len(statuses))
    found = f"SELECT {COLUMNS}, {last}, {place} FROM {source}"
    return f"SELECT * FROM ({found}) live WHERE place = 1 AND status IN ({marks})", [*values, *statuses]


def _over(filters: Filters, status: str) -> tuple[str, list[Any]]:
    """Walks along the index of visits that are over; of a project with few runs, looks at them all."""
    conditions, values = filters.conditions()
    index = _hint("visits_ended_agent" if filters.agent_id else "visits_ended")
    source = f"visits v {index} CROSS JOIN runs r WHERE {IS_OVER} AND"
    if filters.project_id and _has_few_runs(
        filters.project_id
    ):  # without the condition of the indexes, so that none of them tempts SQLite
        source = "runs r CROSS JOIN visits v WHERE v.agent_id IS NOT NULL AND"
    ended = f"{source} {SAME_RUN} AND v.status = '{status}'{conditions} AND {IS_LAST}"
    return f"SELECT {COLUMNS}, v.completed_at AS last_activity_at, 1 AS place FROM {ended}", values


def _has_few_runs(project_id: str) -> bool:
    sql = f"SELECT count(*) FROM (SELECT 1 FROM runs WHERE project_id = ? LIMIT {FEW}) AS few"
    return database.execute(sql, (project_id,)).fetchone()[0] < FEW


def _hint(index: str) -> str:
    """SQLite must be told the index."""
    return "" if database.dialect() == "postgres" else f"INDEXED BY {index}"


def shown(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The Session objects of a page."""
    steps = [row for row in rows if "step_key" in row]
    chats = agent_chats.shown([row for row in rows if "step_key" not in row])
    live = [row for row in steps if row["status"] in SHOWN]
    used, at_hand = _used(live), _tools(live)
    made = {_key(row): _session(row, used.get(_key(row)), at_hand.get(_key(row), (0, None))) for row in steps}
    return [made[_key(row)] if "step_key" in row else chats[row["id"]] for row in rows]


def _key(row: dict[str, Any]) -> tuple[str, int]:
    return row["run_id"], row["n"]


def _session(row: dict[str, Any], used: dict[str, Any] | None, at_hand: tuple[int, str | None]) -> dict[str, Any]:
    is_live = row["status"] in SHOWN
    spent = usage((used or {}) | {"tool_calls": at_hand[0]} if is_live else decoded(row["usage"]))
    copied = ("run_id", "pipeline_id", "project_id", "agent_id", "prompt", "model", "error", "started_at")
    return {name: row[name] for name in copied} | {
        "id": f"{row['run_id']}_{row['step_key']}",
        "kind": "step",
        "status": SHOWN.get(row["status"], row["status"]),
        "step_id": row["step_key"],
        "attempt": row["attempt"],
        "turn_count": spent["llm_calls"],
        "tool_call_count": spent["tool_calls"],
        "usage": spent,
        "current_tool": at_hand[1],
        "worker": row["owner"],
        "created_at": row["queued_at"],
        "last_activity_at": row["last_activity_at"],
        "completed_at": None if is_live else row["completed_at"],
    }


def _of_attempts(rows: Sequence[dict[str, Any]]) -> tuple[str, list[Any]]:
    """(condition, parameters): what belongs to the current attempts of these visits."""
    marks = ", ".join(["(?, ?, ?, ?)"] * len(rows))
    values = [row[name] for row in rows for name in ("run_id", "epoch", "n", "attempt")]
    return f"(run_id, epoch, n, attempt) IN (VALUES {marks})", values


def _used(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """What attempts under way have used so far."""
    if not rows:
        return {}
    where, values = _of_attempts(rows)
    sums = ", ".join(f"sum({name}) AS {name}" for name in COUNTED if not name.endswith("_calls"))
    sql = f"SELECT run_id, n, count(*) AS llm_calls, {sums} FROM llm_calls WHERE {where} AND status = 'ok'"
    return {_key(row): row for row in database.rows(f"{sql} GROUP BY run_id, n", values)}


def _tools(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, int], tuple[int, str | None]]:
    """(calls that are done, the tool that is at work) of attempts under way."""
    if not rows:
        return {}
    where, values = _of_attempts(rows)
    done = "sum(CASE status WHEN 'done' THEN 1 ELSE 0 END)"
    at_hand = "max(CASE status WHEN 'intended' THEN tool_name END)"
    sql = f"SELECT run_id, n, {done}, {at_hand} FROM tool_uses WHERE {where} GROUP BY run_id, n"
    return {(run_id, n): (int(count), tool) for run_id, n, count, tool in database.execute(sql, values).fetchall()}
