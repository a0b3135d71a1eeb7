"""GET /v1/lifecycle/timeline and /v1/lifecycle/sessions."""

from __future__ import annotations

import pytest

from api.paging import encode
from api.resources.lifecycle import AgentSessionSchema, EntrySchema
from models import database, events, lifecycle
from models.base import new_id
from models.chats import ChatMessage, ChatSession
from models.events import Event
from tests.api import factories
from tests.api.conftest import on_sqlite
from tests.chat import install, script
from tests.engine import Engine
from workers import chat_turns

TWO_STEPS = "id: two\nsteps:\n" + "".join(f"  - {{id: {key}, agent: writer, input: x}}\n" for key in "AB")
TIMELINE, SESSIONS = "/v1/lifecycle/timeline", "/v1/lifecycle/sessions"


def of_step(type, key="FIX", moment=None, **more):
    event = Event(type, step_id=key, visit=1, attempt=1, agent_id="developer", payload=more)
    event.timestamp = moment or event.timestamp
    return event


def happen(run_id, *recorded):
    for event in recorded:
        event.run_id, event.epoch, event.session_id = run_id, 1, f"{run_id}_{event.step_id}"
        factories.record(run_id, event)


def in_chat(session_id, *recorded):
    with database.transaction():
        for event in recorded:
            event.session_id = session_id
        events.append(session_id, len(recorded), recorded)


def seen(answer, *names):
    return [tuple(entry[name] for name in names) for entry in answer.json]


def pages(api, url):
    found = []
    while url:
        answer = api.get(url)
        found += [entry["id"] for entry in answer.json]
        url = answer.headers.get("Link", "").partition(">")[0].lstrip("<")
    return found


# --- the timeline ---


def test_a_run_appears_with_its_agent_run_and_step(api, settings):
    run = Engine("execute", {"EXECUTE": ["ok"]}).finish()
    answer = api.get(TIMELINE)
    assert seen(answer, "type", "step_id", "run_id", "session_id") == [
        (type, "EXECUTE", run.run_id, f"{run.run_id}_EXECUTE") for type in ("work_complete", "work_started")
    ]
    last = answer.json[0]
    assert last.keys() == EntrySchema().fields.keys()
    assert (last["agent_id"], last["title"]) == (run.of("EXECUTE")[0].agent_id, "EXECUTE completed")
    assert last["data"].items() >= {"attempt": 1, "visit": 1, "step_type": "agent", "pipeline_id": "execute"}.items()
    assert last["data"]["usage"]["llm_calls"] == 1 and last["data"]["duration_ms"] >= 0


def test_retries_and_visits_are_entries_of_their_own(api, run_id):
    happen(run_id, of_step("step_started"), of_step("step_retrying", error="no", error_code="x"))
    happen(run_id, of_step("step_started"), of_step("step_failed", error="no", error_code="x"))
    found = api.get(TIMELINE)
    assert [type for (type,) in seen(found, "type")] == ["work_failed", "work_started", "work_retrying", "work_started"]
    assert found.json[0]["data"]["error_code"] == "x"


def test_an_entry_has_the_same_id_for_ever_and_the_project_of_its_run(api, settings):
    run_id = factories.run(project_id="proj_1", task_id="task_1")
    happen(run_id, of_step("step_started"))
    before = api.get(TIMELINE).json
    happen(run_id, of_step("step_complete"))
    events.assign_positions()
    assert api.get(TIMELINE).json[1:] == before
    assert (before[0]["project_id"], before[0]["task_id"]) == ("proj_1", "task_1")


def test_chats_appear_as_they_begin_answer_and_end(api, settings):
    session = new_id("chat_")
    begun = Event("chat_session_created", agent_id="writer", payload={"model": "a/b"})
    answered = Event("chat_turn_end", agent_id="writer", payload={"message_id": "msg_1", "status": "completed"})
    in_chat(session, begun, answered, Event("chat_session_ended", agent_id="writer", payload={"reason": "deleted"}))
    found = api.get(f"{TIMELINE}?session_id={session}")
    assert [type for (type,) in seen(found, "type")] == ["session_ended", "session_turn", "session_started"]
    assert [entry["data"].get("reason") or entry["data"].get("status") for entry in found.json[:2]] == [
        *("deleted", "completed")
    ]
    assert found.json[2]["data"]["model"] == "a/b"
    assert {entry["run_id"] for entry in found.json} == {None}


