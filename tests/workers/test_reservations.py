"""What a call may cost is reserved before it is made."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

import pytest

from models import config, database, runs
from models.errors import LeaseLost
from tests.engine import Engine
from workers import claims
from workers import runs as commands
from workers.agent.budget import Budget, Reservation
from workers.agent.work import StepWork
from workers.clients.llm.base import Message, Request
from workers.holds import Hold

pytestmark = pytest.mark.usefixtures("store")
ONE = """
id: one
agents: [{id: a}]
defaults: {tools: []}
steps: [{id: A, agent: a, input: a, outputs: [x]}]
"""
REQUEST = Request("test", (Message("user", "x"),), max_output_tokens=10)


@pytest.fixture
def work(store) -> StepWork:
    """A claimed step of a run with a limit."""
    run = Engine(ONE, max_tokens=10_000)
    walk, visit = claims.claim(run.run_id)
    return StepWork(walk.run, visit, Hold(run.run_id, 1, visit.n, visit.token))


def reserve(work: StepWork) -> Reservation:
    return Budget.of(work.run, work).reserve(REQUEST, "scripted", work.line(1))[0]


def locked(seconds: float) -> threading.Thread:
    """Somebody else writes for so long."""
    begun = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(config.get().sqlite_path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            begun.set()
            time.sleep(seconds)
            connection.execute("COMMIT")

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait(5)
    return thread


def test_a_run_that_was_cancelled_reserves_nothing(work) -> None:
    commands.cancel(work.run.id)
    with pytest.raises(LeaseLost):
        reserve(work)
    with database.connection():
        assert runs.get(work.run.id).reserved_tokens == 0


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_it_is_reserved_as_soon_as_the_database_is_back(work) -> None:
    writer = locked(1.5)
    assert reserve(work).tokens > 10
    writer.join()
