"""Chat over HTTP: sessions, messages, their answers, and the events between."""

from __future__ import annotations

import pytest

from models import config, tokens
from tests.api.conftest import on_sqlite
from tests.api.sse_client import parse
from tests.chat import Chat, install, script
from workers import chat_turns

SESSIONS = "/v1/chat/sessions"


@pytest.fixture
def writer(settings):
    """An installed agent."""
    install("writer")
    script({})


@pytest.fixture
def chat(writer, api):
    """An open session."""
    return Chat.of(api.post(SESSIONS, json={"agent_id": "writer"}).json["id"])


def url(chat: Chat, what: str = "") -> str:
    return f"{SESSIONS}/{chat.id}{what}"


# --- open ---


def test_a_session_is_usable_at_once(api, writer) -> None:
    answer = api.post(SESSIONS, json={"agent_id": "writer", "title": "Plans"})
    body = answer.json
    assert answer.status_code == 201 and answer.headers["Location"] == f"{SESSIONS}/{body['id']}"
    assert (body["status"], body["model"], body["title"]) == ("ready", "scripted/test", "Plans")
    assert body["messages"] == [] and body["first_message"] is None
    assert api.post(f"{SESSIONS}/{body['id']}/message", json={"message": "Hi"}).status_code == 202


def test_a_session_may_begin_with_a_message(api, writer) -> None:
    first = api.post(SESSIONS, json={"agentId": "writer", "message": "Hi"}).json["first_message"]
    assert first["status"] == "queued" and first["position"] == 0


@on_sqlite
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "validation_error"),
        ({"agent_id": "nobody"}, 404, "agent_not_found"),
        ({"agent_id": "writer", "model": "no-slash"}, 422, "validation_error"),
        ({"agent_id": "writer", "thinking_level": "huge"}, 422, "validation_error"),
        ({"agent_id": "writer", "project_id": "proj_none"}, 404, "project_not_found"),
        ({"agent_id": "writer", "message": "  "}, 422, "validation_error"),
        ({"agent_id": "writer", "surprise": 1}, 422, "validation_error"),
        ({"agent_id": "writer", "agentId": "other"}, 422, "conflicting_alias"),
        ({"agent_id": "writer", "metadata": {"x": "y" * 20_000}}, 422, "validation_error"),
    ],
)
def test_a_session_that_cannot_be_opened(api, writer, body, status, code) -> None:
    answer = api.post(SESSIONS, json=body)
    assert (answer.status_code, answer.json["code"]) == (status, code)


@on_sqlite
def test_an_agent_whose_files_are_broken_talks_to_nobody(api, writer) -> None:
    (config.get().agents_dir / "writer" / "config.yml").write_text("model: [", "utf-8")
    answer = api.post(SESSIONS, json={"agent_id": "writer"})
    assert (answer.status_code, answer.json["code"]) == (409, "agent_disabled")


@on_sqlite
def test_the_same_key_opens_one_session(api, writer) -> None:
    answers = [
        api.post(SESSIONS, json={"agent_id": "writer"}, headers={"Idempotency-Key": "once"}).json["id"] for _ in "ab"
    ]
    assert answers[0] == answers[1] and len(api.get(SESSIONS).json) == 1


# --- say ---


def test_a_message_is_accepted_and_answered(api, chat) -> None:
    script({"chat:writer": ["Hello."]})
    answer = api.post(url(chat, "/message"), json={"content": "Hi"})
    assert answer.status_code == 202 and answer.headers["Location"] == url(chat)
    chat_turns.answer_chat(chat.id)
    said, reply = api.get(url(chat)).json["messages"]
    assert (said["content"], reply["content"], reply["in_reply_to"]) == ("Hi", "Hello.", said["id"])


@on_sqlite
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "validation_error"),
        ({"message": " "}, 422, "validation_error"),
        ({"message": "a", "content": "b"}, 422, "conflicting_alias"),
        ({"message": "a", "attachment_ids": ["att_1"]}, 404, "attachment_not_found"),
        ({"message": "a", "if_busy": "wait"}, 422, "validation_error"),
    ],
)
def test_a_message_that_is_refused(api, chat, body, status, code) -> None:
    answer = api.post(url(chat, "/message"), json=body)
    assert (answer.status_code, answer.json["code"]) == (status, code)


@on_sqlite
def test_the_twenty_first_message_is_too_many(api, chat) -> None:
    statuses = [api.post(url(chat, "/message"), json={"message": str(n)}).status_code for n in range(21)]
    assert statuses == [202] * 20 + [429]


@on_sqlite
def test_a_busy_session_refuses_on_request(api, chat) -> None:
    api.post(url(chat, "/message"), json={"message": "Hi"})
    answer = api.post(url(chat, "/message"), json={"message": "Hi", "if_busy": "reject"})
    assert (answer.status_code, answer.json["code"], answer.json["allowed"]) == (409, "turn_in_progress", ["stop"])


@on_sqlite
@pytest.mark.parametrize("what", ["", "/message", "/stop", "/fork", "/regenerate"])
def test_an_unknown_session_is_not_found(api, writer, what) -> None:
    method = api.get if not what else api.post
    body = {"json": {"message": "x"} if what in ("/message", "/regenerate") else {}} if what else {}
    answer = method(f"{SESSIONS}/chat_none{what}", **body)
    assert (answer.status_code, answer.json["code"]) == (404, "session_not_found")


# --- look ---


def test_sessions_are_listed_by_their_latest_activity(api, chat) -> None:
    other = api.post(SESSIONS, json={"agent_id": "writer"}).json["id"]
    api.post(url(chat, "/message"), json={"message": "Hi"})
    assert [row["id"] for row in api.get(SESSIONS).json] == [chat.id, other]


