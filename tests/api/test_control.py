"""Runs beyond start and cancel: pause, resume, fork, removal, many at once."""

from __future__ import annotations

import pytest

from models import config, events, tokens
from models.runs import Run
from tests.api import factories
from tests.api.conftest import on_sqlite
from tests.end_to_end.test_people_and_branches import ASK, HEAD, until_paused
from tests.engine import Engine

CHAIN = f"""id: chain
{HEAD}
  - {{id: A, agent: a, input: "a {{{{task_description}}}}", outputs: [x], onComplete: B}}
  - {{id: B, agent: a, input: "b {{{{x}}}}", outputs: [y], onComplete: C}}
  - {{id: C, agent: a, input: "c {{{{y}}}}", outputs: [z]}}
"""
FAILING = {"B": ["STATUS: failed\nERROR: no B"]}


@pytest.fixture
def pending(api):
    return api.post("/v1/runs", json={"pipeline_id": "execute", "task_description": "Say hello"}).json["id"]


@pytest.fixture
def finished(settings):
    return Engine(CHAIN, {"A": ["ex"], "B": ["why"], "C": ["zed"]}).finish()


def post(api, run_id, command, body=None, **options):
    return api.post(f"/v1/runs/{run_id}/{command}", json=body or {}, **options)


def types(api, run_id):
    return [event["type"] for event in api.get(f"/v1/runs/{run_id}/events").json]


def bulk(api, action, filter, **options):
    return api.post("/v1/runs/bulk", json={"action": action, "filter": filter} | options).json


# --- pause and resume ---


def test_a_paused_run_is_shown_as_such_and_goes_on_when_resumed(api, pending):
    paused = post(api, pending, "pause", {"reason": "Wait"})
    assert (paused.status_code, paused.json["status"], paused.json["status_reason"]) == (200, "paused", "user")
    resumed = post(api, pending, "resume")
    assert (resumed.status_code, resumed.json["status"], resumed.json["status_reason"]) == (202, "pending", None)
    assert "steps" not in resumed.json
    assert types(api, pending) == ["run_created", "run_paused", "run_resumed"]


def test_pausing_again_writes_nothing(api, pending):
    first = post(api, pending, "pause").json
    assert post(api, pending, "pause").json == first
    assert types(api, pending).count("run_paused") == 1


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_what_is_over_can_be_neither_paused_nor_resumed(api, pending, status):
    factories.set_status(pending, status)
    codes = [post(api, pending, command).json["code"] for command in ("pause", "resume")]
    assert codes == ["run_not_active", "not_paused"]


def test_a_run_that_waits_for_a_decision_is_not_resumed(api, settings):
    run = until_paused(Engine(ASK))
    answer = post(api, run.run_id, "resume")
    assert (answer.status_code, answer.json["code"]) == (409, "waiting_for_decision")


@on_sqlite
@pytest.mark.parametrize(("command", "body"), [("pause", {"reason": "x" * 501}), ("pause", []), ("resume", {"x": 1})])
def test_a_bad_pause_or_resume_is_refused(api, pending, command, body):
    assert api.post(f"/v1/runs/{pending}/{command}", json=body).status_code == 422


# --- fork ---


def test_a_fork_takes_over_what_came_before_its_step(api, finished):
    answer = post(api, finished.run_id, "fork", {"from_step": "C", "changes": {"task": "Other", "tags": ["f"]}})
    fork = answer.json
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/v1/runs/{fork['id']}")
    assert (fork["status"], fork["task"], fork["tags"]) == ("pending", "Other", ["f"])
    assert fork["forked_from"] == {"run_id": finished.run_id, "epoch": 1, "from_step": "C"}
    steps = {step["step_id"]: (step["status"], step["copied_from"]) for step in fork["steps"]}
    assert steps["A"] == steps["B"] == ("completed", finished.run_id)
    assert fork["usage"]["llm_calls"] == 0


def test_a_fork_runs_with_the_outputs_it_was_given(api, finished):
    fork = post(api, finished.run_id, "fork", {"from_step": "C", "changes": {"outputs": {"Y": "changed"}}}).json
    assert next(step for step in fork["steps"] if step["step_id"] == "B")["outputs"] == {"y": "changed"}
    assert api.get(f"/v1/runs/{finished.run_id}").json["outputs"]["y"] == "why"


def test_a_fork_with_a_key_is_made_once(api, finished):
    key = {"Idempotency-Key": "f"}
    first, again = (post(api, finished.run_id, "fork", {"from_step": "B"}, headers=key) for _ in range(2))
    assert (again.status_code, again.json) == (201, first.json)
    assert Run.select().count() == 2


def test_a_fork_begins_only_where_the_run_has_been(api, pending, finished):
    assert post(api, pending, "fork", {"from_step": "EXECUTE"}).json["code"] == "run_pending"
    answer = post(api, finished.run_id, "fork", {"from_step": "NOWHERE"})
    assert (answer.status_code, answer.json["code"]) == (422, "unknown_step")
    failed = Engine(CHAIN, FAILING).finish().run_id
    assert post(api, failed, "fork", {"from_step": "C"}).json["code"] == "step_not_reached"


@on_sqlite
@pytest.mark.parametrize(
    "body",
    [
        *({}, {"from_step": "a b"}, {"from_step": "A", "changes": []}, {"from_step": "A", "x": 1}),
        *({"from_step": "A", "changes": changes} for changes in ({"outputs": {"a b": "x"}}, {"outputs": {"a": 5}})),
        *({"from_step": "A", "changes": changes} for changes in ({"max_tokens": 0}, {"pipeline": "newest"}, {"x": 1})),
    ],
)
def test_a_bad_fork_is_refused(api, pending, body):
    assert api.post(f"/v1/runs/{pending}/fork", json=body).status_code == 422


