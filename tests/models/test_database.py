"""The pool of connections."""

from __future__ import annotations

import threading

import pytest

from models import database

pytestmark = pytest.mark.usefixtures("store")


def open_at_once(count: int) -> None:
    """So many connections, each held until all are."""
    everybody = threading.Barrier(count)

    def hold() -> None:
        with database.connection():
            everybody.wait(10)

    threads = [threading.Thread(target=hold) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_connections_that_a_burst_needed_do_not_stay(monkeypatch) -> None:
    open_at_once(8)
    pool = database.db.obj
    assert len(pool._connections) == 8
    monkeypatch.setattr(pool, "_is_stale", lambda opened: True)
    with database.connection():
        assert database.now() > 0 and not pool._connections
    assert pool._stale_timeout == database.LONGEST_LIFE
