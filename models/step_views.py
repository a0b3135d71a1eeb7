"""Step, Attempt and visit objects as the API answers them, built from the visits of one epoch of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from models import database, secret_views, settings
from models.redaction import Redactor
from models.run_views import COUNTED, duration, usage
from models.status import ACTIVE, TERMINAL, StepStatus

LONGEST_INPUT = 64 * 1024  # characters of a prompt or variable
LONGEST_ITEM = 2_000
MOST_ATTEMPTS = 200
WITHOUT_ATTEMPTS = ("map", "approval", "pipeline")  # these begin when their turn comes, without a worker
_S = StepStatus
ATTEMPT_STATUS = {_S.COMPLETED: "completed", _S.FAILED: "failed", _S.RETRYING: "failed", _S.CANCELLED: "cancelled"}


@dataclass(frozen=True, slots=True)
class Pinned:
    """What the pinned definition says of a step."""

    key: str
    type: str
    agent_id: str | None
    max_retries: int | None  # None: as the setting says


@dataclass(slots=True)
class Epoch:
    """One epoch of a run as stored: its visits in order of activation, its past attempts; JSON columns as text."""

    run_id: str
    number: int
    over: bool  # nothing will be entered any more
    human_context: str | None
    pinned: Sequence[Pinned]
    visits: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    redactor: Redactor  # for what was typed into the run: secrets of its agents

    def of(self, key: str) -> list[dict[str, Any]]:
        """The visits of a step that were really entered, oldest first."""
        return [row for row in self.visits if row["step_key"] == key and row["status"] != StepStatus.PENDING]


def load(run: dict[str, Any], pinned: Sequence[Pinned], epoch: int | None = None) -> Epoch:
    """An epoch, by default the current one, of the run in row `run` (with `human_context`)."""
    number = epoch or run["epoch"]
    where = "WHERE run_id = ? AND epoch = ? ORDER BY n"
    visited = database.rows(f"SELECT * FROM visits {where}", (run["id"], number))
    return Epoch(
        run["id"],
        number,
        number < run["epoch"] or run["status"] in TERMINAL,
        run["human_context"],
        [*pinned, *_dropped(pinned, visited)],
        visited,
        database.rows(f"SELECT * FROM attempts {where}, attempt", (run["id"], number)),
        secret_views.redactor(sorted({step.agent_id for step in pinned if step.agent_id})),
    )


def _dropped(pinned: Sequence[Pinned], visited: list[dict[str, Any]]) -> list[Pinned]:
    """Steps of an earlier epoch that the definition of today does not have any more."""
    known = {step.key for step in pinned}
    rows = {row["step_key"]: row for row in visited if row["step_key"] not in known}
    return [Pinned(key, row["type"], row["agent_id"], row["max_retries"]) for key, row in rows.items()]


def progress(epoch: Epoch) -> dict[str, Any]:
    """What `run_views.progress` gives, of an epoch at hand."""
    entered = [row for row in epoch.visits if row["status"] != StepStatus.PENDING]
    active = [row for row in entered if row["status"] in ACTIVE]
    keys = list(dict.fromkeys(row["step_key"] for row in active))
    done = {row["step_key"] for row in entered if row["status"] in (StepStatus.COMPLETED, StepStatus.SKIPPED)}
    looped = next((row for row in active if row["scope"] != "[]"), None)
    loop = None
    if looped:
        item = _item(epoch, looped)
        loop = {"step_id": decoded(looped["scope"])[-1][0], "index": item["index"], "total": item["total"]}
    return {"done": len(done - set(keys)), "active": keys, "loop": loop}


def outputs(epoch: Epoch) -> dict[str, str]:
    """What the finished steps wrote so far, last writer wins."""
    finished = [row for row in epoch.visits if row["done_version"] is not None and row["outputs"]]
    found: dict[str, str] = {}
    for row in sorted(finished, key=lambda row: (row["done_version"], row["n"])):
        found |= decoded(row["outputs"])
    return found


def steps(epoch: Epoch) -> list[dict[str, Any]]:
    """All Step objects: by first queued, then, for those not entered, in file order."""
    entered = {key: index for index, key in reversed(list(enumerate(row["step_key"] for row in epoch.visits)))}
    order = sorted(epoch.pinned, key=lambda pinned: entered.get(pinned.key, len(epoch.visits)))
    return [step(epoch, pinned) for pinned in order]


def step(epoch: Epoch, pinned: Pinned) -> dict[str, Any]:
    """The Step object of one key: its latest visit."""
    rows = epoch.of(pinned.key)
    identity = {"id": f"{epoch.run_id}_{pinned.key}", "run_id": epoch.run_id, "step_id": pinned.key}
    shown = _entered(epoch, rows) if rows else _waiting(epoch, pinned)
    return identity | {"epoch": epoch.number, "type": pinned.type} | shown


def _waiting(epoch: Epoch, pinned: Pinned) -> dict[str, Any]:
    unset = ("error", "error_code", "next_retry_at", "session_id", "model_used", "human_context", "item")
    unset += ("child_run_id", "approval_id", "copied_from", "queued_at", "started_at", "completed_at", "duration_ms")
    return dict.fromkeys(unset) | {
        "visit": 0,
        "attempt": 0,
        "agent_id": pinned.agent_id,
        "status": StepStatus.SKIPPED if epoch.over else StepStatus.PENDING,
        "inputs": {"prompt": None, "variables": {}},
        "outputs": {},
        "retry_count": 0,
        "max_retries": settings.get("defaultStepMaxRetries") if pinned.max_retries is None else pinned.max_retries,
        "usage": usage(None),
    }


def _entered(epoch: Epoch, rows: list[dict[str, Any]]) -> dict[str, Any]:
    row = next((row for row in reversed(rows) if row["type"] == "map"), rows[-1])
    items = _items_of_map(row, rows)
    at = _at_work(items) or row
    at_once = row["type"] in WITHOUT_ATTEMPTS and row["status"] != _S.QUEUED
    started_at = row["queued_at"] if at_once else row["started_at"]
    return (
        _of_visit(row)
        | _of_attempt(epoch, at)
        | {
            "item": _item(epoch, at if at["status"] in ACTIVE else row),
            "approval_id": next(
                (one["approval_id"] for one in items if one["status"] == _S.PAUSED), row["approval_id"]
            ),
            "usage": _total_usage(epoch, rows),
            "started_at": started_at,
            "duration_ms": duration(started_at, row["completed_at"]),
        }
    )


def _items_of_map(row: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The visits that do the work of a map's visit, none for other steps."""
    if row["type"] != "map":
        return []
    own = [[row["step_key"], row["n"]]]
    return [one for one in rows if [part[:2] for part in decoded(one["scope"])[-1:]] == own]