def test_pages_of_sessions_join_without_a_gap(api, chat) -> None:
    for _ in range(4):
        api.post(SESSIONS, json={"agent_id": "writer"})
    found, following = [], f"{SESSIONS}?limit=2&count=true"
    while following:
        page = api.get(following)
        found += [row["id"] for row in page.json]
        assert page.headers["X-Total-Count"] == "5"
        following = page.headers.get("Link", "").partition("<")[2].partition(">")[0]
    assert found == sorted(found, reverse=True) and len(found) == 5


def test_sessions_are_found_by_what_was_said(api, chat) -> None:
    api.post(SESSIONS, json={"agent_id": "writer", "title": "About elephants"})
    api.post(url(chat, "/message"), json={"message": "Is a giraffe tall?"})
    assert [row["id"] for row in api.get(f"{SESSIONS}?q=giraf").json] == [chat.id]
    assert [row["title"] for row in api.get(f"{SESSIONS}?q=elephants").json] == ["About elephants"]


@on_sqlite
def test_filters_narrow_the_list(api, chat) -> None:
    install("other")
    made = api.post(SESSIONS, json={"agent_id": "other"}).json["id"]
    api.delete(f"{SESSIONS}/{made}")
    assert [row["id"] for row in api.get(SESSIONS).json] == [chat.id]
    assert [row["id"] for row in api.get(f"{SESSIONS}?status=ended").json] == [made]
    assert len(api.get(f"{SESSIONS}?status=all").json) == 2
    assert api.get(f"{SESSIONS}?agent_id=nobody").json == []


@on_sqlite
@pytest.mark.parametrize("query", ["status=asleep", "limit=0", "cursor=xx", "q=a", "surprise=1"])
def test_a_bad_query_is_refused(api, writer, query) -> None:
    assert api.get(f"{SESSIONS}?{query}").status_code == 422


@on_sqlite
def test_messages_are_paged_backwards(api, chat) -> None:
    for n in range(3):
        api.post(url(chat, "/message"), json={"message": str(n)})
    last = api.get(url(chat, "?messages_limit=2")).json
    assert [message["seq"] for message in last["messages"]] == [5, 6] and last["messages_truncated"]
    before = api.get(url(chat, "?before_seq=5")).json
    assert [message["seq"] for message in before["messages"]] == [1, 2, 3, 4] and not before["messages_truncated"]


# --- stop, end, versions ---


def test_stop_with_nothing_running_changes_nothing(api, chat) -> None:
    answer = api.post(url(chat, "/stop"))
    assert answer.json == {"session_id": chat.id, "status": "ready", "stopped_message_id": None, "cleared": 0}


def test_a_session_ends_once(api, chat) -> None:
    assert api.delete(url(chat)).status_code == 204
    again = api.delete(url(chat))
    assert (again.status_code, again.json["code"]) == (404, "session_ended")
    late = api.post(url(chat, "/message"), json={"message": "Hi"})
    assert (late.status_code, late.json["code"]) == (409, "session_ended")
    assert api.get(url(chat)).json["status"] == "ended"


def test_only_an_admin_purges(api, anyone, chat) -> None:
    secret = tokens.create("runner", "run")[1]
    refused = anyone.delete(url(chat, "?purge=true"), headers={"Authorization": f"Bearer {secret}"})
    assert refused.status_code == 403
    assert api.delete(url(chat, "?purge=true")).status_code == 204
    assert api.get(url(chat)).status_code == 404


def test_a_fork_and_a_new_version_leave_the_first_one_readable(api, chat) -> None:
    script({"chat:writer": ["one", "two"]})
    api.post(url(chat, "/message"), json={"message": "Hi"})
    chat_turns.answer_chat(chat.id)
    made = api.post(url(chat, "/fork"), json={"title": "Another way"})
    assert made.status_code == 201 and len(made.json["messages"]) == 2
    assert api.post(url(chat, "/regenerate"), json={"message": "Hello"}).status_code == 202
    chat_turns.answer_chat(chat.id)
    shown = api.get(url(chat, "?superseded=true")).json["messages"]
    assert [(message["content"], message["superseded"]) for message in shown] == [
        *(("Hi", True), ("one", True)),
        *(("Hello", False), ("two", False)),
    ]


@on_sqlite
def test_an_answer_cannot_be_answered(api, chat) -> None:
    api.post(url(chat, "/message"), json={"message": "Hi"})
    chat_turns.answer_chat(chat.id)
    answer = api.get(url(chat)).json["messages"][1]["id"]
    assert api.post(url(chat, "/regenerate"), json={"message_id": answer}).status_code == 422
    assert api.post(url(chat, "/regenerate"), json={"message_id": "msg_none"}).status_code == 404


# --- events ---


def test_the_stream_of_a_session_tells_everything_and_ends_with_it(api, chat) -> None:
    script({"chat:writer": ["Hello."]})
    api.post(url(chat, "/message"), json={"message": "Hi"})
    chat_turns.answer_chat(chat.id)
    api.delete(url(chat))
    text = api.get(f"/v1/events/stream?session_id={chat.id}").text
    frames = [parse(raw) for raw in text.split("\n\n")[1:-1]]
    assert [frame.event for frame in frames if frame.id] == chat.types
    assert frames[-1].data == {"type": "end", "status": "ended"}
    over = api.get(f"/v1/events/stream?session_id={chat.id}", headers={"Last-Event-ID": str(len(chat.types))})
    assert over.status_code == 204


@on_sqlite
def test_the_stream_of_an_unknown_session_is_not_found(api, writer) -> None:
    answer = api.get("/v1/events/stream?session_id=chat_none")
    assert (answer.status_code, answer.json["code"]) == (404, "session_not_found")
