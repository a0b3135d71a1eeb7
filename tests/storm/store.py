"""Reads a platform's database from outside, with the driver alone and a connection per question."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import psycopg


class Store:
    """`place` is a PostgreSQL URL or the path of a SQLite file."""

    def __init__(self, place: str) -> None:
        self._place = place
        self.kind = "postgres" if place.startswith("postgresql:") else "sqlite"

    def rows(self, sql: str, *params: Any) -> list[tuple]:
        """The result of SQL with `?` placeholders."""
        with closing(self._connect()) as connection:
            return connection.execute(self._spelled(sql), params).fetchall()

    def value(self, sql: str, *params: Any) -> Any:
        return self.rows(sql, *params)[0][0]

    def _connect(self):
        if self.kind == "postgres":
            return psycopg.connect(self._place, autocommit=True)
        return sqlite3.connect(self._place, timeout=10)

    def _spelled(self, sql: str) -> str:
        return sql.replace("?", "%s") if self.kind == "postgres" else sql

    def damage(self) -> list[str]:
        """What the database's own check finds wrong with it."""
        if self.kind == "sqlite":
            return [text for (text,) in self.rows("PRAGMA integrity_check") if text != "ok"]
        trees = "SELECT c.oid FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'btree'"
        try:
            with closing(self._connect()) as connection:
                connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
                connection.execute(
                    f"SELECT bt_index_check(oid) FROM ({trees} AND relnamespace = 'public'::regnamespace) t"
                )
        except psycopg.DatabaseError as error:
            return [str(error)]
        return []