def _at_work(items: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first item that is at work, or else the last one that was."""
    return next((item for item in items if item["status"] in ACTIVE), items[-1] if items else None)


def _of_visit(row: dict[str, Any]) -> dict[str, Any]:
    copied = ("visit", "agent_id", "status", "error", "error_code", "child_run_id", "copied_from")
    shown = {name: row[name] for name in (*copied, "queued_at", "completed_at")}
    return shown | {"outputs": decoded(row["outputs"], {})}


def _of_attempt(epoch: Epoch, row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("attempt", "retry_count", "max_retries")} | {
        "inputs": _inputs(epoch, row),
        "next_retry_at": row["due_at"] if row["status"] == StepStatus.RETRYING else None,
        "session_id": f"{epoch.run_id}_{row['step_key']}" if row["attempt"] and row["agent_id"] else None,
        "model_used": row["model"],
        "human_context": epoch.human_context if row["attempt"] else None,
    }


def decoded(text: str | None, otherwise: Any = None) -> Any:
    """The value of a JSON column read as text."""
    return otherwise if text is None else orjson.loads(text)


def _inputs(epoch: Epoch, row: dict[str, Any]) -> dict[str, Any]:
    variables, clean = decoded(row["variables"], {}), epoch.redactor.clean
    return {
        "prompt": row["prompt"] and clean(row["prompt"])[:LONGEST_INPUT],
        "variables": {name: clean(value)[:LONGEST_INPUT] for name, value in variables.items()},
    }


def _item(epoch: Epoch, row: dict[str, Any]) -> dict[str, Any] | None:
    scope = decoded(row["scope"])
    if not scope:
        return None
    _, entry, index = scope[-1]
    items = decoded(epoch.visits[entry - 1]["items"], [])
    value = items[index] if index < len(items) else None
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return {"index": index, "total": len(items), "value": text[:LONGEST_ITEM]}


def _total_usage(epoch: Epoch, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Over all attempts of the step; a visit's own usage is that of its current attempt."""
    numbers = {row["n"]: row["attempt"] for row in rows}
    past = [row for row in epoch.attempts if row["n"] in numbers and row["attempt"] != numbers[row["n"]]]
    counted = [decoded(row["usage"], {}) for row in (*rows, *past)]
    return usage({name: sum(one.get(name) or 0 for one in counted) for name in COUNTED})


def visits(epoch: Epoch, key: str) -> list[dict[str, Any]]:
    """The `visits` of a step's detail."""
    copied = ("visit", "entered_from", "reason", "result", "started_at", "completed_at")
    return [{name: row[name] for name in copied} | {"item_index": item_index(row)} for row in epoch.of(key)]


def item_index(row: dict[str, Any]) -> int | None:
    """Which item of the innermost loop the visit belongs to."""
    scope = decoded(row["scope"])
    return scope[-1][2] if scope else None


def attempts(epoch: Epoch, key: str) -> list[dict[str, Any]]:
    """The newest Attempt objects of a step, oldest first."""
    return [_attempt(epoch, visit, row) for visit, row in attempt_rows(epoch, key)][-MOST_ATTEMPTS:]


def attempt_rows(epoch: Epoch, key: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(visit, row) per attempt of a step, oldest first: past attempts, and what the visit itself holds."""
    found = []
    for visit in epoch.of(key):
        past = [row for row in epoch.attempts if row["n"] == visit["n"]]
        found += [(visit, row) for row in past]
        if visit["first_seq"] is not None and visit["attempt"] not in {row["attempt"] for row in past}:
            found.append((visit, visit))
    return found


def _attempt(epoch: Epoch, visit: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    used = usage(decoded(row["usage"]))
    copied = ("attempt", "model", "error", "error_code", "started_at", "completed_at")
    return {name: row[name] for name in copied} | {
        "epoch": epoch.number,
        "visit": visit["visit"],
        "item_index": item_index(visit),
        "status": attempt_status(visit, row),
        "agent_id": visit["agent_id"],
        "prompt": epoch.redactor.clean(row["prompt"] or ""),
        "outputs": decoded(row["outputs"], {}),
        "turns": used["llm_calls"],
        "tool_calls": used["tool_calls"],
        "usage": used,
        "worker_losses": row["losses"],
    }


def attempt_status(visit: dict[str, Any], row: dict[str, Any]) -> str:
    """running, completed, failed or cancelled; `row` is a past attempt or the visit itself."""
    return row["status"] if row is not visit else ATTEMPT_STATUS.get(row["status"], "running")
