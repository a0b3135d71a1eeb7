"""What strangers have asked for on GitHub: it waits until an admin decides, once."""

from __future__ import annotations

from typing import Any

import peewee

from models import database
from models.base import Model, new_id, now_ms
from models.errors import Conflict, NotFound

PENDING, APPROVED, REJECTED = STATUSES = ("pending", "approved", "rejected")
SHOWN = (
    *("id", "status", "delivery_id", "trigger_id", "repository", "number", "sender", "association", "title"),
    *("html_url", "decided_by", "comment", "result", "created_at", "decided_at"),
)


class GitHubApproval(Model):
    id = peewee.TextField(primary_key=True)
    status = peewee.TextField(default=PENDING)
    delivery_id = peewee.TextField()  # of the inbox
    trigger_id = peewee.TextField()
    repository = peewee.TextField(null=True)
    number = peewee.IntegerField(null=True)
    sender = peewee.TextField(null=True)
    association = peewee.TextField()
    title = peewee.TextField()
    html_url = peewee.TextField(null=True)
    decided_by = peewee.TextField(null=True)
    comment = peewee.TextField(null=True)
    result = peewee.TextField(null=True)  # what an approval has started
    created_at = peewee.BigIntegerField()
    decided_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "github_approvals"
        indexes = ((("status", "id"), False),)

    def as_dict(self) -> dict[str, Any]:
        """The object of the API."""
        return {name: getattr(self, name) for name in SHOWN}


def ask(**fields: Any) -> str:
    """A new item, in the enclosing transaction; returns its id."""
    row = {"id": new_id("apr_"), "created_at": now_ms()} | fields
    GitHubApproval.add(row)
    return row["id"]


def get(id: str) -> GitHubApproval:
    """Raises NotFound."""
    found = GitHubApproval.fetch("id = ?", (id,))
    if not found:
        raise NotFound(f"Approval {id} not found", "approval_not_found")
    return found[0]


def page(limit: int, after: str | None, status: str | None) -> list[GitHubApproval]:
    """Up to `limit` items, oldest first, later than `after`."""
    if status is None:
        return GitHubApproval.fetch("id > ? ORDER BY id LIMIT ?", (after or "", limit))
    return GitHubApproval.fetch("id > ? AND status = ? ORDER BY id LIMIT ?", (after or "", status, limit))


def decide(id: str, status: str, by: str | None, comment: str | None) -> GitHubApproval:
    """Compare-and-set from `pending`. Raises NotFound, Conflict."""
    sql = (
        "UPDATE github_approvals SET status = ?, decided_by = ?, comment = ?, decided_at = ?"
        " WHERE id = ? AND status = 'pending'"
    )
    decided = database.execute(sql, (status, by, comment, now_ms(), id)).rowcount
    item = get(id)
    if not decided:
        raise Conflict(f"{id} was {item.status} by {item.decided_by}", "already_decided", allowed=[])
    return item


def note_result(id: str, ref: str | None) -> None:
    GitHubApproval.update(result=ref).where(GitHubApproval.id == id).execute()
