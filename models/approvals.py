"""Approvals: everything that waits for a person, decided once."""

from __future__ import annotations

from typing import Any

import peewee

from models import database
from models.base import JSONField, Model, new_id, now_ms
from models.errors import Conflict, NotFound

REASONS = {
    "step": "approval",
    "tool": "approval",
    "budget": "budget",
    "effect": "attention",
}  # kind -> why a run pauses
SHOWN = (
    *("id", "kind", "status", "run_id", "prompt", "options", "decision", "comment", "decided_by", "data"),
    *("created_at", "expires_at", "decided_at"),
)


class Approval(Model):
    id = peewee.TextField(primary_key=True)
    kind = peewee.TextField()  # step, tool, budget, effect
    status = peewee.TextField()  # pending, decided, expired, withdrawn
    run_id = peewee.TextField()
    epoch = peewee.IntegerField()
    n = peewee.IntegerField()  # the visit that waits
    step_key = peewee.TextField()
    prompt = peewee.TextField()
    options = JSONField()
    approvers = JSONField(default=list)  # token names; empty: anyone with scope `run`
    on_expiry = peewee.TextField()  # the option that applies by itself, or "fail"
    decision = peewee.TextField(null=True)
    comment = peewee.TextField(null=True)
    decided_by = peewee.TextField(null=True)
    data = JSONField(default=dict)
    created_at = peewee.BigIntegerField()
    expires_at = peewee.BigIntegerField(null=True)  # ms, the database's clock
    decided_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "approvals"
        indexes = (
            (("status", "id"), False),
            (("run_id", "status", "id"), False),
            (("status", "expires_at"), False),
            (("kind", "id"), False),
        )

    def as_dict(self) -> dict[str, Any]:
        """The Approval object of the API."""
        return {name: getattr(self, name) for name in SHOWN} | {"step_id": self.step_key}


def request(row: dict[str, Any]) -> str:
    """Adds a pending approval in the enclosing transaction; returns its id. `expires_in_ms` may be None."""
    approval_id, expires_in = new_id("apr_"), row.pop("expires_in_ms")
    expires_at = database.now() + expires_in if expires_in else None
    Approval.add({"id": approval_id, "status": "pending", "created_at": now_ms(), "expires_at": expires_at, **row})
    return approval_id


def get(approval_id: str) -> Approval:
    """Raises NotFound."""
    found = Approval.fetch("id = ?", (approval_id,))
    if not found:
        raise NotFound(f"Approval {approval_id} not found", "approval_not_found")
    return found[0]


def page(limit: int, after: str | None, *, status: str, run_id: str | None, kind: str | None) -> list[Approval]:
    """Up to `limit` approvals, oldest first, later than approval `after`; `status` may be "all"."""
    given = {"run_id": run_id, "kind": kind, "status": None if status == "all" else status}
    filters = {name: value for name, value in given.items() if value is not None}
    where = " AND ".join(["id > ?", *(f"{name} = ?" for name in filters)])
    return Approval.fetch(f"{where} ORDER BY id LIMIT {limit}", (after or "", *filters.values()))


def decide(approval: Approval, status: str, decision: str, comment: str | None, by: str | None) -> bool:
    """Compare-and-set from `pending`; False if the very same decision stands already. Raises Conflict."""
    sql = (
        "UPDATE approvals SET status = ?, decision = ?, comment = ?, decided_by = ?, decided_at = ?"
        " WHERE id = ? AND status = 'pending'"
    )
    if database.execute(sql, (status, decision, comment, by, now_ms(), approval.id)).rowcount:
        return True
    now = get(approval.id)
    if now.status == "decided" and now.decision == decision:
        return False
    if now.status == "decided":
        raise Conflict(f"{approval.id} was decided: {now.decision}", "already_decided", allowed=[])
    raise Conflict(f"{approval.id} is {now.status}", f"approval_{now.status}", allowed=[])


def withdraw(run_id: str, visits: list[int] | None = None) -> None:
    """Nobody needs to decide any more: all that is pending in the run, or only of these visits."""
    where, params = "", [now_ms(), run_id]
    if visits is not None:
        where = f" AND n IN ({', '.join('?' * len(visits))})"
        params += visits
    sql = f"UPDATE approvals SET status = 'withdrawn', decided_at = ? WHERE run_id = ? AND status = 'pending'{where}"
    database.execute(sql, params)


def pending_of(run_id: str) -> list[Approval]:
    """What a person must decide before the run can go on, oldest first."""
    return Approval.fetch("run_id = ? AND status = 'pending' ORDER BY id", (run_id,))


def expired(limit: int = 100) -> list[Approval]:
    """Pending ones whose time is up."""
    now = database.now_sql()
    return Approval.fetch(f"status = 'pending' AND expires_at <= {now} ORDER BY expires_at LIMIT ?", (limit,))
