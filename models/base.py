"""The base of every table, ids, clocks and JSON columns."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any, Self

import orjson
import peewee
from ulid import ULID

from models.database import db, execute


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
    """A table. `add` and `fetch` are the hot paths' hand-written SQL; peewee's own cost ten times as much."""

    class Meta:
        database = db
        legacy_table_names = False

    @classmethod
    def add(cls, row: dict[str, Any]) -> None:
        """Inserts one row; a field that is not given gets its default or null."""
        execute(*cls._insert(row))

    @classmethod
    def add_new(cls, row: dict[str, Any]) -> bool:
        """As `add`; False, having inserted nothing, if another row has one of its unique values."""
        sql, values = cls._insert(row)
        return execute(f"{sql} ON CONFLICT DO NOTHING", values).rowcount == 1

    @classmethod
    def _insert(cls, row: dict[str, Any]) -> tuple[str, list[Any]]:
        values = cls._meta.get_default_dict() | row
        return _insert_sql(cls, tuple(values)), [cls._meta.fields[name].db_value(values[name]) for name in values]

    @classmethod
    def fetch(cls, condition: str, params: Sequence[Any]) -> list[Self]:
        """The rows that match an SQL `condition` with `?` placeholders, which may end in ORDER BY."""
        fields = cls._meta.sorted_fields
        found = execute(_select_sql(cls) + condition, params).fetchall()
        return [cls(**{f.name: f.python_value(v) for f, v in zip(fields, row, strict=True)}) for row in found]


@functools.cache
def _insert_sql(table: type[Model], names: tuple[str, ...]) -> str:
    columns, marks = ", ".join(names), ", ".join("?" * len(names))
    return f"INSERT INTO {table._meta.table_name} ({columns}) VALUES ({marks})"


@functools.cache
def _select_sql(table: type[Model]) -> str:
    columns = ", ".join(field.column_name for field in table._meta.sorted_fields)
    return f"SELECT {columns} FROM {table._meta.table_name} WHERE "
