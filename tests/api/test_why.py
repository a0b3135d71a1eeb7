"""GET /v1/runs/{id}/why."""

from __future__ import annotations

import pytest

from api.resources.control_schemas import WhySchema
from models import database, outbox, snapshots, workers
from models.base import now_ms
from models.outbox import Outbox
from models.workers import Worker
from tests.api import factories
from tests.end_to_end.test_people_and_branches import ASK, FAN, until_paused
from tests.engine import Engine
from workers import runs, steps

NARROW = FAN.replace("id: fan", "id: fan\nmaxParallel: 1")


@pytest.fixture
def worker(settings):
    return workers.register("1.0.0", slots=8)


@pytest.fixture
def running(run_id):
    factories.set_status(run_id, "running")
    return run_id


def why(api, run_id):
    return api.get(f"/v1/runs/{run_id}/why").json


def only(api, run_id):
    """The one reason there is."""
    (reason,) = why(api, run_id)["reasons"]
    return reason


def fan(text=FAN):
    """A running run of a fan with a join: A is done, so B, C and D are entered."""
    hash = f"sha256:{len(text)}"
    with database.transaction():
        snapshots.keep(hash, "fan", text)
    run_id = factories.run(pipeline_hash=hash, status="running")
    factories.visit(run_id, "A", 1, done_version=1, passed=True)
    return run_id


# --- works ---


def test_a_run_that_is_over_waits_for_nothing(api):
    answer = why(api, factories.run(status="failed", error="boom", failed_step="FIX", completed_at=7))
    assert answer.keys() == WhySchema().fields.keys()
    assert (answer["waiting"], answer["summary"]) == (False, "The run is failed: boom")
    (reason,) = answer["reasons"]
    assert (reason["code"], reason["step_id"], reason["since"]) == ("finished", "FIX", 7)


def test_a_step_that_is_worked_on_waits_for_nothing(api, running, worker):
    factories.visit(running, "FIX", status="running", owner=worker)
    answer = why(api, running)
    assert (answer["waiting"], answer["summary"], answer["reasons"]) == (False, "FIX: at work", [])


def test_without_a_worker_nothing_starts(api, run_id):
    answer = why(api, run_id)
    assert (answer["waiting"], answer["summary"]) == (True, "No worker is there: start one")
    assert only(api, run_id)["code"] == "no_worker"


def test_a_doorbell_that_nobody_rings_is_told_from_a_queue(api, run_id, worker):
    with database.transaction():
        outbox.add("advance_run", run_id, delay_ms=-6_000)
    assert only(api, run_id)["code"] == "queue_unreachable"
    Outbox.update(rings=1).execute()
    assert only(api, run_id)["code"] == "workers_busy"


def test_a_run_in_line_knows_its_place_and_who_is_before_it(api, worker):
    first, second = factories.run(), factories.run()
    with database.transaction():
        outbox.add("advance_run", first, delay_ms=-2_000)
        outbox.add("advance_run", second, delay_ms=-1_000)
        outbox.add("advance_run", second, delay_ms=-500)
    Worker.update(busy=8).execute()
    factories.visit(first, "FIX", status="running", owner=worker)
    refs = only(api, second)["refs"]
    assert refs == {"position": 2, "slots": 8, "holders": [{"run_id": first, "step_id": "FIX"}]}


def test_a_repeat_is_named_with_its_time_and_its_error(api, running, worker):
    due = now_ms() + 8_000
    failed = {"status": "retrying", "due_at": due, "error": "429 from openai", "error_code": "provider_transient"}
    factories.visit(running, "FIX", model="openai/small", retry_count=1, completed_at=3, **failed)
    reason = only(api, running)
    assert (reason["code"], reason["step_id"], reason["since"], reason["until"]) == ("retry_backoff", "FIX", 3, due)
    assert reason["refs"] == {"error_code": "provider_transient", "provider": "openai"}
    assert "(attempt 2 of 3): 429 from openai" in reason["message"]


def test_a_repeat_whose_time_has_come_waits_for_a_worker(api, running):
    factories.visit(running, "FIX", status="retrying", due_at=now_ms() - 1, queued_at=5)
    assert (only(api, running)["code"], only(api, running)["since"]) == ("no_worker", 5)


@pytest.mark.parametrize(
    ("kind", "code"), [("step", "approval"), ("tool", "approval"), ("budget", "budget"), ("effect", "attention")]
)
def test_what_a_person_must_decide_is_named(api, running, kind, code):
    approval_id = factories.approval(running, kind=kind, data={"tool_name": "bash"}, expires_at=9)
    factories.visit(running, "FIX", status="paused", approval_id=approval_id)
    factories.set_status(running, "paused", status_reason=code)
    reason = only(api, running)
    assert (reason["code"], reason["step_id"], reason["until"]) == (code, "FIX", 9)
    assert reason["refs"] == {"approval_id": approval_id, "kind": kind, "tool": "bash"}


