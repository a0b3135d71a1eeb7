"""Leases by name: of all relays one leads, of all workers one makes the index of a vault."""

from __future__ import annotations

import peewee

from models import database, workers
from models.base import Model


class Lease(Model):
    name = peewee.TextField(primary_key=True)
    owner = peewee.TextField()
    until = peewee.BigIntegerField()  # ms, the database's clock

    class Meta:
        table_name = "leases"


def hold(name: str, owner: str, ttl_ms: int) -> bool:
    """Takes or renews the lease; False while somebody else holds it."""
    now = database.now_sql()
    sql = (
        f"INSERT INTO leases (name, owner, until) VALUES (?, ?, {now} + ?) ON CONFLICT (name) DO UPDATE"
        " SET owner = excluded.owner, until = excluded.until"
        f" WHERE leases.owner = excluded.owner OR leases.until < {now}"
    )
    with database.transaction():
        return database.execute(sql, (name, owner, ttl_ms)).rowcount == 1


def owner(name: str) -> str:
    """Who took the lease last, "" if nobody has it."""
    with database.connection():
        row = database.execute("SELECT owner FROM leases WHERE name = ?", (name,)).fetchone()
    return row[0] if row else ""


def bury(name: str) -> bool:
    """Gives back the lease of an owner, "... host pid start", that has visibly died; whether it has."""
    holder = owner(name)
    dead = bool(holder) and workers.has_ended(holder.partition(" ")[2])
    if dead:
        release(name, holder)
    return dead


def release(name: str, owner: str) -> None:
    """Gives the lease back so that another may take it at once."""
    with database.transaction():
        database.execute("DELETE FROM leases WHERE name = ? AND owner = ?", (name, owner))
