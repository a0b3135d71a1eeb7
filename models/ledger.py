"""The ledger of LLM calls as people read it: pages, newest first, and sums by model, agent, day."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

import orjson

from models import cursors, database

COLUMNS = (
    *("id", "run_id", "epoch", "step_key AS step_id", "attempt", "turn", "session_id", "message_id", "agent_id"),
    *("provider", "model", "status", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("reasoning_tokens", "cost_usd", "price_id", "raw_usage", "finish_reason", "error", "http_status"),
    *('tries AS "try"', "fallback_from", "duration_ms", "first_token_ms", "created_at"),
)
EQUALITIES = ("run_id", "agent_id", "pipeline_id", "project_id", "provider", "model", "status", "http_status")
STEP_SESSION = re.compile(r"(run_[0-9a-z]{26})_(.+)")  # the agent session of a step
QUARTER_MS = 900_000  # every time zone of today is a whole number of these away from UTC
MOST_GROUPS = 1_000
QUARTERS_PER_DAY = 96
GROUPS = {
    "model": "model",
    "provider": "provider",
    "agent": "agent_id",
    "pipeline": "pipeline_id",
    "run": "run_id",
    "day": f"created_at - created_at % {QUARTER_MS}",
}
SUMS = {
    "calls": "count(*)",
    "errors": "sum(CASE WHEN status = 'error' THEN 1 ELSE 0 END)",
    "input_tokens": "sum(input_tokens)",
    "output_tokens": "sum(output_tokens)",
    "cache_read_tokens": "sum(cache_read_tokens)",
    "cost_usd": "sum(coalesce(cost_usd, 0))",
    "unpriced_calls": "sum(CASE WHEN status = 'ok' AND cost_usd IS NULL THEN 1 ELSE 0 END)",
    "duration_ms": "sum(duration_ms)",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """All joined by AND; None: not filtered. `session_id` also is the agent session of a step."""

    run_id: str | None = None
    step_id: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    pipeline_id: str | None = None
    project_id: str | None = None
    provider: str | None = None
    model: str | None = None
    status: str | None = None
    http_status: int | None = None
    created_after: int | None = None  # ms, inclusive
    created_before: int | None = None  # ms, exclusive


def page(filters: Filters, limit: int, before: str | None = None) -> list[dict[str, Any]]:
    """Up to `limit` calls, newest first, older than place `before`. Raises Invalid if that is not a place."""
    where, params = _where(filters)
    if before is not None:
        where.append("(created_at, id) < (?, ?)")
        params += cursors.moment_and_id(before, "llm_")
    sql = f"SELECT {', '.join(COLUMNS)} FROM llm_calls WHERE {' AND '.join(where)}"
    rows = database.rows(f"{sql} ORDER BY created_at DESC, id DESC LIMIT {limit}", params)
    return [_shown(row) for row in rows]


def place(row: dict[str, Any]) -> str:
    """Where a call stands in the ledger: the cursor of the page after it."""
    return f"{row['created_at']}.{row['id']}"


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    session = row["session_id"] or (f"{row['run_id']}_{row['step_id']}" if row["step_id"] else None)
    return row | {"session_id": session, "raw_usage": orjson.loads(row["raw_usage"])}


def _where(filters: Filters) -> tuple[list[str], list[Any]]:
    """(conditions, parameters)."""
    given = {name: getattr(filters, name) for name in EQUALITIES} | {"step_key": filters.step_id}
    asked = [(f"{name} = ?", value) for name, value in given.items() if value is not None]
    if filters.session_id is not None:
        asked += _session(filters.session_id)
    if filters.created_after is not None:
        asked.append(("created_at >= ?", filters.created_after))
    if filters.created_before is not None:
        asked.append(("created_at < ?", filters.created_before))
    where = [condition for condition, _ in asked]
    if filters.status not in (None, "ok"):
        where.append("status <> 'ok'")  # word for word the condition of the partial index
    return where or ["1 = 1"], [value for _, value in asked]


def _session(session_id: str) -> list[tuple[str, str]]:
    step = STEP_SESSION.fullmatch(session_id)
    return [("run_id = ?", step[1]), ("step_key = ?", step[2])] if step else [("session_id = ?", session_id)]


def summary(filters: Filters, group_by: str, zone: tzinfo = UTC) -> dict[str, Any]:
    """`{total, groups: [{key, ...}]}`: the most expensive first, days newest first. Reserved calls are not counted."""
    where, params = _where(filters)
    if filters.status is None:
        where.append("status <> 'reserved'")
    sums = ", ".join(f"{sql} AS {name}" for name, sql in SUMS.items())
    source = f"{sums} FROM {_table(filters)} WHERE {' AND '.join(where)}"
    order = "key DESC" if group_by == "day" else "cost_usd DESC, calls DESC, key"
    limit = MOST_GROUPS * (QUARTERS_PER_DAY if group_by == "day" else 1)
    sql = f"SELECT {GROUPS[group_by]} AS key, {source} GROUP BY 1 ORDER BY {order} LIMIT {limit}"
    groups = database.rows(sql, params)
    total = _added(groups) if len(groups) < limit else database.rows(f"SELECT {source}", params)[0]
    groups = _days(groups, zone)[:MOST_GROUPS] if group_by == "day" else groups
    return {"total": _averaged(total), "groups": [{"key": group["key"]} | _averaged(group) for group in groups]}


def _table(filters: Filters) -> str:
    """SQLite would rather look up every row of an agent or model than read the index that has all it needs."""
    few = filters.run_id is not None or filters.session_id is not None
    return "llm_calls" if few or database.dialect() == "postgres" else "llm_calls INDEXED BY llm_calls_facts"


def _days(quarters: list[dict[str, Any]], zone: tzinfo) -> list[dict[str, Any]]:
    """Sums per day of the time zone from sums per quarter of an hour."""
    days: dict[str, list[dict[str, Any]]] = {}
    for quarter in quarters:
        day = datetime.fromtimestamp(quarter["key"] / 1000, zone).date().isoformat()
        days.setdefault(day, []).append(quarter)
    return [{"key": day} | _added(part) for day, part in days.items()]


def _added(groups: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: sum(group[name] for group in groups) for name in SUMS}


def _averaged(sums: dict[str, Any]) -> dict[str, Any]:
    shown = {name: sums[name] for name in SUMS}
    duration, calls = shown.pop("duration_ms"), shown["calls"]
    return shown | {"avg_duration_ms": round(duration / calls) if calls else None}
