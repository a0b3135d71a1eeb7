"""Leader leases: of all relays, one holds `leader` and sweeps."""

from __future__ import annotations

import peewee

from models import database
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


def release(name: str, owner: str) -> None:
    """Gives the lease back so that another may take it at once."""
    with database.transaction():
        database.execute("DELETE FROM leases WHERE name = ? AND owner = ?", (name, owner))
