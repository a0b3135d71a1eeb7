"""The base of every table, and the one way to change a status."""

from __future__ import annotations

import time
from typing import Any

import orjson
import peewee
from ulid import ULID

from models.database import db


def new_id(prefix: str) -> str:
    """`prefix` + a ULID in lower case: sortable by time of creation."""
    return prefix + str(ULID()).lower()


def now_ms() -> int:
    """This machine's clock, epoch milliseconds; for what people read. Leases use the database's clock."""
    return time.time_ns() // 1_000_000


class JSONField(peewee.TextField):
    """JSON as text on every database: hand-written SQL reads and writes the same thing."""

    def db_value(self, value: Any) -> str | None:
        return None if value is None else dumps(value)

    def python_value(self, value: str | None) -> Any:
        return None if value is None else orjson.loads(value)


def dumps(value: Any) -> str:
    """Compact JSON text."""
    return orjson.dumps(value).decode()


class Model(peewee.Model):
    class Meta:
        database = db
        legacy_table_names = False


class Stateful(Model):
    """A table with a `status` column whose changes follow a table of `models/status.py`."""

    SOURCES: dict = {}

    class Meta:
        database = db
        legacy_table_names = False

    @classmethod
    def try_transition(cls, to: str, *where: peewee.Expression, **changes: Any) -> int:
        """How many rows went to status `to`: only those that match `where` in a status that `to` may follow."""
        return (
            cls.update(status=to, **changes).where(*where, cls.status.in_(sorted(cls.SOURCES[to]))).execute()
        )