def test_a_persons_pause_comes_before_what_else_it_waits_for(api, settings):
    run = until_paused(Engine(ASK))
    runs.pause(run.run_id)
    answer = why(api, run.run_id)
    assert [reason["code"] for reason in answer["reasons"]] == ["paused_by_user", "approval"]
    assert answer["summary"] == "A person paused the run; resume it"


def test_a_child_run_is_named_with_its_status(api, running):
    child = factories.run(parent_run_id=running)
    factories.visit(running, "FIX", type="pipeline", status="running", child_run_id=child, agent_id=None)
    reason = only(api, running)
    assert (reason["code"], reason["refs"]) == ("child_run", {"run_id": child, "status": "pending"})


def test_a_silent_worker_is_named_with_the_end_of_its_lease(api, running, worker):
    factories.visit(running, "FIX", status="running", owner=worker)
    seen = now_ms() - 25_000
    Worker.update(seen_at=seen).execute()
    answer = why(api, running)
    (reason,) = answer["reasons"]
    assert (answer["waiting"], reason["code"], reason["until"]) == (True, "worker_lost", seen + 30_000)
    Worker.delete().execute()
    assert (only(api, running)["code"], only(api, running)["until"]) == ("worker_lost", None)


def test_a_step_whose_worker_is_gone_waits_for_another_one(api, running):
    factories.visit(running, "FIX", status="running", interrupted="worker_lost")
    assert only(api, running)["code"] == "no_worker"


def test_a_join_names_what_is_still_missing(api, worker):
    run_id = fan()
    factories.visit(run_id, "B", 2, done_version=2, passed=True, completed_at=6)
    for n, key in enumerate("CD", 3):
        factories.visit(run_id, key, n, status="running", owner=worker)
    answer = why(api, run_id)
    (reason,) = answer["reasons"]
    assert (answer["waiting"], answer["summary"]) == (False, "C, D: at work")
    assert (reason["code"], reason["step_id"], reason["since"]) == ("join", "E", 6)
    assert (reason["refs"], reason["message"]) == ({"needs": ["C", "D"]}, "E starts when C, D are done")


def test_a_join_that_has_run_waits_for_nothing_old(api, worker):
    run_id = fan()
    factories.visit(run_id, "B", 2, done_version=2, passed=True)
    factories.visit(run_id, "C", 3, status="running", owner=worker)
    factories.visit(run_id, "E", 4, planned_version=3, done_version=4, passed=True)
    assert why(api, run_id)["reasons"] == []


def test_a_run_at_its_own_limit_names_the_steps_that_fill_it(api, worker):
    run_id = fan(NARROW)
    factories.visit(run_id, "B", 2, status="running", owner=worker)
    factories.visit(run_id, "C", 3, status="queued", queued_at=4, attempt=0)
    reason = only(api, run_id)
    assert (reason["code"], reason["step_id"], reason["since"]) == ("agent_limit", "C", 4)
    assert reason["refs"] == {"limit": 1, "holders": ["B"]}


def test_a_map_that_waits_for_its_items_is_no_reason(api, running, worker):
    factories.visit(running, "FIX", 1, type="map", status="running", items=["a"], attempt=0)
    factories.visit(running, "FIX", 2, scope=[["FIX", 1, 0]], status="running", owner=worker)
    assert why(api, running)["reasons"] == []


def test_a_run_of_the_engine_explains_itself_at_every_stage(api, settings):
    run = Engine(ASK)
    codes = [only(api, run.run_id)["code"]]
    codes.append(only(api, until_paused(run).run_id)["code"])
    runs.cancel(run.run_id)
    steps.advance_run(run.run_id)
    assert [*codes, only(api, run.run_id)["code"]] == ["no_worker", "approval", "finished"]


# --- missing ---


def test_what_does_not_exist_is_not_found(api):
    assert api.get("/v1/runs/run_x/why").json["code"] == "run_not_found"


# --- cost ---


def test_an_answer_takes_few_statements(api, running, monkeypatch, worker):
    for n in range(1, 6):
        factories.visit(running, "FIX", n, status="queued", attempt=0)
    Worker.update(busy=8).execute()
    why(api, running)
    seen, execute = [], database.db.obj.execute_sql
    monkeypatch.setattr(database.db.obj, "execute_sql", lambda sql, *rest: seen.append(sql) or execute(sql, *rest))
    assert only(api, running)["code"] == "workers_busy"
    assert len(seen) == 5
