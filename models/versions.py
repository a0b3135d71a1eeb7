"""Versions: what a process has made of a table is kept until the table's number changes.

Who changes such a table bumps its number in the same transaction; every process looks at the number once a second, and
only while somebody asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

import peewee

from models import database
from models.base import Model
from models.errors import Unavailable

T = TypeVar("T")
LOOK_SECONDS = 1.0  # how long a change may go unseen


class Version(Model):
    name = peewee.TextField(primary_key=True)
    number = peewee.BigIntegerField()

    class Meta:
        table_name = "versions"


def bump(name: str) -> None:
    """What is kept under that name is out of date once the enclosing transaction has committed."""
    counted = "ON CONFLICT (name) DO UPDATE SET number = versions.number + 1"
    database.execute(f"INSERT INTO versions (name, number) VALUES (?, 1) {counted}", (name,))


class Kept(Generic[T]):
    """The result of `load`, at most a second behind the database. While that is away, what was known still holds."""

    def __init__(self, name: str, load: Callable[[], T]) -> None:
        self._name, self._load = name, load
        self._known: tuple[peewee.Database | None, int | None, T | None] = (None, None, None)
        self._looked = float("-inf")

    def get(self) -> T:
        """Raises Unavailable if nothing is known yet and the database is away."""
        same = self._known[0] is database.db.obj
        if not same or time.monotonic() - self._looked > LOOK_SECONDS:
            self._look(same)
        return self._known[2]

    def forget(self) -> None:
        """Looks at the next use, whatever the time."""
        self._looked = float("-inf")

    def _look(self, same: bool) -> None:
        try:
            with database.connection():
                number = self._number()
                if not same or number != self._known[1]:
                    self._known = (database.db.obj, number, self._load())
        except (Unavailable, *database.UNREACHABLE):
            if not same:
                raise
        self._looked = time.monotonic()

    def _number(self) -> int | None:
        row = database.execute("SELECT number FROM versions WHERE name = ?", (self._name,)).fetchone()
        return row and row[0]
