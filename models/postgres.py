"""PostgreSQL connections on which nobody waits for a process that was frozen in a transaction."""

from __future__ import annotations

from playhouse.pool import _PooledPostgresqlDatabase
from playhouse.postgres_ext import Psycopg3Database

from models import config


class FreshPostgres(Psycopg3Database):
    def _connect(self):
        """A new connection. What it has locked is free again when it has been silent in a transaction for a lease."""
        connection = super()._connect()
        milliseconds = int(config.get().lease_seconds * 1000)
        connection.execute(f"SET idle_in_transaction_session_timeout = {milliseconds}")
        if not connection.autocommit:
            connection.commit()
        return connection


class PooledPostgres(_PooledPostgresqlDatabase, FreshPostgres):
    """The same from a pool: set up once, not at every use."""
