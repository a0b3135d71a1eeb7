"""A process that is frozen in a transaction keeps nobody waiting for longer than a lease."""

from __future__ import annotations

import time

import peewee
import pytest

from models import config, database

pytestmark = pytest.mark.parametrize("store", ["postgres"], indirect=True)


@pytest.fixture
def short_lease(store, monkeypatch):
    database.db.obj.close_all()
    monkeypatch.setenv("LEASE_SECONDS", "0.3")
    config.get.cache_clear()


def test_what_a_silent_transaction_has_locked_is_free_after_a_lease(short_lease) -> None:
    frozen = database.connect()
    frozen.begin()
    frozen.execute_sql("LOCK TABLE runs")
    began = time.monotonic()
    assert database.rows("SELECT count(*) AS runs FROM runs") == [{"runs": 0}]
    assert 0.2 < time.monotonic() - began < 5
    with pytest.raises(peewee.InternalError):
        frozen.execute_sql("SELECT 1")
    frozen.close_all()


def test_a_connection_is_set_up_once(short_lease) -> None:
    for _ in range(2):
        with database.connection():
            assert database.rows("SHOW idle_in_transaction_session_timeout")[0].popitem()[1] == "300ms"
