"""The Run object as the API answers it, built from rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any
from urllib.parse import urlsplit

import orjson

from models import database
from models.errors import NotFound
from models.status import ACTIVE, TERMINAL

COPIED = (
    *("id", "pipeline_id", "pipeline_version", "pipeline_hash", "project_id", "project_name", "task_id"),
    *("human_context", "status", "status_reason", "error", "error_code", "failed_step", "epoch"),
    *("parent_run_id", "parent_step_id", "schedule_id", "model_override", "workspace_type", "task_branch"),
    *("tainted_by", "created_by", "last_seq", "created_at", "updated_at", "started_at", "completed_at"),
)
COUNTED = ("input_tokens", "output_tokens", "cache_read_tokens", "cost_usd", "llm_calls", "tool_calls")
LIMITS = ("max_cost_usd", "max_tokens", "max_duration_seconds", "on_budget")
# What `run` needs of a row, `outputs` aside.
COLUMNS = (
    *(f"r.{name}" for name in (*COPIED, *LIMITS, *COUNTED) if name != "human_context"),
    *(
        "r.task_head",
        "r.task_truncated",
        "r.forked_from",
        "r.steps_total",
        "r.steps_done",
        "r.tags",
        "r.warnings",
        "r.webhook_url",
    ),
    *("i.human_context", "i.metadata"),
)
_copied, _limits = itemgetter(*COPIED), itemgetter(*LIMITS)  # a list calls them for every row
_ACTIVE = "(" + ", ".join(f"'{status}'" for status in sorted(ACTIVE)) + ")"
# Of a visit inside a loop: how many items the list of the innermost loop has.
_TOTAL = {
    "sqlite": "SELECT json_array_length(e.items) FROM visits e WHERE e.run_id = v.run_id AND e.epoch = v.epoch"
    " AND e.n = json_extract(v.scope, '$[#-1][1]')",
    "postgres": "SELECT json_array_length(e.items::json) FROM visits e WHERE e.run_id = v.run_id AND e.epoch = v.epoch"
    " AND e.n = (v.scope::json -> -1 ->> 1)::int",
}


def fetch(run_id: str) -> dict[str, Any]:
    """The row of a run as `run` wants it, with its `task_description`. Raises NotFound."""
    columns = ", ".join((*COLUMNS, "r.outputs", "i.task_description"))
    sql = f"SELECT {columns} FROM runs r LEFT JOIN run_inputs i ON i.run_id = r.id WHERE r.id = ?"
    found = database.rows(sql, (run_id,))
    if not found:
        raise NotFound(f"Run {run_id} not found", "run_not_found")
    return found[0]


def listed(rows: Sequence[dict[str, Any]], outputs: bool = False) -> list[dict[str, Any]]:
    """The Run objects of a page of `run_list`; with their outputs only if asked."""
    active = [row["id"] for row in rows if row["status"] not in TERMINAL]
    at, live = progress(active), live_outputs(active) if outputs else {}
    return [
        run(row, at.get(row["id"]) or idle(row["steps_done"]), live.get(row["id"], {}) if outputs else None)
        for row in rows
    ]


def idle(done: int) -> dict[str, Any]:
    """The progress of a run at which nothing is at work."""
    return {"done": done, "active": [], "loop": None}


def run(
    row: dict[str, Any], at: dict[str, Any], live: dict[str, str] | None, task: str | None = None
) -> dict[str, Any]:
    """One Run object.

    `row` is a row of `runs` with `human_context` and `metadata` of `run_inputs`, JSON columns as text. `at` is its
    progress, `live` the outputs so far (None: do not show any), `task` the whole task (None: only its head).
    """
    over = row["status"] in TERMINAL
    active = [] if over else at["active"]
    shown = dict(zip(COPIED, _copied(row), strict=True))
    shown["task_description"] = shown["task"] = row["task_head"] if task is None else task
    shown["task_truncated"] = bool(row["task_truncated"]) and task is None
    shown["current_step"] = active[0] if active else None
    shown["current_steps"] = active
    loop = None if over else at["loop"]
    shown["progress"] = {"steps_total": row["steps_total"], "steps_done": at["done"], "loop": loop}
    shown["outputs"] = live if live is None or not row.get("outputs") else orjson.loads(row["outputs"])
    shown["forked_from"] = row["forked_from"] and orjson.loads(row["forked_from"])
    shown["limits"] = dict(zip(LIMITS, _limits(row), strict=True))
    shown["usage"] = usage(row)
    shown["tags"] = orjson.loads(row["tags"])
    shown["metadata"] = orjson.loads(row["metadata"])
    shown["webhook_url"] = row["webhook_url"] and bare_url(row["webhook_url"])
    shown["warnings"] = orjson.loads(row["warnings"])
    shown["duration_ms"] = duration(row["started_at"], row["completed_at"])
    return shown


def usage(counted: dict[str, Any] | None) -> dict[str, Any]:
    """A usage object from counters; all zero from None."""
    given = (counted or {}).get
    input_tokens, output_tokens = given("input_tokens") or 0, given("output_tokens") or 0
    return {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cache_read_tokens": given("cache_read_tokens") or 0,
        "total_tokens": input_tokens + output_tokens,
        "cost_usd": given("cost_usd") or 0,
        "llm_calls": given("llm_calls") or 0,
        "tool_calls": given("tool_calls") or 0,
    }


def duration(started_at: int | None, completed_at: int | None) -> int | None:
    """Milliseconds, None unless both ends are known."""
    return None if started_at is None or completed_at is None else completed_at - started_at


def bare_url(url: str) -> str:
    """A URL without what may be secret in it: user info, query, fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def progress(run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`{run id: {done, active: [step key], loop}}` of live runs, in one statement."""
    if not run_ids:
        return {}
    here = f"FROM runs r CROSS JOIN visits v WHERE r.id IN ({', '.join('?' * len(run_ids))})"
    here += " AND v.run_id = r.id AND v.epoch = r.epoch"
    done = f"max(CASE WHEN v.status IN ('completed', 'skipped') THEN 1 WHEN v.status IN {_ACTIVE} THEN 2 ELSE 0 END)"
    sql = (
        "SELECT run_id, sum(CASE WHEN done = 1 THEN 1 ELSE 0 END), NULL AS key, NULL AS scope, 0 AS total, 0 AS n"
        f" FROM (SELECT v.run_id, {done} AS done {here} GROUP BY v.run_id, v.step_key) steps GROUP BY run_id"
        f" UNION ALL SELECT v.run_id, 0, v.step_key, v.scope, ({_TOTAL[database.dialect()]}), v.n {here}"
        f" AND v.status IN {_ACTIVE}"
    )
    return _progress(database.execute(sql, (*run_ids, *run_ids)).fetchall())


def _progress(rows: Iterable[tuple]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for run_id, done, key, scope, total, _ in sorted(rows, key=lambda row: row[-1]):
        at = found.setdefault(run_id, idle(0))
        at["done"] += int(done)
        if key and key not in at["active"]:
            at["active"].append(key)
        if key and scope != "[]" and at["loop"] is None:
            step_key, _, index = orjson.loads(scope)[-1]
            at["loop"] = {"step_id": step_key, "index": index, "total": total or 0}
    return found


def live_outputs(run_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """`{run id: {name: value}}` of what the finished steps of live runs wrote, last writer wins."""
    if not run_ids:
        return {}
    marks = ", ".join("?" * len(run_ids))
    sql = (
        f"SELECT v.run_id, v.outputs FROM runs r CROSS JOIN visits v WHERE r.id IN ({marks}) AND v.run_id = r.id"
        " AND v.epoch = r.epoch AND v.done_version IS NOT NULL AND v.outputs IS NOT NULL"
        " ORDER BY v.run_id, v.done_version, v.n"
    )
    found: dict[str, dict[str, str]] = {}
    for run_id, outputs in database.execute(sql, run_ids).fetchall():
        found.setdefault(run_id, {}).update(orjson.loads(outputs))
    return found
