"""Deliveries of GitHub's webhooks: an inbox in which each stands once, with what it has led to."""

from __future__ import annotations

import zlib
from typing import Any

import orjson
import peewee

from models import database
from models.base import JSONField, Model, dumps, new_id, now_ms
from models.errors import Conflict, LeaseLost, NotFound

QUEUED, PROCESSING, PROCESSED, IGNORED, FAILED = STATUSES = ("queued", "processing", "processed", "ignored", "failed")
PREFIX = "dlv_"
SAME_BODY_MS = 7 * 86_400_000  # a body that comes again within this time is the same delivery
CLAIM_MS = 30_000  # after which another worker may go on
SHOWN = (
    *("id", "delivery_id", "body_sha256", "hook_id", "event", "action", "repository", "installation_id", "sender"),
    *("status", "attempts", "error", "effects", "received_at", "processed_at"),
)


class Delivery(Model):
    id = peewee.TextField(primary_key=True)
    delivery_id = peewee.TextField(unique=True)
    body_sha256 = peewee.TextField()
    body_key = peewee.TextField(null=True, unique=True)  # the same, as long as it makes others duplicates
    hook_id = peewee.TextField(null=True)
    hook_target = peewee.TextField(null=True)  # integration, repository, organization
    event = peewee.TextField()
    action = peewee.TextField(null=True)
    repository = peewee.TextField(null=True)  # owner/name in lower case
    installation_id = peewee.BigIntegerField(null=True)
    sender = peewee.TextField(null=True)
    status = peewee.TextField(default=QUEUED)
    token = peewee.IntegerField(default=0)  # of the claim; later writes name it
    claimed_until = peewee.BigIntegerField(default=0)  # ms, the database's clock
    attempts = peewee.IntegerField(default=0)
    error = peewee.TextField(null=True)
    effects = JSONField(default=list)  # [{key, kind, ref}]; what is in here is not done again
    received_at = peewee.BigIntegerField()
    processed_at = peewee.BigIntegerField(null=True)
    body = peewee.BlobField()  # compressed

    class Meta:
        table_name = "github_deliveries"
        indexes = (
            (("status", "id"), False),
            (("event", "id"), False),
            (("repository", "id"), False),
            (("received_at",), False),
        )


LIST_COLUMNS = ", ".join(SHOWN)


# --- receiving, all in the caller's transaction ---


def add(delivery_id: str, digest: str, body: bytes, **facts: Any) -> tuple[str, bool]:
    """(its id, whether it is new); else the id of the one that came first."""
    row = {"id": new_id(PREFIX), "delivery_id": delivery_id, "body_sha256": digest, "body_key": digest}
    row |= {"received_at": now_ms(), "body": zlib.compress(body, 1), **facts}
    if Delivery.add_new(row):
        return row["id"], True
    first = _first(delivery_id, digest)
    if first.delivery_id != delivery_id and first.received_at < now_ms() - SAME_BODY_MS:
        Delivery.update(body_key=None).where(Delivery.id == first.id).execute()
        return (row["id"], True) if Delivery.add_new(row) else (_first(delivery_id, digest).id, False)
    return first.id, False


def _first(delivery_id: str, digest: str) -> Delivery:
    found = Delivery.fetch("delivery_id = ? OR body_key = ? ORDER BY received_at", (delivery_id, digest))
    return next((row for row in found if row.delivery_id == delivery_id), found[0])


def requeue(id: str, at_status: tuple[str, ...]) -> bool:
    """Waits to be processed again, if it is in one of these statuses."""
    marks = ", ".join("?" * len(at_status))
    sql = f"UPDATE github_deliveries SET status = 'queued', attempts = 0 WHERE id = ? AND status IN ({marks})"
    return database.execute(sql, (id, *at_status)).rowcount == 1


def forget_effects(id: str) -> None:
    """Whatever it has led to may happen again."""
    Delivery.update(effects=[]).where(Delivery.id == id).execute()


# --- processing ---


def claim(id: str) -> Delivery | None:
    """Takes a waiting delivery, or one whose worker has not been heard of; None if there is nothing to take."""
    now = database.now_sql()
    sql = (
        "UPDATE github_deliveries SET status = 'processing', token = token + 1, attempts = attempts + 1,"
        f" claimed_until = {now} + ?"
        f" WHERE id = ? AND (status = 'queued' OR (status = 'processing' AND claimed_until < {now}))"
    )
    return get(id) if database.execute(sql, (CLAIM_MS, id)).rowcount else None