def test_messages_and_approvals_appear_with_what_they_say(api, run_id):
    happen(run_id, of_step("agent_message", to="tester", message="x" * 1000))
    happen(run_id, of_step("approval_requested", approval_id="apr_1", kind="step", prompt="Ship it?" * 100))
    approval, message = api.get(TIMELINE).json
    assert message["data"] == {"to": "tester", "message": "x" * 500}
    assert approval["data"] == {"approval_id": "apr_1", "kind": "step", "decision": None}
    assert len(approval["title"]) == 200


def test_pages_join_without_gap_or_repeat_even_within_one_millisecond(api, run_id):
    other = factories.run()
    for run in (run_id, other):
        happen(run, *(of_step("step_started", moment=1000 + number // 3) for number in range(7)))
    found = pages(api, f"{TIMELINE}?limit=3")
    assert len(found) == len(set(found)) == 14
    assert found == [entry["id"] for entry in api.get(TIMELINE).json]


FILTERED = {
    "agent_id=developer": "abc",
    "agent_id=nobody": "",
    "project_id=proj_1": "c",
    "project_id=proj_1&agent_id=developer&type=work_failed": "c",
    "type=work_failed": "bc",
    "type=work_failed,session_ended": "bcd",
    "type=work_started,work_failed": "abc",
    "type=work_started&agent_id=developer": "a",
    "since=20": "bcd",
    "before=20": "a",
    "since=20&before=31": "bc",
    "run_id=run_none": "",
    "session_id=chat_none": "",
}


def test_filters_join_by_and(api, run_id):
    other = factories.run(project_id="proj_1")
    happen(run_id, of_step("step_started", moment=10), of_step("step_failed", "TEST", moment=20))
    happen(other, of_step("step_failed", moment=30))
    in_chat("chat_1", Event("chat_session_ended", agent_id="writer", timestamp=40))
    moments = {10: "a", 20: "b", 30: "c", 40: "d"}
    own = {f"run_id={run_id}": "ab", f"session_id={run_id}_TEST": "b", f"run_id={run_id}&type=work_failed": "b"}
    expected = FILTERED | own | {"session_id=chat_1": "d", f"run_id={other}&session_id={run_id}_FIX": ""}
    for query, letters in expected.items():
        found = "".join(moments[moment] for (moment,) in seen(api.get(f"{TIMELINE}?{query}"), "timestamp"))
        assert found[::-1] == letters, query


@pytest.mark.parametrize(
    "query", ["since=20&before=20", "since=20&before=10", "type=nonsense", "type=", "limit=0", "since=-1", "foo=1"]
)
@on_sqlite
def test_what_cannot_be_meant_is_refused(api, query):
    assert api.get(f"{TIMELINE}?{query}").status_code == 422


@pytest.mark.parametrize("cursor", ["x", encode("1.2"), encode("1.RUN.2"), encode("1.' OR 1=1.2")])
@on_sqlite
def test_a_cursor_of_others_is_refused(api, cursor):
    assert api.get(f"{TIMELINE}?cursor={cursor}").status_code == 422
    assert api.get(f"{SESSIONS}?cursor={cursor}").status_code == 422


WALKS = {
    "time": lifecycle.Filters(),
    "stream": lifecycle.Filters(run_id="run_x", agent_id="x"),
    "agent": lifecycle.Filters(agent_id="x", project_id="y"),
    "project": lifecycle.Filters(project_id="x", type=["work_started", "work_failed"]),
    "seldom": lifecycle.Filters(agent_id="x", type=["work_failed"]),
}


@pytest.mark.parametrize("index", WALKS)
@on_sqlite
def test_a_page_is_a_walk_along_an_index(store, monkeypatch, index):
    asked = []
    monkeypatch.setattr(database, "rows", lambda *call: asked.append(call) or [])
    lifecycle.page(WALKS[index], 51, "5.run_x.1")
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {asked[0][0]}", asked[0][1]).fetchall()]
    walk = next(number for number, step in enumerate(plan) if f"events_timeline_{index}" in step)
    assert plan[walk].startswith("SEARCH") and "TEMP B-TREE" not in plan[walk + 1]


# --- sessions ---


def chat(**columns):
    """A chat with what was said first; returns its id."""
    row = {"id": new_id("chat_"), "agent_id": "writer", "status": "ready", "model": "a/b", "created_at": 1}
    row |= {"last_activity_at": 1} | columns
    with database.transaction():
        ChatSession.add(row)
        said = {"id": new_id("msg_"), "session_id": row["id"], "seq": 1, "role": "user", "status": "completed"}
        ChatMessage.add(said | {"content": "Hello " * 100, "created_at": 1})
    return row["id"]


def test_a_chat_is_a_session_with_what_was_said_first(api, settings):
    session_id = chat(llm_calls=3, input_tokens=5, project_id="proj_1")
    session = api.get(SESSIONS).json[0]
    assert session.keys() == AgentSessionSchema().fields.keys()
    assert (session["id"], session["kind"], session["status"]) == (session_id, "chat", "ready")
    assert session["prompt"] == ("Hello " * 100)[:500] and session["turn_count"] == 3


def test_a_chat_that_answers_shows_its_worker_and_its_tool(api, settings):
    answer = {"id": "msg_1", "role": "assistant", "status": "running", "owner": "wrk_1", "seq": 2, "created_at": 1}
    session_id = chat(status="running", active_message_id="msg_1")
    with database.transaction():
        ChatMessage.add(answer | {"session_id": session_id})
    factories.tool_use(None, session_id=session_id, message_id="msg_1", id="a", tool_name="read", status="intended")
    factories.tool_use(None, session_id=session_id, message_id="msg_0", id="b", tool_name="bash", status="intended")
    session = api.get(SESSIONS).json[0]
    assert (session["status"], session["worker"], session["current_tool"]) == ("running", "wrk_1", "read")


def test_chats_and_steps_are_one_list_of_pages_by_their_last_activity(api, settings):
    for moment in (1, 2, 2, 3):
        chat(last_activity_at=moment)
        run = factories.run()
        over = {"status": "completed", "done_version": 1, "queued_at": 1, "completed_at": moment}
        factories.visit(run, "FIX", **over)
    everything = api.get(f"{SESSIONS}?status=all").json
    assert [session["last_activity_at"] for session in everything] == [3, 3, 2, 2, 2, 2, 1, 1]
    for limit in (1, 2, 3):
        assert pages(api, f"{SESSIONS}?status=all&limit={limit}") == [session["id"] for session in everything]
    assert len(pages(api, f"{SESSIONS}?status=all&kind=chat&limit=2")) == 4
    queries = ["", "kind=step", "status=ready", "status=ended", "status=all&since=3", "agent_id=writer&status=all"]
    assert [len(api.get(f"{SESSIONS}?{query}").json) for query in queries] == [4, 0, 4, 0, 2, 4]


def test_a_real_chat_leaves_its_entries(api, settings):
    install("writer")
    script({})
    session_id = api.post("/v1/chat/sessions", json={"agent_id": "writer", "message": "Hi there"}).json["id"]
    chat_turns.answer_chat(session_id)
    ended, begun = api.get(TIMELINE).json
    assert (ended["type"], ended["data"]["status"]) == ("session_turn", "completed")
    assert ended["data"]["duration_ms"] >= 0 and ended["data"]["usage"]["llm_calls"] == 1
    assert (begun["data"]["prompt"], begun["session_id"], begun["agent_id"]) == ("Hi there", session_id, "writer")


def test_a_running_step_is_listed_from_its_queue_to_its_end(api, run_id):
    assert api.get(SESSIONS).json == []
    factories.visit(run_id, "FIX", status="queued", attempt=0, queued_at=5, completed_at=None)
    assert seen(api.get(SESSIONS), "id", "status") == [(f"{run_id}_FIX", "queued")]
    work = {"status": "running", "attempt": 1, "owner": "wrk_1", "started_at": 6, "prompt": "p" * 600}
    database.execute("DELETE FROM visits")
    factories.visit(run_id, "FIX", queued_at=5, **work)
    session = api.get(SESSIONS).json[0]
    assert session.keys() == AgentSessionSchema().fields.keys()
    assert session.items() >= {"status": "running", "worker": "wrk_1", "prompt": "p" * 500, "kind": "step"}.items()
    database.execute("UPDATE visits SET status = 'completed', done_version = 2, completed_at = 9")
    assert api.get(SESSIONS).json == []
    assert seen(api.get(f"{SESSIONS}?status=completed"), "status", "completed_at") == [("completed", 9)]


def test_an_attempt_under_way_shows_its_turns_and_its_tool(api, run_id):
    factories.visit(run_id, "FIX", status="running", owner="wrk_1", attempt=2, queued_at=1, started_at=2)
    place = {"epoch": 1, "n": 1, "step_key": "FIX", "attempt": 2}
    factories.call(run_id, **place, turn=1, input_tokens=7, output_tokens=3, cost_usd=0.5)
    factories.call(run_id, **place | {"attempt": 1}, turn=1, input_tokens=99)
    for number, status in enumerate(("done", "done", "intended")):
        factories.tool_use(run_id, **place, id=str(number), tool_name=f"tool{number}", status=status)
    session = api.get(SESSIONS).json[0]
    assert (session["turn_count"], session["tool_call_count"], session["current_tool"]) == (1, 2, "tool2")
    assert (session["usage"]["total_tokens"], session["usage"]["cost_usd"]) == (10, 0.5)


def test_a_step_is_one_line_however_often_it_was_entered(api, run_id):
    over = {"status": "completed", "done_version": 1, "queued_at": 1}
    for n in (1, 2, 3):
        factories.visit(run_id, "FIX", n, visit=n, completed_at=10 * n, **over)
    assert seen(api.get(f"{SESSIONS}?status=all"), "id", "completed_at") == [(f"{run_id}_FIX", 30)]
    for n, status in ((4, "queued"), (5, "running")):
        factories.visit(run_id, "FIX", n, visit=n, status=status, queued_at=40)
    assert seen(api.get(f"{SESSIONS}?status=all"), "status", "completed_at") == [("running", None)]
    assert api.get(f"{SESSIONS}?status=completed").json == []


def test_only_agents_steps_of_the_current_epoch_are_sessions(api, run_id):
    factories.visit(run_id, "FIX", 1, type="map", status="running", queued_at=1)
    factories.visit(run_id, "ASK", 2, agent_id=None, status="paused", queued_at=1)
    factories.visit(run_id, "OLD", 3, status="running", queued_at=1)
    factories.visit(run_id, "TEST", 1, epoch=2, status="retrying", queued_at=1, error="again")
    factories.set_status(run_id, "running", epoch=2)
    assert seen(api.get(SESSIONS), "step_id", "status", "error") == [("TEST", "waiting", "again")]


def test_sessions_take_filters_and_pages(api, settings):
    for number in range(5):
        run = factories.run(project_id="proj_1" if number % 2 else None)
        factories.set_status(run, "running", updated_at=100 + number)
        over = {"status": "failed", "done_version": 1, "queued_at": 1, "completed_at": number}
        factories.visit(run, "FIX", 1, **over, agent_id="writer" if number == 4 else "developer")
        factories.visit(run, "TEST", 2, status="running", queued_at=1)
    found = pages(api, f"{SESSIONS}?status=all&limit=3")
    assert len(found) == len(set(found)) == 10
    assert found == [session["id"] for session in api.get(f"{SESSIONS}?status=all").json]
    queries = ["status=failed", "status=all&project_id=proj_1", "agent_id=writer", "status=failed&agent_id=writer"]
    queries += ["since=103", "status=failed&since=3", "kind=chat", "kind=step", "status=waiting"]
    assert [len(api.get(f"{SESSIONS}?{query}").json) for query in queries] == [5, 4, 0, 1, 2, 2, 0, 5, 0]


def test_a_real_run_leaves_its_sessions_behind(api, settings):
    run = Engine(TWO_STEPS).finish()
    found = api.get(f"{SESSIONS}?status=all").json
    assert {session["id"] for session in found} == {f"{run.run_id}_{visit.step_key}" for visit in run.visits}
    assert all(session["status"] == "completed" and session["turn_count"] for session in found)
    assert api.get(SESSIONS).json == []


@on_sqlite
def test_a_session_of_no_known_kind_or_status_is_refused(api):
    for query in ("kind=x", "status=x", "status=pending"):
        assert api.get(f"{SESSIONS}?{query}").status_code == 422
