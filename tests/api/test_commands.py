"""POST /v1/runs/{id}/cancel and /restart."""

from __future__ import annotations

import pytest

from models import database
from models.outbox import Outbox
from tests.api import factories

EXECUTE = {"pipeline_id": "execute", "task_description": "Say hello"}


@pytest.fixture
def pending(api):
    return api.post("/v1/runs", json=EXECUTE).json["id"]


def types(api, run_id):
    return [event["type"] for event in api.get(f"/v1/runs/{run_id}/events").json]


# --- cancel ---


def test_a_run_is_cancelled_at_once_and_for_good(api, pending):
    answer = api.post(f"/v1/runs/{pending}/cancel", json={"reason": "Wrong one"})
    assert (answer.status_code, answer.json["status"], answer.json["run_id"]) == (200, "cancelled", pending)
    run = api.get(f"/v1/runs/{pending}").json
    assert (run["status"], run["completed_at"]) == ("cancelled", answer.json["completed_at"])
    assert {step["status"] for step in run["steps"]} == {"skipped"}
    assert types(api, pending) == ["run_created", "run_cancelled"]


def test_cancelling_again_writes_nothing_and_answers_the_same(api, pending):
    first = api.post(f"/v1/runs/{pending}/cancel")
    assert api.post(f"/v1/runs/{pending}/cancel", json={}).json == first.json
    assert types(api, pending).count("run_cancelled") == 1


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_finished_run_cannot_be_cancelled(api, pending, status):
    factories.set_status(pending, status)
    answer = api.post(f"/v1/runs/{pending}/cancel")
    assert (answer.status_code, answer.json["code"]) == (409, "run_already_finished")
    assert answer.json["allowed"] == ["restart"]


@pytest.mark.parametrize("body", [{"reason": "x" * 501}, {"why": "x"}, {"reason": 5}])
def test_a_bad_cancel_is_refused(api, pending, body):
    assert api.post(f"/v1/runs/{pending}/cancel", json=body).status_code == 422


# --- restart ---


def test_a_restart_begins_a_new_epoch_and_keeps_the_guidance(api, pending):
    api.post(f"/v1/runs/{pending}/cancel")
    answer = api.post(f"/v1/runs/{pending}/restart", json={"context": "Use PostgreSQL"})
    run = answer.json
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/v1/runs/{pending}")
    assert (run["status"], run["epoch"], run["error"], run["completed_at"]) == ("pending", 2, None, None)
    assert "Use PostgreSQL" in run["human_context"]
    assert types(api, pending)[-1] == "run_restarted"
    assert Outbox.select().count() == 1


def test_a_live_run_cannot_be_restarted(api, pending):
    answer = api.post(f"/v1/runs/{pending}/restart")
    assert (answer.status_code, answer.json["code"]) == (409, "run_active")


def test_a_completed_run_has_nothing_failed(api, pending):
    factories.set_status(pending, "completed")
    assert api.post(f"/v1/runs/{pending}/restart", json={"from": "failed"}).json["code"] == "nothing_failed"


@pytest.mark.parametrize("body", [{"from": "a b"}, {"context": " "}, {"pipeline": "newest"}, {"max_tokens": 0}, []])
def test_a_bad_restart_is_refused(api, pending, body):
    api.post(f"/v1/runs/{pending}/cancel")
    assert api.post(f"/v1/runs/{pending}/restart", json=body).status_code == 422


def test_a_restart_with_a_key_is_replayed(api, pending):
    api.post(f"/v1/runs/{pending}/cancel")
    key = {"Idempotency-Key": "r"}
    first, again = (api.post(f"/v1/runs/{pending}/restart", headers=key) for _ in range(2))
    assert (again.status_code, again.json) == (202, first.json)


def test_what_does_not_exist_is_not_found(api):
    for command in ("cancel", "restart"):
        assert api.post(f"/v1/runs/run_x/{command}").json["code"] == "run_not_found"


def test_a_command_leaves_no_transaction_open(api, pending):
    api.post(f"/v1/runs/{pending}/cancel")
    assert not database.db.in_transaction()
