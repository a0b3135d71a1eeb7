"""GET and POST /v1/runs, and one run."""

from __future__ import annotations

import pytest

from api.paging import encode
from api.resources.run_schemas import RunDetailSchema, RunSchema
from models import config, database
from models.base import new_id, now_ms
from models.runs import Run
from tests.api import factories
from tests.api.conftest import on_sqlite

BODY = {"pipeline_id": "execute", "task_description": "Say hello"}


def post(api, **body):
    return api.post("/v1/runs", json=BODY | body)


# --- works ---


def test_a_run_starts_pending_with_all_its_steps(api):
    answer = post(api, tags=["b", "a", "b"], human_context={"issue": 7})
    run = answer.json
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/runs/{run['id']}"
    assert (run["status"], run["epoch"], run["last_seq"], run["outputs"]) == ("pending", 1, 1, {})
    assert run["tags"] == ["b", "a"]
    assert run["human_context"] == '{"issue":7}'
    assert [step["status"] for step in run["steps"]] == ["pending"]
    assert api.get(answer.headers["Location"]).json == run


def test_a_run_shows_exactly_the_fields_of_its_schema(api):
    run = post(api).json
    assert run.keys() == RunDetailSchema().fields.keys()
    assert api.get("/v1/runs").json[0].keys() == RunSchema().fields.keys()
    for name in ("limits", "usage", "progress"):
        assert run[name].keys() == RunSchema().fields[name].schema.fields.keys()
    step = RunDetailSchema().fields["steps"].inner.schema
    assert run["steps"][0].keys() == step.fields.keys()


def test_both_spellings_of_a_path_and_of_a_field_are_read(api):
    body = {"pipeline_id": "execute", "task": "Say hello", "context": "Softly", "model": "scripted/x"}
    run = api.post("/v1/runs/", json=body).json
    assert (run["task_description"], run["human_context"], run["model_override"]) == (
        "Say hello",
        "Softly",
        "scripted/x",
    )


def test_lists_cut_the_task_and_the_run_itself_does_not(api):
    task = "long " * 1000
    run = post(api, task_description=task).json
    listed = api.get("/v1/runs").json[0]
    assert (run["task"], run["task_truncated"]) == (task, False)
    assert (listed["task"], listed["task_truncated"]) == (task[:1000], True)


def test_newest_runs_come_first_and_pages_join_without_gap_or_repeat(api):
    ids = [factories.run() for _ in range(7)]
    url, seen = "/v1/runs?limit=3", []
    while url:
        answer = api.get(url)
        seen += [run["id"] for run in answer.json]
        link = answer.headers.get("Link", "")
        url = link.partition(">")[0].lstrip("<")
    assert seen == ids[::-1]


FILTERED = {
    "status=failed": "b",
    "status=failed,paused": "cb",
    "pipeline_id=two&status=pending": "da",
    "pipeline_id=other": "",
    "project_id=proj_1": "b",
    "project_id=none": "dca",
    "parent_run_id=none": "dba",
    "tag=x": "ba",
    "tag=x&tag=y": "b",
    "agent_id=tester&tag=y": "b",
    "agent_id=nobody": "",
    "q=fenc": "dcb",
    "q=Fence mend": "dcb",
    "q=fence&status=failed": "b",
    "q=ence": "",
    "q=boom": "b",
    "q=%22%27;--": "",
    "schedule_id=sch_1": "d",
}


def test_filters_join_by_and(api):
    names = {
        factories.run("Café", ("x",)): "a",
        factories.run("Mend the fence", ("x", "y"), status="failed", project_id="proj_1", error="boom"): "b",
        factories.run("Mend the fence", status="paused", parent_run_id="run_p"): "c",
        factories.run("Mend the fence", schedule_id="sch_1"): "d",
    }
    found = {query: api.get(f"/v1/runs?{query}").json for query in FILTERED}
    assert {query: "".join(names[run["id"]] for run in runs) for query, runs in found.items()} == FILTERED


def test_search_ignores_case_and_accents(api):
    run_id = factories.run("Größe des Cafés")
    for words in ("cafe", "CAFÉS grosse", run_id):
        assert [run["id"] for run in api.get("/v1/runs", query_string={"q": words}).json] == [run_id]


def test_times_bound_a_list_inclusively_and_exclusively(api):
    before, run_id = now_ms(), factories.run()
    created = Run.get_by_id(run_id).created_at
    assert before <= created
    assert api.get(f"/v1/runs?created_after={created}").json
    assert not api.get(f"/v1/runs?created_after={created + 1}").json
    assert not api.get(f"/v1/runs?created_before={created}").json
    assert api.get(f"/v1/runs?created_before={created + 1}").json


def test_the_total_is_counted_only_when_asked_for(api):
    for _ in range(3):
        factories.run()
    assert "X-Total-Count" not in api.get("/v1/runs?limit=1").headers
    assert api.get("/v1/runs?limit=1&count=true").headers["X-Total-Count"] == "3"


