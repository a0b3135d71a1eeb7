"""Real servers for every test: Valkey or Redis, SQLite and PostgreSQL."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from tests import servers

_folder = Path(tempfile.mkdtemp(prefix="djinnbot-tests-"))
os.environ |= {"DATA_DIR": str(_folder / "data"), "DEFAULT_MODEL": "scripted/test"}
os.environ["REDIS_URL"] = servers.start_redis(_folder)

import pytest

from models import config, database, schema


def pytest_sessionfinish() -> None:
    servers.stop_all()
    shutil.rmtree(_folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """A PostgreSQL cluster of the session's own."""
    return servers.start_postgres(_folder)


def migrated(url: str) -> None:
    database.init(url)
    schema.migrate()
    database.db.obj.close_all()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory) -> Path:
    """A migrated database, to be copied: that is faster than to migrate each test's own."""
    path = tmp_path_factory.mktemp("template") / "djinnbot.sqlite3"
    migrated(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_database(postgres_url) -> str:
    """A migrated database in the session's cluster, for one test after the other."""
    url = servers.fresh_database(postgres_url)
    migrated(url)
    servers.keep(url)
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, tmp_path, monkeypatch):
    """An empty, migrated database of each kind, and a data folder of the test's own."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SCRIPTED_REPLIES", str(tmp_path / "replies.yml"))
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_database")
        servers.empty(url)
        monkeypatch.setenv("DATABASE_URL", url)
    config.get.cache_clear()
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), config.get().sqlite_path)
    database.init()
    yield request.param
    database.db.obj.close_all()
    config.get.cache_clear()
