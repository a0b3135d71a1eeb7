"""The audit log: who did what to which object, when and from where; each row's hash covers the one before."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import peewee

from models import database
from models.base import JSONField, Model, new_id, now_ms

PART = 1000  # rows read at once
HIDDEN = ("seq", "previous", "token_id", "actor", "scope", "kind")
FILTERS = ("actor", "action", "object_type", "object_id", "outcome")


class AuditRow(Model):
    seq = peewee.BigIntegerField(primary_key=True)
    id = peewee.TextField(unique=True)
    at = peewee.BigIntegerField()
    token_id = peewee.TextField(null=True)
    actor = peewee.TextField()  # the token's name
    scope = peewee.TextField(null=True)
    kind = peewee.TextField()  # token, system, github, anonymous
    ip = peewee.TextField(null=True)
    action = peewee.TextField()
    object_type = peewee.TextField()
    object_id = peewee.TextField()
    outcome = peewee.TextField()  # ok, denied, error
    detail = JSONField(default=dict)
    request_id = peewee.TextField(null=True)
    previous = peewee.TextField()  # the hash of the row before
    hash = peewee.TextField()

    class Meta:
        table_name = "audit"
        indexes = (
            (("at", "seq"), False),
            (("actor", "seq"), False),
            (("action", "seq"), False),
            (("object_id", "seq"), False),
            (("object_type", "seq"), False),
            (("outcome", "seq"), False),
        )

    def as_dict(self) -> dict[str, Any]:
        """The entry as the API shows it."""
        shown = {name: value for name, value in self.__data__.items() if name not in HIDDEN}
        actor = {name: getattr(self, name) for name in ("token_id", "scope", "kind")}
        return shown | {"actor": actor | {"name": self.actor}}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. `kind`: token, system, github or anonymous."""

    name: str
    kind: str = "system"
    token_id: str | None = None
    scope: str | None = None
    ip: str | None = None
    request_id: str | None = None


def record(
    action: str,
    object_type: str,
    object_id: str,
    by: Actor,
    *,
    outcome: str = "ok",
    detail: dict[str, Any] | None = None,
) -> None:
    """One more row, in the transaction of the change that it describes."""
    database.serialize()
    last = database.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    seq, previous = last or (0, "")
    row = {
        "seq": seq + 1,
        "id": new_id("aud_"),
        "at": now_ms(),
        "token_id": by.token_id,
        "actor": by.name,
        "scope": by.scope,
        "kind": by.kind,
        "ip": by.ip,
        "action": action,
        "object_type": object_type,
        "object_id": object_id,
        "outcome": outcome,
        "detail": detail or {},
        "request_id": by.request_id,
        "previous": previous,
    }
    AuditRow.add(row | {"hash": digest(row)})


def digest(row: dict[str, Any]) -> str:
    """What a row's hash must be: SHA-256 over everything else in it."""
    content = {name: value for name, value in row.items() if name != "hash"}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def page(limit: int, before: int | None, since: int | None, until: int | None, **given: str | None) -> list[AuditRow]:
    """Up to `limit` rows, newest first, older than row `before`; `given`: what FILTERS names."""
    bounds = {"seq < ?": before, "at >= ?": since, "at < ?": until}
    where = {condition: value for condition, value in bounds.items() if value is not None}
    where |= {f"{name} = ?": given[name] for name in FILTERS if given.get(name) is not None}
    condition = " AND ".join(where) or "1 = 1"
    return AuditRow.fetch(f"{condition} ORDER BY seq DESC LIMIT ?", (*where.values(), limit))


def verify() -> dict[str, Any]:
    """{ok, rows, first_bad}: whether every row is as it was written, and none is missing since the oldest."""
    rows, seq, previous = 0, None, None
    for row in _oldest_first():
        broken = seq is not None and (row.seq != seq + 1 or row.previous != previous)
        if broken or row.hash != digest(row.__data__):
            return {"ok": False, "rows": rows, "first_bad": row.id}
        rows, seq, previous = rows + 1, row.seq, row.hash
    return {"ok": True, "rows": rows, "first_bad": None}


def _oldest_first() -> Iterator[AuditRow]:
    seq = 0
    while part := AuditRow.fetch("seq > ? ORDER BY seq LIMIT ?", (seq, PART)):
        yield from part
        seq = part[-1].seq


def count_lately(action: str, token_id: str, within_ms: int) -> int:
    """How often a token did that within the last milliseconds."""
    last = "SELECT coalesce(max(seq), 0) FROM audit WHERE at <= ?"
    sql = f"SELECT count(*) FROM audit WHERE action = ? AND seq > ({last}) AND token_id = ?"
    return database.execute(sql, (action, now_ms() - within_ms, token_id)).fetchone()[0]


def prune(older_than: int, limit: int) -> int:
    """Removes up to `limit` of the oldest rows if they are from before that time (ms); returns how many.

    The newest row stays: the next one's hash covers it.
    """
    condition = "seq < (SELECT max(seq) FROM audit) ORDER BY seq LIMIT ?"
    oldest = database.execute(f"SELECT seq, at FROM audit WHERE {condition}", (limit,)).fetchall()
    old = list(itertools.takewhile(lambda row: row[1] < older_than, oldest))
    if old:
        database.execute("DELETE FROM audit WHERE seq <= ?", (old[-1][0],))
    return len(old)