def test_progress_names_what_is_active_and_what_is_done(api, run_id):
    factories.set_status(run_id, "running")
    factories.visit(run_id, "FIX", outputs={"summary": "done"}, done_version=1)
    factories.visit(run_id, "TEST", 2, status="running")
    for run in (api.get(f"/v1/runs/{run_id}").json, api.get("/v1/runs?include=outputs").json[0]):
        assert run["progress"] == {"steps_total": 2, "steps_done": 1, "loop": None}
        assert (run["current_step"], run["current_steps"]) == ("TEST", ["TEST"])
        assert run["outputs"] == {"summary": "done"}


def test_the_progress_of_a_finished_run_is_the_one_it_ended_with(api, run_id):
    factories.set_status(run_id, "completed", steps_done=2)
    factories.visit(run_id, "FIX", status="running")
    listed = api.get("/v1/runs").json[0]
    assert listed["progress"] == {"steps_total": 2, "steps_done": 2, "loop": None}
    assert listed["current_steps"] == []


def test_progress_counts_the_items_of_a_loop(api, run_id):
    factories.set_status(run_id, "running")
    factories.visit(run_id, "FIX", scope=[["FIX", 1, 0]], items=["a", "b", "c"], type="loop")
    factories.visit(run_id, "FIX", 2, scope=[["FIX", 1, 1]], status="running", type="loop")
    expected = {"step_id": "FIX", "index": 1, "total": 3}
    assert api.get(f"/v1/runs/{run_id}").json["progress"]["loop"] == expected
    assert api.get("/v1/runs").json[0]["progress"]["loop"] == expected


def test_outputs_are_in_lists_only_if_asked_for(api, run_id):
    factories.set_status(run_id, "completed", outputs={"summary": "x"})
    assert api.get("/v1/runs").json[0]["outputs"] is None
    assert api.get("/v1/runs?include=outputs").json[0]["outputs"] == {"summary": "x"}


def test_an_earlier_epoch_can_still_be_read(api, run_id):
    factories.visit(run_id, "FIX", outputs={"summary": "first"}, done_version=1)
    factories.set_status(run_id, "pending", epoch=2)
    assert api.get(f"/v1/runs/{run_id}").json["steps"][0]["status"] == "pending"
    earlier = api.get(f"/v1/runs/{run_id}?epoch=1").json
    assert [step["status"] for step in earlier["steps"]] == ["completed", "skipped"]
    assert earlier["outputs"] == {"summary": "first"}
    assert api.get(f"/v1/runs/{run_id}?epoch=3").json["code"] == "epoch_not_found"


def test_an_unchanged_run_is_not_sent_again(api, run_id):
    tag = api.get(f"/v1/runs/{run_id}").headers["ETag"]
    assert tag == '"1.1"'
    assert api.get(f"/v1/runs/{run_id}", headers={"If-None-Match": tag}).status_code == 304
    factories.emit(run_id, "run_started")
    assert api.get(f"/v1/runs/{run_id}", headers={"If-None-Match": tag}).status_code == 200


def test_the_callback_is_shown_without_what_may_be_secret(api):
    run = post(api, webhook_url="https://user:pass@hooks.example.com/a?key=1#x").json
    assert run["webhook_url"] == "https://hooks.example.com/a"


# --- bad input ---


@on_sqlite
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"task_description": " \n"}, "task_description"),
        ({"task_description": None}, "task_description"),
        ({"pipeline_id": "Bad Id"}, "pipeline_id"),
        ({"steps": []}, "steps"),
        ({"max_cost_usd": 0}, "max_cost_usd"),
        ({"max_cost_usd": "1"}, "max_cost_usd"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_duration_seconds": 2_592_001}, "max_duration_seconds"),
        ({"on_budget": "explode"}, "on_budget"),
        ({"tags": ["-x"]}, "tags.0"),
        ({"tags": [f"t{n}" for n in range(21)]}, "tags"),
        ({"metadata": {"x": "y" * 16_400}}, "metadata"),
        ({"model_override": "gpt"}, "model_override"),
        ({"project_name": "x" * 201}, "project_name"),
    ],
)
def test_a_bad_field_is_named(api, change, field):
    answer = post(api, **change)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_error")
    assert field in answer.json["errors"]


@on_sqlite
@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/", "https://", "ftp://example.com/", "https://exa mple.com/", "https://localhost/"),
        *("https://127.0.0.1/", "https://10.0.0.1/", "https://[::1]/", "https://[::ffff:192.168.0.1]/"),
        *("https://2130706433/", "https://0x7f.1/", "https://169.254.169.254/", "https://example.com:99999/"),
        *("https://100.64.0.1/", "https://db.internal/", "https://[fd00::1]/", "https://127.0.0.1./"),
    ],
)
def test_a_callback_to_a_private_address_is_refused(api, url):
    answer = post(api, webhook_url=url)
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["webhook_url"])


