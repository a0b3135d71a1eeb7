"""The database: one handle for SQLite and PostgreSQL, `transaction()`, and hooks that run after commit."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import peewee
from peewee import DatabaseProxy
from playhouse.db_url import parse
from playhouse.pool import PooledSqliteDatabase

from models import config
from models.errors import Unavailable

db = DatabaseProxy()
_hooks = threading.local()

POOL_SIZE = 40  # connections per process
LONGEST_LIFE = 120  # seconds of a connection: those that a burst needed, with their caches, do not stay for ever
ROWS_PER_INSERT = 100
UNREACHABLE = (peewee.OperationalError, peewee.InterfaceError)
AWAY = "database_unavailable"  # code of the error that every use of it raises while it is away
SERIAL_LOCK = 7_340_002  # of PostgreSQL's advisory locks
BUSY_TIMEOUT_MS = 1000  # a blocked SQLite lock stops every greenlet of the process: give up early
WAL_BYTES = 64 * 2**20  # what the log beside a SQLite file is cut to after a burst
NOW_SQL = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgres": "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
}


def init(url: str | None = None) -> peewee.Database:
    """Point the handle at `url` (default: the configuration's) and return it."""
    db.initialize(connect(url))
    return db.obj


def connect(url: str | None = None, pool_size: int = POOL_SIZE) -> peewee.Database:
    """A database of its own, not the shared handle. Raises ValueError on an unknown kind of URL."""
    settings = config.get()
    url = url or settings.database_url
    if not url:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        return _sqlite(str(settings.sqlite_path), settings.sqlite_synchronous, pool_size)
    if url.startswith("sqlite:///"):
        return _sqlite(url.removeprefix("sqlite:///"), settings.sqlite_synchronous, pool_size)
    if re.match(r"postgres(ql)?://", url):
        return _postgres(url, pool_size)
    raise ValueError(f"DATABASE_URL must start with postgresql:// or sqlite:///, not {url.split(':')[0]}:")


def _sqlite(path: str, synchronous: str, pool_size: int) -> peewee.Database:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pragmas = {
        "journal_mode": "wal",
        "synchronous": synchronous,
        "busy_timeout": BUSY_TIMEOUT_MS,
        "foreign_keys": 0,
        "cache_size": -2000,
        "journal_size_limit": WAL_BYTES,
    }
    pool = {"max_connections": pool_size, "stale_timeout": LONGEST_LIFE, "timeout": 10}
    return PooledSqliteDatabase(path, pragmas=pragmas, check_same_thread=False, autoconnect=True, **pool)


def _postgres(url: str, pool_size: int) -> peewee.Database:
    from models.postgres import PooledPostgres

    options = parse(url)
    pool = {"max_connections": pool_size, "stale_timeout": LONGEST_LIFE, "timeout": 10}
    return PooledPostgres(options.pop("database"), connect_timeout=5, **pool, **options)


def dialect() -> str:
    """ "sqlite" or "postgres"."""
    return "sqlite" if isinstance(db.obj, peewee.SqliteDatabase) else "postgres"


def now_sql() -> str:
    """SQL for the database's clock in epoch milliseconds."""
    return NOW_SQL[dialect()]


def now() -> int:
    """The database's clock, epoch milliseconds."""
    return execute(f"SELECT {now_sql()}").fetchone()[0]


@contextmanager
def connection() -> Iterator[None]:
    """Holds a connection for the block; joins the one that this greenlet already holds."""
    if not db.is_closed():
        yield
        return
    try:
        db.connect()
    except UNREACHABLE as error:
        raise _unavailable(error) from error
    try:
        yield
    finally:
        if not db.is_closed():
            db.close()


def release() -> None:
    """Gives back the connection that this greenlet holds, if any; before a long wait, and at the end of a request."""
    if not db.is_closed():
        db.close()


@contextmanager
def transaction() -> Iterator[None]:
    """One transaction that takes the write lock at once; joins an enclosing one. Hooks run after its commit.

    Raises Unavailable if the database cannot be reached or stays locked.
    """
    if getattr(_hooks, "depth", 0):
        with _savepoint():
            yield
        return
    with connection():
        _hooks.depth, _hooks.calls = 1, []
        try:
            with _begin():
                yield
            calls = _hooks.calls
        except UNREACHABLE as error:
            raise _unavailable(error) from error
        finally:
            _hooks.depth, _hooks.calls = 0, []
    for call in calls:
        call()


@contextmanager
def _savepoint() -> Iterator[None]:
    """A part of a transaction that can fail by itself, its hooks included."""
    registered = len(_hooks.calls)
    try:
        with db.atomic():
            yield
    except BaseException:
        del _hooks.calls[registered:]
        raise


def _begin():
    return db.atomic("IMMEDIATE") if dialect() == "sqlite" else db.atomic()


def serialize(lock: int = SERIAL_LOCK) -> None:
    """From here to the end of the transaction one caller at a time, for what is rare and must be in order."""
    if dialect() == "postgres":  # SQLite has one writer anyway
        execute("SELECT pg_advisory_xact_lock(?)", (lock,))


def on_commit(call: Callable[[], Any]) -> None:
    """Runs `call` once the enclosing transaction has committed; never if it rolls back."""
    _hooks.calls.append(call)


def execute(sql: str, params: Sequence[Any] = ()):
    """A cursor for hand-written SQL with `?` placeholders (hot paths only; elsewhere use peewee)."""
    return db.execute_sql(_placeholders(sql) if dialect() == "postgres" else sql, tuple(params))


@functools.cache
def _placeholders(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


def insert(table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], then: str = "") -> None:
    """Inserts rows in few statements; `then` follows each, such as an ON CONFLICT.

    PostgreSQL takes them as one JSON text: thousands of placeholders cost its driver more than the insert itself.
    """
    names = ", ".join(columns)
    for start in range(0, len(rows), ROWS_PER_INSERT):
        part = rows[start : start + ROWS_PER_INSERT]
        if dialect() == "postgres":
            text = orjson.dumps([dict(zip(columns, row, strict=True)) for row in part], default=_hex).decode()
            source, values = f"SELECT {names} FROM json_populate_recordset(NULL::{table}, ?)", [text]
        else:
            source = "VALUES " + ", ".join([f"({', '.join('?' * len(columns))})"] * len(part))
            values = [value for row in part for value in row]
        execute(f"INSERT INTO {table} ({names}) {source} {then}", values)


def _hex(value: bytes) -> str:
    """Bytes as PostgreSQL reads them from a text."""
    return f"\\x{value.hex()}"


def literal(text: str) -> str:
    r"""The text in a pattern of LIKE ... ESCAPE '\', where nothing in it is special."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def rows(sql: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """The result of hand-written SQL as one dict per row."""
    cursor = execute(sql, params)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"The database cannot be used: {error}", AWAY, retry_after=2)
