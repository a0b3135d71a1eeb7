"""Chat turns: in order, one at a time, each answered once whatever happens to its worker."""

from __future__ import annotations

import shutil

import pytest

from models import chats, config, database
from models.calls import LLMCall, ToolUse
from models.chats import ChatMessage
from models.errors import Conflict, LeaseLost, NotFound, TooMany
from models.outbox import Outbox
from tests.chat import Chat, install, script
from workers import chat_turns, sweeper
from workers import chats as commands
from workers.agent import settings
from workers.clients.llm import registry

pytestmark = pytest.mark.usefixtures("store")
READ = {"name": "read", "arguments": {"path": "a.txt"}}


def doorbells(chat: Chat) -> int:
    with database.connection():
        return Outbox.select().where(Outbox.object_id == chat.id).count()


def test_a_message_is_answered() -> None:
    chat = Chat(["Hello, I am here."])
    assert chat.ask("Hi") == "Hello, I am here."
    assert [message["status"] for message in chat.messages] == ["completed", "completed"]
    assert chat.session["status"] == "ready" and chat.session["usage"]["llm_calls"] == 1


def test_the_log_tells_a_turn_from_its_first_word_to_its_last() -> None:
    chat = Chat(["Hello."])
    chat.ask("Hi")
    assert chat.types == [
        *("chat_session_created", "chat_message_queued", "chat_turn_started"),
        *("agent_output", "llm_call", "chat_turn_end"),
    ]
    assert [event["seq"] for event in chat.events] == [1, 2, 3, 4, 5, 6]


def test_every_event_of_a_turn_names_its_message() -> None:
    chat = Chat([[{"tool_calls": [READ], "text": "Let me look."}, "Done."]])
    answer = chat.say("Look")["assistant_message_id"]
    chat.work()
    about = [event["message_id"] for event in chat.events if "message_id" in event]
    assert len(about) >= 7 and set(about) == {answer}


def test_messages_are_answered_in_order() -> None:
    chat = Chat(["one", "two", "three"])
    for text in ("first", "second", "third"):
        chat.say(text)
    chat.work()
    assert [answer["content"] for answer in chat.answers] == ["one", "two", "three"]
    assert doorbells(chat) == 0


def test_positions_say_how_many_are_waiting_before() -> None:
    chat = Chat(["one"])
    assert [chat.say("x")["position"] for _ in range(3)] == [0, 1, 2]


def test_the_queue_has_an_end() -> None:
    chat = Chat()
    for _ in range(chats.MOST_QUEUED):
        chat.say("again")
    with pytest.raises(TooMany):
        chat.say("once more")


def test_the_agent_is_told_what_was_said_before(monkeypatch) -> None:
    chat = Chat(["Blue.", "You said it: blue."])
    chat.ask("My colour?")
    chat.ask("Which?")
    with database.connection():
        told = [call.input_tokens for call in LLMCall.select().order_by(LLMCall.created_at)]
    assert told[1] > told[0]


def test_tools_work_in_the_folder_of_the_session() -> None:
    call = {"name": "write", "arguments": {"path": "a.txt", "content": "x"}}
    chat = Chat([[{"tool_calls": [call]}, "Written."], [{"tool_calls": [READ]}, "There."]])
    chat.ask("Write")
    chat.ask("List")
    assert "x" in chat.answers[1]["tool_calls"][0]["result"]
    assert chat.session["usage"]["tool_calls"] == 2


def test_a_turn_that_fails_leaves_the_session_usable() -> None:
    chat = Chat([{"error": {"class": "provider_rejected", "message": "no such model"}}, "Better."])
    chat.say("Hi")
    failed = chat.work().answers[0]
    assert (failed["status"], failed["error_code"]) == ("failed", "provider_rejected")
    assert "no such model" in chat.session["error"]
    assert chat.ask("Again") == "Better." and chat.session["error"] is None


def test_an_answer_without_text_is_a_failure() -> None:
    chat = Chat([{"text": ""}])
    chat.say("Hi")
    assert chat.work().answers[0]["error_code"] == "bad_output"


def test_an_agent_that_is_gone_fails_the_turn() -> None:
    chat = Chat()
    shutil.rmtree(config.get().agents_dir / "writer")
    settings._agent.cache_clear()
    chat.say("Hi")
    assert chat.work().answers[0]["error_code"] == "agent_not_found"


def test_a_stopped_answer_keeps_what_it_had() -> None:
    chat = Chat(["never asked for"])
    chat.say("Hi")
    session, message = chat_turns.claim(chat.id)
    spoken = chats.event(session, "agent_output", text="So far", turn=0, message_id=message.id)
    with database.transaction():
        chats.write(chat.id, [spoken], fence=chats.fence(chat.id, message.seq, message.token))
    stopped = commands.stop(chat.id)
    assert stopped["stopped_message_id"] == message.id and stopped["status"] == "ready"
    assert (chat.answers[0]["status"], chat.answers[0]["content"]) == ("stopped", "So far")


