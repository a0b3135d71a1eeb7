"""GET /v1/status."""

from __future__ import annotations

import time

import pytest

from api import probes
from api.resources.status import StatusSchema
from models import config, workers
from models.base import now_ms
from models.runs import Run
from models.workers import Worker
from tests.api import factories

SHORT = {"status", "redis_connected", "database_connected"}


def test_everybody_learns_whether_it_is_up_and_nothing_more(anyone):
    assert anyone.get("/v1/status").json.keys() == SHORT


def test_a_token_shows_every_field(api):
    status = api.get("/v1/status").json
    assert status.keys() == StatusSchema().fields.keys()
    names = [component["name"] for component in status["components"]]
    assert sorted(names) == ["database", "disk", "github", "llm_providers", "outbox", "redis", "workers"]
    assert status["total_pipelines"] == len(api.get("/v1/pipelines?valid=true").json) > 7


def test_without_a_worker_it_is_degraded_and_with_one_it_is_ok(api):
    assert api.get("/v1/status").json["status"] == "degraded"
    worker_id = workers.register("1.2.3", slots=8)
    probes.forget()
    status = api.get("/v1/status").json
    assert (status["status"], status["engine_version"]) == ("ok", "1.2.3")
    assert status["workers"] == {"alive": 1, "busy": 0, "slots": 8}
    Worker.update(seen_at=now_ms() - 31_000).where(Worker.id == worker_id).execute()
    probes.forget()
    assert api.get("/v1/status").json["status"] == "degraded"


def test_runs_are_counted_by_status_and_by_the_last_hour(api):
    now = now_ms()
    for status in ("pending", "running", "running", "paused"):
        factories.run(status=status)
    factories.run(status="completed", started_at=now - 3000, completed_at=now - 1000)
    factories.run(status="completed", started_at=now - 5000, completed_at=now - 1000)
    factories.run(status="failed", started_at=now - 10, completed_at=now)
    factories.run(status="completed", started_at=now - 9_000_000, completed_at=now - 3_700_000)
    status = api.get("/v1/status").json
    assert (status["active_runs"], status["paused_runs"], status["queue"]["pending_runs"]) == (2, 1, 1)
    assert (status["completed_runs_last_hour"], status["failed_runs_last_hour"], status["avg_duration"]) == (2, 1, 3000)


def test_waiting_work_is_shown_with_its_age(api):
    run_id = factories.run()
    factories.visit(run_id, "FIX", status="retrying")
    Run.update(created_at=now_ms() - 5000).execute()
    queue = api.get("/v1/status").json["queue"]
    assert queue["retrying_steps"] == 1
    assert 5000 <= queue["oldest_pending_ms"] < 60_000


def test_an_answer_is_kept_for_two_seconds(api):
    assert api.get("/v1/status").json["active_runs"] == 0
    factories.run(status="running")
    assert api.get("/v1/status").json["active_runs"] == 0
    probes.forget()
    assert api.get("/v1/status").json["active_runs"] == 1


def test_without_the_database_it_answers_within_a_second_and_says_so(api):
    factories.lose_database()
    began = time.monotonic()
    status = api.get("/v1/status").json
    assert time.monotonic() - began < 1
    assert (status["status"], status["database_connected"], status["active_runs"]) == ("degraded", False, None)


@pytest.mark.parametrize(("name", "value"), [("OPENAI_API_KEY", "x"), ("DEFAULT_MODEL", "local/x")])
def test_a_model_that_can_be_used_is_enough(api, settings, name, value):
    for other in ("DEFAULT_MODEL", "SCRIPTED_REPLIES", *config.provider_keys()):
        settings.delenv(other, raising=False)
    config.get.cache_clear()
    assert providers(api)["status"] == "degraded"
    settings.setenv(name, value)
    config.get.cache_clear()
    assert providers(api)["status"] == "ok"


def providers(api):
    probes.forget()
    components = api.get("/v1/status").json["components"]
    return next(found for found in components if found["name"] == "llm_providers")
