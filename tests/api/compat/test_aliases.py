"""The aliases for older clients: runs, steps, chats, and that nothing needs them."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from models.events import Event
from tests.api import factories
from tests.api.conftest import ROOT, TOKEN, on_sqlite
from tests.chat import Chat, install, script
from tests.engine import Engine

CALL = {"tool_call_id": "c1", "tool_name": "read", "turn": 1, "message_id": None}


def happen(run_id, type, key=None, **payload):
    place = {"step_id": key, "session_id": f"{run_id}_{key}", "attempt": 1} if key else {}
    factories.record(run_id, Event(type, run_id=run_id, epoch=1, **place, agent_id="developer", payload=payload))


def types(answer):
    return [frame["type"] for frame in answer.json]


# --- runs and steps ---


def test_the_log_of_a_run_is_told_in_the_older_words(api, settings):
    run = Engine("execute", {"EXECUTE": ["ok"]}).finish()
    found = api.get(f"/v1/runs/{run.run_id}/logs")
    assert types(found) == [
        *("RUN_CREATED", "RUN_STATUS_CHANGED", "STEP_QUEUED", "STEP_STARTED", "STEP_OUTPUT", "LLM_CALL"),
        *("STEP_COMPLETE", "RUN_COMPLETE"),
    ]
    created, started, output = found.json[0], found.json[1], found.json[4]
    assert created["task"] == created["taskDescription"] == "Build a todo app"
    assert (created["pipelineId"], created["runId"], started["status"]) == ("execute", run.run_id, "running")
    assert output["chunk"] == "ok" and output["stepId"] == "EXECUTE" and output["seq"] == 5
    assert "text" not in output and "epoch" not in output


def test_tool_calls_carry_their_arguments_as_text(api, run_id):
    happen(run_id, "tool_call_start", "FIX", **CALL, arguments={"path": "a"})
    happen(run_id, "tool_call_end", "FIX", **CALL, result="x", is_error=True, duration_ms=5)
    start, end = api.get(f"/v1/steps/{run_id}/FIX/logs").json
    assert (start["type"], start["args"], start["toolName"]) == ("TOOL_CALL_START", '{"path":"a"}', "read")
    assert (end["type"], end["isError"], end["durationMs"], end["toolCallId"]) == ("TOOL_CALL_END", True, 5, "c1")


def test_a_cancelled_run_changes_its_status_and_then_fails(api, run_id):
    api.post(f"/v1/runs/{run_id}/cancel")
    changed, failed = api.get(f"/v1/runs/{run_id}/logs").json[-2:]
    assert (changed["type"], changed["status"]) == ("RUN_STATUS_CHANGED", "cancelled")
    assert (failed["type"], failed["error"], failed["cancelled"]) == ("RUN_FAILED", "Run cancelled", True)


def test_logs_may_leave_out_what_agents_say_and_are_of_one_step_if_asked(api, run_id):
    factories.say(run_id, "FIX", "one", "two")
    factories.say(run_id, "TEST", "three")
    assert len(types(api.get(f"/v1/runs/{run_id}/logs"))) == 4
    assert types(api.get(f"/v1/runs/{run_id}/logs?text=false")) == ["RUN_CREATED"]
    assert [frame["chunk"] for frame in api.get(f"/v1/steps/{run_id}/{run_id}_TEST/logs").json] == ["three"]


def test_outputs_and_steps_of_a_run_are_those_of_the_other_routes(api, settings):
    run = Engine("execute", {"EXECUTE": ["RESULT: done"]}).finish()
    assert api.get(f"/v1/runs/{run.run_id}/outputs").json == api.get(f"/v1/runs/{run.run_id}").json["outputs"]
    steps = api.get(f"/v1/steps/{run.run_id}").json
    assert api.get(f"/v1/runs/{run.run_id}/steps").json == api.get(f"/v1/runs/{run.run_id}/steps/").json == steps
    assert api.get(f"/v1/runs/{run.run_id}/steps?status=failed").json == []


@pytest.mark.parametrize("path", ["/v1/runs/{run}/steps/EXECUTE/restart", "/v1/steps/{run}/{run}_EXECUTE/restart"])
def test_a_step_is_restarted_with_and_without_guidance(api, settings, path):
    run = Engine("execute", {"EXECUTE": ["ok"]}).finish()
    url = path.replace("{run}", run.run_id)
    answer = api.post(url)
    assert (answer.status_code, answer.json["epoch"], answer.json["status"]) == (202, 2, "pending")
    assert api.post(url).json["code"] == "run_active"
    run.finish()
    assert "Gently" in api.post(url, json={"context": "Gently"}).json["human_context"]


@on_sqlite
def test_what_does_not_exist_is_not_found_and_strangers_are_refused(api, anyone, run_id):
    for path in ("/v1/runs/run_x/logs", "/v1/runs/run_x/outputs", "/v1/runs/run_x/steps", f"/v1/steps/{run_id}/X/logs"):
        assert (api.get(path).status_code, anyone.get(path).status_code) == (404, 401)
    assert api.post(f"/v1/runs/{run_id}/steps/X/restart").status_code == 404
    assert api.post(f"/v1/runs/{run_id}/steps/FIX/restart", json={"x": 1}).status_code == 422


# --- a token in the query ---


@on_sqlite
@pytest.mark.parametrize("path", ["/v1/events/stream/run_x", "/v1/agents/sessions/chat_x/events"])
def test_a_token_in_the_query_is_ignored_beside_a_good_header_only(api, anyone, path):
    assert api.get(f"{path}?token={TOKEN}").status_code == 404
    assert anyone.get(f"{path}?token={TOKEN}").status_code == 400
    wrong = {"Authorization": "Bearer wrong"}
    assert anyone.get(f"{path}?token={TOKEN}", headers=wrong).status_code == 401
    assert api.get(f"/v1/events/stream?token={TOKEN}").status_code == 400


# --- chats ---


@pytest.fixture
def chat(api, settings):
    """A chat that was started the older way."""
    install("writer")
    script({"chat:writer": ["Hello!"]})
    answer = api.post("/v1/agents/writer/chat/start", json={"systemPromptSupplement": "Be brief"})
    assert (answer.status_code, answer.json["message"], answer.json["status"]) == (201, "", "ready")
    return Chat.of(answer.json["sessionId"])


def test_a_chat_is_started_answered_and_ended(api, chat):
    base = f"/v1/agents/writer/chat/{chat.id}"
    said = api.post(f"{base}/message", json={"message": "Hi"})
    assert (said.status_code, said.json["status"]) == (202, "queued")
    assert chat.work().answers[0]["id"] == said.json["assistantMessageId"]
    assert api.get(f"{base}/status").json.items() >= {"status": "ready", "exists": True, "messageCount": 2}.items()
    assert api.post(f"{base}/stop").json == {"status": "stopped", "sessionId": chat.id}
    for _ in range(2):
        assert api.post(f"{base}/end").json == {"status": "ended", "sessionId": chat.id}
    assert api.get(f"{base}/status").json["status"] == "completed"


def test_chats_of_an_agent_are_listed_by_offset(api, chat):
    other = Chat(title="Second")
    api.post(f"/v1/agents/writer/chat/{chat.id}/end")
    first = api.get("/v1/agents/writer/chat/sessions?limit=1").json
    assert (len(first["sessions"]), first["total"], first["has_more"]) == (1, 2, True)
    second = api.get("/v1/agents/writer/chat/sessions?limit=1&offset=1").json
    assert {first["sessions"][0]["id"], second["sessions"][0]["id"]} == {chat.id, other.id}
    assert second["has_more"] is False
    ended = api.get("/v1/agents/writer/chat/sessions?status=completed").json["sessions"]
    assert [(session["id"], session["status"]) for session in ended] == [(chat.id, "completed")]


@on_sqlite
def test_the_chat_of_another_agent_is_not_found(api, chat):
    base = f"/v1/agents/tester/chat/{chat.id}"
    assert api.get(f"{base}/status").json["status"] == "not_found"
    for what in ("message", "stop", "end"):
        assert api.post(f"{base}/{what}", json={"message": "x"} if what == "message" else None).status_code == 404
    assert api.post("/v1/agents/nobody/chat/start").status_code == 404


# --- nothing needs them ---


@on_sqlite
def test_aliases_are_marked_in_the_document_and_absent_from_its_page(anyone):
    paths = anyone.get("/openapi.json").json["paths"]
    assert paths["/v1/runs/{run_id}/logs"]["get"]["x-alias"] is True
    assert "x-alias" not in paths["/v1/runs/{run_id}"]["get"]
    assert "AliasRunLogs" not in anyone.get("/docs").text


def test_without_their_folder_everything_else_is_as_before(tmp_path):
    for package in ("api", "models", "pipelines", "workers"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(tmp_path / "api" / "compat")
    program = "from api.app import create_app; print(len(list(create_app(start=False).url_map.iter_rules())))"
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, '.'); {program}"]
    environment = {"DATA_DIR": str(tmp_path / "data"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 60
