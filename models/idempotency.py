"""Answers kept under a client's Idempotency-Key, stored in the transaction of the change they answer."""

from __future__ import annotations

import hashlib

import peewee

from models import database
from models.base import Model, now_ms
from models.errors import Invalid

KEEP_MS = 24 * 3600 * 1000


class IdempotencyKey(Model):
    token_id = peewee.TextField()
    key = peewee.TextField()
    request = peewee.TextField()  # sha256 of method, path and body
    status = peewee.IntegerField(null=True)
    location = peewee.TextField(null=True)
    body = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField(index=True)

    class Meta:
        table_name = "idempotency_keys"
        primary_key = peewee.CompositeKey("token_id", "key")


def fingerprint(method: str, path: str, body: bytes) -> str:
    """What makes two requests the same."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).hexdigest()


def claim(token_id: str, key: str, request: str) -> IdempotencyKey | None:
    """None if the key is ours to answer in this transaction; else the answer given before.

    A second request with the same key waits here for the first one's commit. Raises Invalid if the body differs.
    """
    IdempotencyKey.delete().where(
        IdempotencyKey.token_id == token_id,
        IdempotencyKey.key == key,
        IdempotencyKey.created_at < now_ms() - KEEP_MS,
    ).execute()
    sql = (
        "INSERT INTO idempotency_keys (token_id, key, request, created_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (token_id, key) DO NOTHING"
    )
    if database.execute(sql, (token_id, key, request, now_ms())).rowcount:
        return None
    found = IdempotencyKey.get_by_id((token_id, key))
    if found.request != request:
        raise Invalid("This Idempotency-Key was used with another request", "idempotency_key_reused")
    return found


def store(token_id: str, key: str, status: int, location: str | None, body: str) -> None:
    """The answer to give again."""
    IdempotencyKey.update(status=status, location=location, body=body).where(
        IdempotencyKey.token_id == token_id, IdempotencyKey.key == key
    ).execute()


def prune(limit: int = 1000) -> int:
    """Forgets answers older than a day; returns how many."""
    old = (
        IdempotencyKey.select(IdempotencyKey.token_id, IdempotencyKey.key)
        .where(IdempotencyKey.created_at < now_ms() - KEEP_MS)
        .limit(limit)
        .tuples()
    )
    return sum(
        IdempotencyKey.delete().where(IdempotencyKey.token_id == token_id, IdempotencyKey.key == key).execute()
        for token_id, key in old
    )