def hold(row: Delivery) -> None:
    """Locks the row for the enclosing transaction, and reads what has come of it. Raises LeaseLost."""
    sql = "UPDATE github_deliveries SET claimed_until = claimed_until WHERE id = ? AND token = ? AND status = ?"
    if not database.execute(sql, (row.id, row.token, PROCESSING)).rowcount:
        raise LeaseLost(f"{row.id} was taken over")
    row.effects = get(row.id).effects


def note_effect(row: Delivery, key: str, kind: str, ref: str | None) -> None:
    """Records what was done, in the transaction that does it."""
    row.effects = [*row.effects, {"key": key, "kind": kind, "ref": ref}]
    database.execute("UPDATE github_deliveries SET effects = ? WHERE id = ?", (dumps(row.effects), row.id))


def settle(row: Delivery, status: str, error: str | None = None) -> None:
    """Ends the claim. Raises LeaseLost."""
    done = now_ms() if status != QUEUED else None
    sets = "status = ?, error = ?, processed_at = ?"
    sql = f"UPDATE github_deliveries SET {sets} WHERE id = ? AND token = ?"
    if not database.execute(sql, (status, error, done, row.id, row.token)).rowcount:
        raise LeaseLost(f"{row.id} was taken over")


# --- reading ---


def get(id: str) -> Delivery:
    """Raises NotFound."""
    found = Delivery.fetch("id = ?", (id,))
    if not found:
        raise NotFound(f"Delivery {id} not found", "delivery_not_found")
    return found[0]


def is_open(id: str) -> bool:
    sql = "SELECT 1 FROM github_deliveries WHERE id = ? AND status IN ('queued', 'processing')"
    return database.execute(sql, (id,)).fetchone() is not None


def payload(row: Delivery) -> dict[str, Any]:
    """What GitHub has sent."""
    return orjson.loads(zlib.decompress(row.body))


def view(id: str) -> dict[str, Any]:
    """The delivery without its body. Raises NotFound."""
    found = _views("id = ?", (id,))
    if not found:
        raise NotFound(f"Delivery {id} not found", "delivery_not_found")
    return found[0]


def page(limit: int, before: str | None, **filters: str | None) -> list[dict[str, Any]]:
    """Up to `limit` deliveries without bodies, newest first, older than `before`.

    `filters`: event, repository, status.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    where = [*(f"{name} = ?" for name in given), *(["id < ?"] if before else [])]
    condition = f"{' AND '.join(where) or '1 = 1'} ORDER BY id DESC LIMIT ?"
    return _views(condition, (*given.values(), *([before] if before else []), limit))


def _views(condition: str, params: tuple) -> list[dict[str, Any]]:
    found = database.rows(f"SELECT {LIST_COLUMNS} FROM github_deliveries WHERE {condition}", params)
    return [row | {"effects": _shown(orjson.loads(row["effects"]))} for row in found]


def _shown(effects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"kind": effect["kind"], "ref": effect["ref"]} for effect in effects]


def last_received_at() -> int | None:
    return database.execute("SELECT max(received_at) FROM github_deliveries").fetchone()[0]


def count_failed() -> int:
    return database.execute("SELECT count(*) FROM github_deliveries WHERE status = 'failed'").fetchone()[0]


def known(delivery_ids: list[str]) -> set[str]:
    """Those of GitHub's ids that are in the inbox."""
    marks = ", ".join("?" * len(delivery_ids)) or "NULL"
    sql = f"SELECT delivery_id FROM github_deliveries WHERE delivery_id IN ({marks})"
    return {row[0] for row in database.execute(sql, delivery_ids).fetchall()}


def hooks_of_repositories() -> list[tuple[str, str]]:
    """(repository, hook id) of the webhooks of repositories that have delivered something."""
    sql = (
        "SELECT DISTINCT repository, hook_id FROM github_deliveries"
        " WHERE hook_target = 'repository' AND hook_id IS NOT NULL AND repository IS NOT NULL"
    )
    return [tuple(row) for row in database.execute(sql).fetchall()]


def prune(older_than: int, limit: int) -> int:
    """Forgets up to `limit` settled deliveries of before that time (ms); returns how many."""
    old = "SELECT id FROM github_deliveries WHERE received_at < ? AND status NOT IN ('queued', 'processing') LIMIT ?"
    return database.execute(f"DELETE FROM github_deliveries WHERE id IN ({old})", (older_than, limit)).rowcount


def refuse_unless_settled(row: dict[str, Any]) -> None:
    """Raises Conflict."""
    if row["status"] in (QUEUED, PROCESSING):
        raise Conflict(f"{row['id']} is {row['status']}", "delivery_in_progress", allowed=[])
