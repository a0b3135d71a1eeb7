"""That the database is away for a moment is nobody's failure."""

from __future__ import annotations

import pytest

from models import database
from models.errors import Unavailable
from tests.chat import Chat
from tests.engine import Engine
from workers import chat_turns, claims, steps
from workers.agent.work import ChatWork
from workers.holds import Hold

pytestmark = pytest.mark.usefixtures("store")
AWAY = Unavailable("The database cannot be used", database.AWAY)
ONE = """
id: one
agents: [{id: a}]
defaults: {tools: []}
steps: [{id: A, agent: a, input: a, outputs: [x]}]
"""


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
