"""Counts for the status page."""

from __future__ import annotations

from typing import Any

from models import database, outbox, workers
from models.base import now_ms

HOUR_MS = 3_600_000


def counts() -> dict[str, Any]:
    """Everything that GET /v1/status counts; cheap however many runs there are."""
    return {
        "workers": workers.alive(),
        "engine_version": workers.newest_version(),
        "queue": {
            "pending_runs": _runs("pending"),
            "oldest_pending_ms": _oldest_pending_ms(),
            "outbox_unsent": outbox.waiting(),
            "retrying_steps": _retrying(),
        },
        "active_runs": _runs("running"),
        "paused_runs": _runs("paused"),
        "pending_approvals": _pending_approvals(),
    } | _last_hour()


def _runs(status: str) -> int:
    return database.execute("SELECT count(*) FROM runs WHERE status = ?", (status,)).fetchone()[0]


def _pending_approvals() -> int:
    return database.execute("SELECT count(*) FROM approvals WHERE status = 'pending'").fetchone()[0]


def _oldest_pending_ms() -> int | None:
    sql = "SELECT created_at FROM runs WHERE status = 'pending' ORDER BY id LIMIT 1"
    row = database.execute(sql).fetchone()
    return row and max(now_ms() - row[0], 0)


def _retrying() -> int:
    # SQLite takes the partial index only if its condition stands here word for word.
    active = "status IN ('queued', 'running', 'retrying', 'paused')"
    return database.execute(f"SELECT count(*) FROM visits WHERE {active} AND status = 'retrying'").fetchone()[0]


def _last_hour() -> dict[str, int | None]:
    sql = (
        "SELECT status, count(*), avg(completed_at - started_at) FROM runs"
        " WHERE status IN ('completed', 'failed') AND completed_at > ? GROUP BY status"
    )
    found = {status: (count, mean) for status, count, mean in database.execute(sql, (now_ms() - HOUR_MS,)).fetchall()}
    completed, mean = found.get("completed", (0, None))
    return {
        "completed_runs_last_hour": completed,
        "failed_runs_last_hour": found.get("failed", (0, None))[0],
        "avg_duration": mean and round(mean),
    }