def test_who_was_stopped_can_write_no_more() -> None:
    chat = Chat()
    chat.say("Hi")
    _, message = chat_turns.claim(chat.id)
    commands.stop(chat.id)
    with pytest.raises(LeaseLost), database.transaction():
        chats.write(chat.id, fence=chats.fence(chat.id, message.seq, message.token))


def test_a_late_settlement_is_refused() -> None:
    chat = Chat(["late"])
    chat.say("Hi")
    taken = chat_turns.claim(chat.id)
    commands.stop(chat.id)
    assert chat_turns.work(*taken) is None
    assert chat.answers[0]["status"] == "stopped" and chat.types.count("chat_turn_end") == 1


def test_stopping_lets_the_next_one_begin() -> None:
    chat = Chat(["one", "two"])
    chat.say("first")
    chat_turns.claim(chat.id)
    chat.say("second")
    commands.stop(chat.id)
    assert doorbells(chat) == 1
    assert chat.work().answers[1]["status"] == "completed"


def test_stopping_may_clear_the_queue() -> None:
    chat = Chat()
    for text in ("first", "second", "third"):
        chat.say(text)
    chat_turns.claim(chat.id)
    assert commands.stop(chat.id, clear_queue=True)["cleared"] == 2
    assert {answer["status"] for answer in chat.answers} == {"stopped"} and doorbells(chat) == 0


def test_an_interruption_goes_before_what_waits() -> None:
    chat = Chat(["one", "urgent", "two"])
    chat.say("first")
    chat_turns.claim(chat.id)
    chat.say("second")
    assert chat.say("now!", if_busy="interrupt")["position"] == 0
    by_question = {answer["in_reply_to"]: answer for answer in chat.work().answers}
    first, second, urgent = (by_question[m["id"]] for m in chat.messages if m["role"] == "user")
    assert (first["status"], urgent["content"], second["content"]) == ("stopped", "urgent", "two")


def test_a_busy_session_may_be_left_alone() -> None:
    chat = Chat()
    chat.say("first")
    with pytest.raises(Conflict, match="answering"):
        chat.say("second", if_busy="reject")


def test_an_ended_session_takes_nothing_and_stays_readable() -> None:
    chat = Chat(["Hello."])
    chat.ask("Hi")
    commands.end(chat.id)
    with pytest.raises(Conflict):
        chat.say("Still there?")
    with pytest.raises(NotFound):
        commands.end(chat.id)
    assert chat.answers[0]["content"] == "Hello." and chat.types[-1] == "chat_session_ended"


def test_a_purged_session_leaves_only_what_it_cost() -> None:
    chat = Chat([[{"tool_calls": [READ]}, "Hello."]])
    chat.ask("Hi")
    commands.purge(chat.id)
    with database.connection():
        assert not ChatMessage.select().where(ChatMessage.session_id == chat.id).exists()
        assert not ToolUse.select().where(ToolUse.session_id == chat.id).exists()
        assert [call.reply for call in LLMCall.select().where(LLMCall.session_id == chat.id)] == [None, None]
    with pytest.raises(NotFound):
        chat.session  # noqa: B018


def test_idle_sessions_expire_and_busy_ones_do_not() -> None:
    idle, busy = Chat(), Chat()
    busy.say("Hi")
    with database.transaction():
        database.execute("UPDATE chat_sessions SET last_activity_at = 1")
    commands.expire(30)
    assert (idle.session["status"], busy.session["status"]) == ("ended", "running")
    assert idle.events[-1]["reason"] == "expired"


def test_nothing_expires_where_zero_days_are_set() -> None:
    chat = Chat()
    with database.transaction():
        database.execute("UPDATE chat_sessions SET last_activity_at = 1")
    commands.expire(0)
    assert chat.session["status"] == "ready"


# --- workers that die ---


def lose(chat: Chat) -> None:
    """The worker of the running turn dies; the sweeper finds it."""
    with database.transaction():
        database.execute("UPDATE chat_messages SET owner = 'wrk_dead' WHERE status = 'running'")
    sweeper.Sweeper().sweep()


def test_another_worker_answers_what_a_dead_one_had_begun() -> None:
    chat = Chat(["Hello."])
    chat.say("Hi")
    chat_turns.claim(chat.id)
    lose(chat)
    assert doorbells(chat) == 1
    assert chat.work().answers[0]["content"] == "Hello."
    assert "chat_turn_resumed" in chat.types and chat.types.count("chat_turn_end") == 1


def test_a_turn_goes_on_where_its_worker_died(monkeypatch) -> None:
    chat = Chat([[{"tool_calls": [READ], "text": "Looking."}, "Done."]])
    chat.say("Look")
    session, message = chat_turns.claim(chat.id)
    monkeypatch.setattr(chat_turns, "settle", lambda *_: None)  # the worker dies before it can settle
    chat_turns.work(session, message)
    monkeypatch.undo()
    lose(chat)
    assert chat.work().answers[0]["content"] == "Looking.\n\nDone."
    with database.connection():
        assert LLMCall.select().where(LLMCall.turn == 0).count() == 1
        assert ToolUse.select().count() == 1