def test_two_spellings_that_disagree_are_refused_and_two_that_agree_are_not(api):
    assert post(api, task="Other").json["code"] == "conflicting_alias"
    assert post(api, task=BODY["task_description"]).status_code == 201


@on_sqlite
@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=201", "limit=x", "cursor=!!", "cursor=cnVuX3g", "status=asleep", "status=failed,", "q=x"),
        *("created_after=5&created_before=4", "created_after=-1", "created_after=99999999999999999999", "foo=1"),
        *("include=everything", "q=%00%00"),
    ],
)
def test_a_bad_list_query_is_refused(api, query):
    assert api.get(f"/v1/runs?{query}").status_code == 422


def test_a_body_of_more_than_a_megabyte_is_refused(api):
    answer = post(api, task_description="x" * 1_100_000)
    assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")


# --- missing ---


def test_what_does_not_exist_is_not_found(api):
    assert api.get("/v1/runs/run_x").json["code"] == "run_not_found"
    assert api.get("/v1/runs/run%20x").status_code == 404
    assert post(api, pipeline_id="nothing").json["code"] == "pipeline_not_found"
    assert post(api, project_id="proj_x").json["code"] == "project_not_found"
    assert api.get("/v1/runs?pipeline_id=nothing").json == []


def test_a_broken_pipeline_cannot_be_started(api, tmp_path):
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "broken.yml").write_text("id: broken\nsteps: 5\n")
    answer = post(api, pipeline_id="broken")
    assert (answer.status_code, answer.json["code"]) == (422, "pipeline_invalid")
    assert answer.json["errors"]["broken.yml"]


def test_missing_variables_are_a_warning_or_if_strict_an_error(api):
    assert api.get("/v1/pipelines/resolve").json["required_variables"]
    assert post(api, pipeline_id="resolve").json["warnings"]
    answer = api.post("/v1/runs?strict=true", json=BODY | {"pipeline_id": "resolve"})
    assert (answer.status_code, answer.json["code"]) == (422, "missing_variables")


# --- side effects ---


def test_a_template_in_the_task_stays_as_it_is(api):
    assert post(api, task_description="{{7*7}}").json["task"] == "{{7*7}}"


def test_too_many_pending_runs_are_refused(api, settings):
    settings.setenv("MAX_PENDING_RUNS", "1")
    config.get.cache_clear()
    assert post(api).status_code == 201
    refused = post(api)
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_pending")
    assert int(refused.headers["Retry-After"]) > 0


# --- idempotence ---


def test_the_same_key_gives_the_first_answer_again(api):
    key = {"Idempotency-Key": "k-1"}
    first = api.post("/v1/runs", json=BODY, headers=key)
    again = api.post("/v1/runs", json=BODY, headers=key)
    assert again.headers["Idempotent-Replay"] == "true"
    assert (again.status_code, again.json, again.headers["Location"]) == (201, first.json, first.headers["Location"])
    assert "Idempotent-Replay" not in first.headers
    assert Run.select().count() == 1


def test_the_same_key_with_another_body_is_refused(api):
    key = {"Idempotency-Key": "k-1"}
    api.post("/v1/runs", json=BODY, headers=key)
    other = api.post("/v1/runs", json=BODY | {"task_description": "Other"}, headers=key)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")


def test_a_refused_request_does_not_use_its_key_up(api):
    key = {"Idempotency-Key": "k-1"}
    assert api.post("/v1/runs", json=BODY | {"pipeline_id": "nothing"}, headers=key).status_code == 404
    assert api.post("/v1/runs", json=BODY, headers=key).status_code == 201


@on_sqlite
@pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
def test_a_key_is_printable_ascii(api, key):
    assert api.post("/v1/runs", json=BODY, headers={"Idempotency-Key": key}).status_code == 422


# --- cost ---


def test_a_page_costs_two_statements_and_no_scan(api, monkeypatch):
    for _ in range(3):
        factories.run(tags=("x",))
    seen = []
    execute = database.db.obj.execute_sql
    monkeypatch.setattr(
        database.db.obj, "execute_sql", lambda sql, *rest: seen.append((sql, rest)) or execute(sql, *rest)
    )
    for query in ("", "?status=failed,pending", "?tag=x", "?q=fence", "?agent_id=tester", "?project_id=none"):
        seen.clear()
        assert api.get(f"/v1/runs{query}").status_code == 200
        assert len(seen) <= 2
        if database.dialect() == "sqlite":
            plan = [row[3] for sql, rest in seen for row in execute(f"EXPLAIN QUERY PLAN {sql}", *rest).fetchall()]
            assert not [step for step in plan if "SCAN r" in step and "VIRTUAL" not in step]
            assert not any("OFFSET" in sql for sql, _ in seen)


def test_ids_of_other_shapes_are_no_cursor(api):
    assert api.get(f"/v1/runs?cursor={encode('run_x')}").status_code == 422
    assert api.get(f"/v1/runs?cursor={encode(new_id('run_'))}").status_code == 200
