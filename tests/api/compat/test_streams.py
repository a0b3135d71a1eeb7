"""The streams of older clients, over a real server: unnamed frames that resume."""

from __future__ import annotations

from contextlib import contextmanager

import httpx
import pytest

from models import chats, database, events
from models.base import new_id, now_ms
from models.chats import ChatMessage, ChatSession
from tests.api import factories
from tests.api.conftest import AUTH, TOKEN
from tests.api.sse_client import frames


@contextmanager
def stream(server, path, last=None, headers=AUTH):
    sent = dict(headers) | ({"Last-Event-ID": str(last)} if last is not None else {})
    with httpx.stream("GET", f"{server.url}{path}", headers=sent, timeout=10) as response:
        assert response.status_code == 200, response.read()
        yield (frame for frame in frames(response) if frame.data is not None)


def told(opened):
    """(number, type) of all frames until the stream ends."""
    return [(frame.id, frame.data["type"]) for frame in opened]


def begun() -> str:
    """A chat whose answer is being written, two events before it."""
    session_id, message_id, now = new_id("chat_"), new_id("msg_"), now_ms()
    row = {"id": session_id, "agent_id": "writer", "status": "running", "model": "a/b", "created_at": now}
    with database.transaction():
        ChatSession.add(row | {"last_activity_at": now, "active_message_id": message_id})
        answer = {"id": message_id, "session_id": session_id, "seq": 2, "role": "assistant", "status": "running"}
        ChatMessage.add(answer | {"content": "All of it", "first_seq": 3, "created_at": now})
    happen(session_id, "chat_session_created", model="a/b")
    happen(session_id, "chat_message_queued")
    happen(session_id, "chat_turn_started", message_id=message_id)
    happen(session_id, "agent_output", text="All", turn=1, message_id=message_id)
    return session_id


def happen(session_id, type, **payload):
    with database.transaction():
        chats.write(session_id, [chats.event(chats.get(session_id), type, **payload)])


def test_a_run_is_followed_to_its_end_without_names(server):
    run_id = factories.run()
    factories.say(run_id, "FIX", "line\u2028end")
    with stream(server, f"/v1/events/stream/{run_id}?token={TOKEN}") as opened:
        first, second = next(opened), next(opened)
        assert [first.event, first.data["type"], first.id] == ["", "RUN_CREATED", 1]
        assert second.data["chunk"] == "line\u2028end" and "\u2028" not in second.raw
        factories.finish(run_id)
        assert told(opened) == [(3, "RUN_COMPLETE")]


def test_following_ends_after_a_cancel_with_one_number(server):
    run_id = factories.run()
    factories.finish(run_id, "run_cancelled")
    with stream(server, f"/v1/events/stream/{run_id}") as opened:
        assert told(opened) == [(1, "RUN_CREATED"), (None, "RUN_STATUS_CHANGED"), (2, "RUN_FAILED")]
    answer = httpx.get(f"{server.url}/v1/events/stream/{run_id}", headers=AUTH | {"Last-Event-ID": "2"})
    assert answer.status_code == 204


@pytest.mark.parametrize(("query", "expected"), [("since=0", [1, 2, 3]), ("since=1", [2, 3]), ("since=2", [3])])
def test_a_client_says_since_when(server, query, expected):
    run_id = factories.run()
    factories.say(run_id, "FIX", "one")
    factories.finish(run_id)
    with stream(server, f"/v1/events/stream/{run_id}?{query}") as opened:
        assert [number for number, _ in told(opened)] == expected
    with stream(server, f"/v1/events/stream/{run_id}?since=0", last=1) as opened:
        assert [number for number, _ in told(opened)] == [2, 3]


def test_only_what_comes_is_sent_if_asked(server):
    run_id = factories.run()
    with stream(server, f"/v1/events/stream/{run_id}?since=$") as opened:
        factories.finish(run_id)
        assert told(opened) == [(2, "RUN_COMPLETE")]
    assert httpx.get(f"{server.url}/v1/events/stream/{run_id}?since=x", headers=AUTH).status_code == 422


def test_what_is_missing_is_a_gap_without_a_number(server):
    run_id = factories.run()
    factories.say(run_id, "FIX", "one", "two")
    database.execute("DELETE FROM events WHERE stream = ? AND seq = 1", (run_id,))
    factories.finish(run_id)
    with stream(server, f"/v1/events/stream/{run_id}") as opened:
        assert told(opened)[:2] == [(None, "GAP"), (2, "STEP_OUTPUT")]


@pytest.mark.parametrize("path", ["/v1/agents/sessions/{}/events", "/v1/events/sessions/{}/events"])
def test_a_chat_is_followed_from_the_answer_in_flight(server, path):
    session_id = begun()
    message_id = chats.get(session_id).active_message_id
    with stream(server, path.format(session_id)) as opened:
        output, connected = next(opened), next(opened)
        assert (output.id, output.data["data"]) == (4, {"content": "All", "messageId": message_id})
        assert (connected.id, connected.data["type"], connected.data["session_id"]) == (None, "connected", session_id)
        happen(session_id, "chat_turn_end", message_id=message_id, status="completed", usage={})
        step, turn = next(opened), next(opened)
        assert step.data["data"] == {"result": "All of it", "success": True}
        assert (turn.id, turn.data["type"], turn.data["data"]["messageId"]) == (5, "turn_end", message_id)


@pytest.mark.parametrize(("status", "type"), [("stopped", "response_aborted"), ("failed", "session_error")])
def test_an_answer_that_did_not_succeed_says_so_before_it_ends(server, status, type):
    session_id = begun()
    message_id = chats.get(session_id).active_message_id
    happen(session_id, "chat_turn_end", message_id=message_id, status=status, usage={}, error="no")
    with stream(server, f"/v1/agents/sessions/{session_id}/events?since=4") as opened:
        assert [next(opened).data["type"] for _ in range(3)] == [type, "step_end", "turn_end"]


def test_chats_beginning_and_ending_are_told_of_all(server):
    with stream(server, "/v1/events/chat-sessions?since=0") as opened:
        factories.run()
        session_id = begun()
        with database.transaction():
            events.assign_positions()
        found = next(frame for frame in opened if frame.data["sessionId"] == session_id)
        assert found.data["type"] == "CHAT_SESSION_CREATED"