# --- removal ---


def test_a_removed_run_is_gone_with_its_events_and_its_workspace(api, finished):
    folder = config.get().workspaces_dir / finished.run_id
    folder.mkdir(parents=True)
    assert api.delete(f"/v1/runs/{finished.run_id}").status_code == 204
    assert (api.get("/v1/runs").json, api.get("/v1/llm-calls").json, folder.exists()) == ([], [], False)
    assert not events.StoredEvent.select().where(events.StoredEvent.stream == finished.run_id).count()
    assert api.delete(f"/v1/runs/{finished.run_id}").status_code == 404


def test_a_live_run_is_not_removed(api, pending):
    answer = api.delete(f"/v1/runs/{pending}")
    assert (answer.status_code, answer.json["code"]) == (409, "run_active")


def test_a_run_that_has_changed_meanwhile_is_not_removed(api, finished):
    url = f"/v1/runs/{finished.run_id}"
    assert api.delete(url, headers={"If-Match": '"1.1"'}).status_code == 412
    assert api.delete(url, headers={"If-Match": api.get(url).headers["ETag"]}).status_code == 204


@on_sqlite
def test_removal_needs_an_admin(anyone, pending):
    sent = {"Authorization": f"Bearer {tokens.create('r', 'run')[1]}"}
    assert anyone.delete(f"/v1/runs/{pending}", headers=sent).status_code == 403


# --- many at once ---


def test_all_that_match_are_cancelled_oldest_first(api):
    made = [factories.run(tags=("x",)) for _ in range(3)]
    other = factories.run()
    answer = bulk(api, "cancel", {"tag": "x"}, max=2)
    assert (answer["matched"], answer["done"], answer["failed"], answer["more"]) == (2, 2, 0, True)
    assert answer["results"][0] == {"run_id": made[0], "ok": True, "status": "cancelled", "code": None}
    assert [result["run_id"] for result in answer["results"]] == made[:2]
    assert bulk(api, "cancel", {"tag": "x"})["matched"] == 1
    assert api.get(f"/v1/runs/{other}").json["status"] == "pending"


def test_dead_runs_are_found_and_restarted(api):
    dead = factories.run(status="failed", error="lost 3 workers", error_code="worker_lost", failed_step="FIX")
    factories.visit(dead, "FIX", status="failed", error_code="worker_lost")
    factories.run(status="completed")
    child = factories.run(status="failed", parent_run_id="run_p")
    assert [run["error_code"] for run in api.get("/v1/runs?status=failed&parent_run_id=none").json] == ["worker_lost"]
    assert [run["id"] for run in api.get("/v1/runs?status=failed&q=lost worker").json] == [dead]
    assert [run["id"] for run in api.get("/v1/runs?error_code=worker_lost").json] == [dead]
    assert bulk(api, "restart", {"error_code": "worker_lost"}, dry_run=True)["results"][0]["run_id"] == dead
    answer = bulk(api, "restart", {"pipeline_id": "two", "status": ["failed", "failed"]}, **{"from": "failed"})
    assert [(result["run_id"], result["code"]) for result in answer["results"]] == [(dead, None), (child, "child_run")]
    assert (api.get(f"/v1/runs/{dead}").json["epoch"], answer["done"], answer["failed"]) == (2, 1, 1)


def test_one_refusal_does_not_stop_the_others(api):
    done, live = factories.run(status="completed"), factories.run()
    answer = bulk(api, "cancel", {"ids": [live, done, "run_unknown"]})
    found = {result["run_id"]: (result["ok"], result["status"], result["code"]) for result in answer["results"]}
    assert found == {done: (False, "completed", "run_already_finished"), live: (True, "cancelled", None)}


def test_without_a_status_only_what_the_action_can_change_is_taken(api):
    live, over = factories.run(), factories.run(status="failed")
    factories.run(status="failed", parent_run_id="run_p")
    for action, expected in (("cancel", [live]), ("restart", [over])):
        answer = bulk(api, action, {"pipeline_id": "two"}, dry_run=True)
        assert [result["run_id"] for result in answer["results"]] == expected


def test_a_dry_run_changes_nothing(api, run_id):
    answer = bulk(api, "cancel", {"q": "fence"}, dry_run=True)
    assert answer["results"] == [{"run_id": run_id, "ok": True, "status": "pending", "code": None}]
    assert (answer["matched"], answer["done"], answer["failed"], answer["more"]) == (1, 0, 0, False)
    assert types(api, run_id) == ["run_created"]


@on_sqlite
@pytest.mark.parametrize(
    "body",
    [
        *({}, {"action": "cancel"}, {"action": "cancel", "filter": {}}, {"action": "cancel", "filter": {"ids": []}}),
        {"action": "pause", "filter": {"tag": "x"}},
        *({"action": "cancel", "filter": {"tag": "x"}, **more} for more in ({"max": 0}, {"max": 1001}, {"x": 1})),
        *({"action": "cancel", "filter": found} for found in ({"status": ["asleep"]}, {"q": "x"}, {"tag": "-"})),
    ],
)
def test_a_bad_bulk_is_refused(api, body):
    assert api.post("/v1/runs/bulk", json=body).status_code == 422


# --- missing ---


def test_what_does_not_exist_is_not_found(api):
    calls = [post(api, "run_x", command) for command in ("pause", "resume")]
    calls += [post(api, "run_x", "fork", {"from_step": "A"}), api.delete("/v1/runs/run_x")]
    assert {(answer.status_code, answer.json["code"]) for answer in calls} == {(404, "run_not_found")}