def test_the_text_of_a_lost_call_is_not_shown_twice() -> None:
    chat = Chat(["Hello."])
    chat.say("Hi")
    session, message = chat_turns.claim(chat.id)
    with database.transaction():
        chats.write(chat.id, [chats.event(session, "agent_output", text="Hel", turn=0, message_id=message.id)])
    lose(chat)
    resumed = chat_turns.claim(chat.id)
    assert chat.answers[0]["content"] == ""
    chat_turns.work(*resumed)
    assert chat.answers[0]["content"] == "Hello."


def test_a_turn_that_kills_its_workers_is_given_up() -> None:
    chat = Chat(["two"])
    chat.say("fatal")
    for _ in range(3):
        assert chat_turns.claim(chat.id)
        lose(chat)
    assert (chat.answers[0]["status"], chat.answers[0]["error_code"]) == ("failed", "worker_lost")
    assert chat.ask("and now?") == "two"


def test_a_worker_that_stops_leaves_the_queue_to_another(monkeypatch) -> None:
    chat = Chat(["one", "two"])
    chat.say("first")
    taken = chat_turns.claim(chat.id)
    chat.say("second")
    monkeypatch.setattr(chat_turns.Process, "stopping", True)
    assert chat_turns.work(*taken) is None and doorbells(chat) == 1
    assert chat_turns.claim(chat.id) is None
    monkeypatch.undo()
    assert chat.work().answers[1]["content"] == "two"


# --- versions ---


def test_an_answer_can_be_made_anew() -> None:
    chat = Chat(["one", "another"])
    chat.ask("Hi")
    commands.regenerate(chat.id)
    chat.work()
    assert [answer["content"] for answer in chat.answers] == ["another"]
    with database.connection():
        assert ChatMessage.select().where(ChatMessage.superseded == True).count() == 1  # noqa: E712


def test_a_message_can_be_said_otherwise() -> None:
    chat = Chat(["one", "two", "three"])
    first = chat.say("Hi")["user_message_id"]
    chat.work().ask("More")
    commands.regenerate(chat.id, message_id=first, message="Hello")
    chat.work()
    assert [message["content"] for message in chat.messages] == ["Hello", "three"]


def test_a_fork_begins_with_what_was_said() -> None:
    chat = Chat(["one", "two", "three"])
    chat.ask("first")
    chat.ask("second")
    made = Chat.of(commands.fork(chat.id, message_id=chat.answers[0]["id"]))
    assert [message["content"] for message in made.messages] == ["first", "one"]
    assert made.session["forked_from"]["session_id"] == chat.id
    assert made.ask("other") == "two" and len(chat.messages) == 4


def test_the_model_can_be_switched() -> None:
    chat = Chat(["one", "two"])
    chat.ask("Hi")
    chat.ask("Again", model="scripted/other")
    assert [answer["model"] for answer in chat.answers] == ["scripted/test", "scripted/other"]
    assert chat.session["model"] == "scripted/other"


# --- context ---


def test_what_does_not_fit_is_summed_up() -> None:
    long = "word " * 8_000
    chat = Chat([long, long, "short"], summaries=["They talked about words."])
    for text in ("first", "second", "third"):
        chat.say(text)
    chat.work()
    with database.connection():
        session = chats.get(chat.id)
        calls = [(call.turn, call.input_tokens) for call in LLMCall.select().order_by(LLMCall.created_at)]
    assert session.summary == "They talked about words." and session.summary_turn >= 1
    assert calls[-1][1] < 11_000 and any(turn < 0 for turn, _ in calls)
    assert "They talked" not in "".join(e.get("text", "") for e in chat.events)


def test_a_model_that_reads_less_than_expected_is_told_less() -> None:
    refusal = {"error": {"class": "context_too_long"}}
    long = "word " * 4_000
    chat = Chat([long, refusal], summaries=["Words."])
    chat.ask("first")
    assert chat.say("second") and chat.work().answers[1]["error_code"] == "context_too_long"
    with database.connection():
        assert chats.get(chat.id).summary == "Words."


def test_a_summary_does_not_outlive_what_it_tells() -> None:
    long = "word " * 8_000
    chat = Chat([long, long, "short"], summaries=["Words."])
    first = chat.say("first")["user_message_id"]
    chat.say("second")
    chat.work().ask("third")
    commands.regenerate(chat.id, message_id=first)
    with database.connection():
        assert chats.get(chat.id).summary is None


# --- tools that need a person ---


def test_a_tool_that_needs_approval_is_refused_with_a_reason(monkeypatch) -> None:
    monkeypatch.setenv("APPROVE_TOOLS", "write")
    config.get.cache_clear()
    call = {"name": "write", "arguments": {"path": "a.txt", "content": "x"}}
    chat = Chat([[{"tool_calls": [call]}, "I may not."]])
    chat.ask("Write")
    result = chat.answers[0]["tool_calls"][0]
    assert result["is_error"] and "approval" in result["result"]
    assert not (config.get().workspaces_dir / chat.id / "a.txt").exists()


def test_an_agent_without_a_model_cannot_talk(monkeypatch) -> None:
    install("writer")
    script({})
    monkeypatch.setattr(registry, "default_model", lambda: None)
    with pytest.raises(Conflict, match="no model"):
        commands.start("writer")
