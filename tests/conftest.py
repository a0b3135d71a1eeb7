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


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, tmp_path, monkeypatch):
    """An empty, migrated database of each kind, and a data folder of the test's own."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SCRIPTED_REPLIES", str(tmp_path / "replies.yml"))
    if request.param == "postgres":
        url = servers.fresh_database(request.getfixturevalue("postgres_url"))
        monkeypatch.setenv("DATABASE_URL", url)
    config.get.cache_clear()
    database.init()
    schema.migrate()
    yield request.param
    database.db.obj.close_all()
    config.get.cache_clear()
