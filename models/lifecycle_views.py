"""Entries of the timeline as the API answers them, built from events."""

from __future__ import annotations

from typing import Any

from models.events import decode
from models.lifecycle import NAMES

LONGEST_TITLE = 200  # characters
LONGEST_MESSAGE = 500
TITLES = {
    "work_started": "{step_id} started",
    "work_complete": "{step_id} completed",
    "work_failed": "{step_id} failed",
    "work_retrying": "{step_id} will be repeated",
    "work_cancelled": "{step_id} was cancelled",
    "session_started": "A chat began",
    "session_turn": "An answer: {status}",
    "session_ended": "The chat ended: {reason}",
    "status_change": "{agent_id} is {status}",
    "message_sent": "A message to {to}",
    "approval_requested": "{prompt}",
    "approval_decided": "{step_id}: {decision}",
    "task_claimed": "Claimed: {title}",
    "task_released": "Released: {title}",
    "task_completed": "Completed: {title}",
}
WORK = ("attempt", "visit", "step_type", "pipeline_id")
DATA = {
    "work_started": WORK,
    "work_complete": (*WORK, "duration_ms", "usage"),
    "work_failed": (*WORK, "error", "error_code"),
    "work_retrying": (*WORK, "error", "error_code"),
    "work_cancelled": WORK,
    "session_started": ("model", "prompt"),
    "session_turn": ("status", "duration_ms", "usage"),
    "session_ended": ("reason",),
    "status_change": ("status",),
    "message_sent": ("to", "message"),
    "approval_requested": ("approval_id", "kind", "decision"),
    "approval_decided": ("approval_id", "kind", "decision"),
    "task_claimed": ("task_id", "title"),
    "task_released": ("task_id", "title"),
    "task_completed": ("task_id", "title"),
}


def entry(row: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """One entry from a row of `lifecycle.page`; `known` completes what the event says (pipeline_id, step_type, ...)."""
    event = known | {name: value for name, value in decode(row["data"]).items() if value is not None}
    name = NAMES[row["type"]]
    data = {key: event.get(key) for key in DATA[name]}
    if "message" in data:
        data["message"] = str(data["message"] or "")[:LONGEST_MESSAGE]
    return {
        "id": f"tl_{row['stream']}_{row['seq']}",
        "timestamp": row["created_at"],
        "type": name,
        "agent_id": row["agent_id"],
        "run_id": event.get("run_id"),
        "step_id": row["step_key"],
        "session_id": event.get("session_id"),
        "project_id": row["project_id"] or event.get("project_id"),
        "task_id": event.get("task_id"),
        "title": TITLES[name].format_map(_Said(event))[:LONGEST_TITLE],
        "data": data,
    }


class _Said(dict):
    """What a title is made of; what the event does not say is left open."""

    def __missing__(self, name: str) -> str:
        return "?"
