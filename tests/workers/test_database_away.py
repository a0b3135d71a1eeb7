"""That the database is away for a moment is nobody's failure."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

import pytest

from models import config, database
from models.errors import Unavailable
from tests.chat import Chat
from tests.engine import Engine
from workers import chat_turns, claims, steps
from workers.agent.budget import Budget
from workers.agent.work import ChatWork, StepWork
from workers.clients.llm.base import Message, Request
from workers.holds import Hold

pytestmark = pytest.mark.usefixtures("store")
AWAY = Unavailable("The database cannot be used", database.AWAY)
ONE = """
id: one
agents: [{id: a}]
defaults: {tools: []}
steps: [{id: A, agent: a, input: a, outputs: [x]}]
"""


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


def test_a_step_goes_on_and_the_attempt_is_the_same() -> None:
    run = Engine(ONE)
    walk, visit = claims.claim(run.run_id)
    steps.settle(walk, Hold(run.run_id, 1, visit.n, visit.token), AWAY, [])
    run.finish()
    visit = run.of("A")[0]
    assert (run.run.status, visit.attempt, visit.retry_count, visit.losses) == ("completed", 1, 0, 0)
    assert [event["reason"] for event in run.events if event["type"] == "step_resumed"] == ["database_away"]


def test_an_answer_of_a_chat_goes_on() -> None:
    chat = Chat(["done"])
    chat.say("hello")
    session, message = chat_turns.claim(chat.id)
    hold = Hold(session.id, 1, message.seq, message.token)
    chat_turns.settle(ChatWork(session, message, hold), AWAY, [])
    chat.work()
    assert [(answer["content"], answer["status"]) for answer in chat.answers] == [("done", "completed")]
    assert "chat_turn_resumed" in chat.types


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_money_is_reserved_as_soon_as_the_database_is_back() -> None:
    run = Engine(ONE, max_tokens=10_000)
    walk, visit = claims.claim(run.run_id)
    work = StepWork(walk.run, visit, Hold(run.run_id, 1, visit.n, visit.token))
    writer = locked(1.5)
    request = Request("test", (Message("user", "x"),), max_output_tokens=10)
    held, _ = Budget.of(walk.run, work).reserve(request, "scripted", work.line(1))
    writer.join()
    assert held.tokens > 10
