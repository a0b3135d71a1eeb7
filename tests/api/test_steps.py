"""GET /v1/steps."""

from __future__ import annotations

import pytest

from api.resources.step_schemas import OutputSchema, StepDetailSchema, StepSchema
from models import database
from models.events import Event
from models.visits import VisitRow
from tests.api import factories


@pytest.fixture
def url(run_id):
    return f"/v1/steps/{run_id}"


def output(api, url, query=""):
    return api.get(f"{url}/FIX/output?{query}").json


@pytest.fixture
def spoken(run_id):
    """FIX has failed once and then said `Hello world`."""
    first = factories.emit(run_id, "step_started")
    last = factories.say(run_id, "FIX", "No", " way")
    factories.attempt(run_id, 1, 1, first_seq=first, last_seq=last, error="boom", usage={"input_tokens": 3})
    again = factories.emit(run_id, "step_started")
    factories.visit(run_id, "FIX", attempt=2, first_seq=again, status="running", usage={"input_tokens": 4})
    factories.say(run_id, "FIX", "Hello", " world", attempt=2)
    factories.say(run_id, "TEST", "other step")
    return run_id


# --- works ---


def test_steps_stand_in_the_order_they_were_entered_then_as_in_the_file(api, url, run_id):
    assert [step["step_id"] for step in api.get(url).json] == ["FIX", "TEST"]
    factories.visit(run_id, "TEST", status="running")
    steps = api.get(url).json
    assert [(step["step_id"], step["status"]) for step in steps] == [("TEST", "running"), ("FIX", "pending")]
    assert all(step.keys() == StepSchema().fields.keys() for step in steps)
    assert [step["step_id"] for step in api.get(f"{url}?status=running").json] == ["TEST"]


def test_a_step_never_entered_is_skipped_once_the_run_is_over(api, url, run_id):
    factories.set_status(run_id, "failed")
    assert {step["status"] for step in api.get(url).json} == {"skipped"}


def test_a_step_is_its_latest_visit(api, url, run_id):
    factories.visit(run_id, "FIX", 1, outputs={"summary": "one"})
    factories.visit(run_id, "FIX", 2, visit=2, attempt=2, status="retrying", due_at=77, retry_count=1, error="boom")
    factories.visit(run_id, "FIX", 3, visit=3, status="pending")
    step = api.get(f"{url}/FIX").json
    assert (step["visit"], step["attempt"], step["status"], step["next_retry_at"]) == (2, 2, "retrying", 77)
    assert (step["session_id"], step["retry_count"], step["error"]) == (step["id"], 1, "boom")
    assert [visit["visit"] for visit in step["visits"]] == [1, 2]
    assert step.keys() == StepDetailSchema().fields.keys()


def test_both_forms_of_a_step_id_are_read(api, url, run_id):
    assert api.get(f"{url}/FIX").json == api.get(f"{url}/{run_id}_FIX").json


def test_an_item_shows_its_value_and_place(api, url, run_id):
    factories.visit(run_id, "FIX", scope=[["FIX", 1, 0]], items=["x" * 3000, {"b": 1}], type="loop")
    assert api.get(f"{url}/FIX").json["item"] == {"index": 0, "total": 2, "value": "x" * 2000}
    factories.visit(run_id, "FIX", 2, scope=[["FIX", 1, 1]], type="loop", visit=2)
    assert api.get(f"{url}/FIX").json["item"] == {"index": 1, "total": 2, "value": '{"b":1}'}


@pytest.fixture
def mapped(run_id):
    """FIX goes over three items, two at a time: one is done, one at work, one waits."""
    factories.set_status(run_id, "running")
    factories.visit(run_id, "FIX", 1, type="map", status="running", items=["a", "b", "c"], attempt=0, queued_at=5)
    item = {"reason": "loop", "usage": {"input_tokens": 2}}
    factories.visit(run_id, "FIX", 2, scope=[["FIX", 1, 0]], model="scripted/x", **item)
    factories.visit(run_id, "FIX", 3, scope=[["FIX", 1, 1]], status="running", prompt="do b", attempt=2, **item)
    factories.visit(run_id, "FIX", 4, scope=[["FIX", 1, 2]], status="pending", attempt=0, reason="loop")
    return run_id


def test_a_map_is_its_own_visit_and_shows_the_item_at_work(api, url, mapped):
    step = api.get(f"{url}/FIX").json
    assert (step["status"], step["visit"], step["attempt"], step["started_at"]) == ("running", 1, 2, 5)
    assert step["item"] == {"index": 1, "total": 3, "value": "b"}
    assert (step["inputs"]["prompt"], step["usage"]["input_tokens"]) == ("do b", 4)
    run = api.get(f"/v1/runs/{mapped}").json
    assert (run["current_steps"], run["progress"]["steps_done"]) == (["FIX"], 0)
    assert run["progress"]["loop"] == {"step_id": "FIX", "index": 1, "total": 3}
    assert api.get("/v1/runs").json[0]["progress"] == run["progress"]


def test_a_map_between_items_still_runs(api, url, mapped):
    change(mapped, 3, status="completed")
    step = api.get(f"{url}/FIX").json
    assert (step["status"], step["item"], step["model_used"]) == ("running", None, None)
    assert api.get(f"/v1/runs/{mapped}").json["current_steps"] == ["FIX"]


def test_a_map_names_the_approval_that_one_of_its_items_waits_for(api, url, mapped):
    factories.visit(mapped, "FIX", 5, scope=[["FIX", 1, 3]], status="paused", approval_id="apr_1", reason="loop")
    assert api.get(f"{url}/FIX").json["approval_id"] == "apr_1"


def test_a_finished_map_has_the_outputs_of_its_own_visit(api, url, mapped):
    change(mapped, 3, status="failed", error="no b", error_code="agent_failed")
    change(mapped, 1, status="completed", outputs={"summary": "[1]"}, completed_at=9)
    step = api.get(f"{url}/FIX").json
    assert (step["status"], step["outputs"], step["error"]) == ("completed", {"summary": "[1]"}, None)
    assert (step["duration_ms"], step["item"]) == (4, None)


def test_approvals_and_child_pipelines_begin_when_their_turn_comes(api, url, run_id):
    facts = {"agent_id": None, "attempt": 0, "queued_at": 5}
    factories.visit(run_id, "FIX", type="approval", status="paused", approval_id="apr_1", **facts)
    factories.visit(run_id, "TEST", 2, type="pipeline", status="running", child_run_id="run_c", **facts)
    approval, child = api.get(url).json
    assert (approval["status"], approval["approval_id"], approval["started_at"]) == ("paused", "apr_1", 5)
    assert (child["child_run_id"], child["started_at"], child["session_id"]) == ("run_c", 5, None)
    change(run_id, 2, status="queued")
    assert api.get(f"{url}/TEST").json["started_at"] is None


def change(run_id, n, **columns):
    with database.transaction():
        VisitRow.update(columns).where(VisitRow.run_id == run_id, VisitRow.n == n).execute()


def test_long_inputs_are_cut(api, url, run_id):
    factories.visit(run_id, "FIX", prompt="p" * 70_000, variables={"name": "v" * 70_000})
    inputs = api.get(f"{url}/FIX").json["inputs"]
    assert (len(inputs["prompt"]), len(inputs["variables"]["name"])) == (65_536, 65_536)


def test_attempts_are_listed_oldest_first_and_usage_is_their_sum(api, url, spoken):
    step = api.get(f"{url}/FIX").json
    assert [(one["attempt"], one["status"], one["error"]) for one in step["attempts"]] == [
        (1, "failed", "boom"),
        (2, "running", None),
    ]
    assert step["usage"]["input_tokens"] == 7


def test_the_files_that_a_step_changed_are_its_artifacts(api, url, run_id):
    changed = [{"path": "a.txt", "size": 2, "sha256": "ab", "action": "created"}]
    factories.visit(run_id, "FIX", attempt=1, first_seq=1, status="completed", artifacts=changed)
    assert output(api, url)["artifacts"] == changed
    assert api.get(f"{url}/TEST/output").json["artifacts"] == []


def test_the_output_is_what_the_latest_attempt_said_so_far(api, url, spoken):
    found = output(api, url)
    assert (found["raw_output"], found["raw_output_length"], found["attempt"]) == ("Hello world", 11, 2)
    assert (found["raw_output_truncated"], found["status"]) == (False, "running")
    assert found.keys() == OutputSchema().fields.keys()


def test_an_earlier_attempt_can_be_read(api, url, spoken):
    found = output(api, url, "attempt=1")
    assert (found["raw_output"], found["status"], found["error"]) == ("No way", "failed", "boom")


def test_slices_join_to_the_whole(api, url, spoken):
    parts = [output(api, url, f"offset={at}&length=3") for at in range(0, 12, 3)]
    assert "".join(part["raw_output"] for part in parts) == "Hello world"
    assert all(part["raw_output_truncated"] for part in parts)


def test_offsets_count_characters_not_bytes(api, url, run_id):
    factories.visit(run_id, "FIX", first_seq=factories.emit(run_id, "step_started"))
    factories.say(run_id, "FIX", "日本😀語")
    assert output(api, url, "offset=2&length=1")["raw_output"] == "😀"
    assert output(api, url)["raw_output_length"] == 4


def test_turns_done_again_by_another_worker_are_left_out(api, url, run_id):
    factories.visit(run_id, "FIX", first_seq=factories.emit(run_id, "step_started"))
    factories.say(run_id, "FIX", "one ")
    factories.say(run_id, "FIX", "lost", turn=2)
    resumed = Event("step_resumed", run_id=run_id, epoch=1, step_id="FIX", attempt=1, payload={"from_turn": 2})
    factories.record(run_id, resumed)
    factories.say(run_id, "FIX", "two", turn=2)
    assert output(api, url)["raw_output"] == "one two"


def test_the_text_of_an_item_is_its_own(api, url, run_id):
    factories.visit(run_id, "FIX", scope=[["FIX", 1, 0]], items=[1, 2], first_seq=factories.emit(run_id, "x"))
    factories.say(run_id, "FIX", "first", item_index=0)
    factories.visit(run_id, "FIX", 2, visit=2, scope=[["FIX", 1, 1]], first_seq=factories.emit(run_id, "x"))
    factories.say(run_id, "FIX", "second", item_index=1)
    assert output(api, url)["raw_output"] == "second"
    assert output(api, url, "item_index=0")["raw_output"] == "first"


@pytest.mark.parametrize(
    ("said", "value"),
    [('{"a": 1}', {"a": 1}), ("Here:\n```json\n[1]\n```\n", [1]), ("plain", None), ("{broken", None)],
)
def test_json_in_an_answer_is_parsed(api, url, run_id, said, value):
    factories.visit(run_id, "FIX", first_seq=factories.emit(run_id, "step_started"))
    factories.say(run_id, "FIX", said)
    assert output(api, url)["structured"] == value


def test_plain_text_is_the_raw_text_alone(api, url, spoken):
    answer = api.get(f"{url}/FIX/output", headers={"Accept": "text/plain"})
    assert (answer.text, answer.mimetype) == ("Hello world", "text/plain")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("status", ["queued", "running", "retrying", "paused", "completed", "failed", "cancelled"])
def test_every_status_of_a_step_can_be_read(api, url, run_id, status):
    factories.visit(run_id, "FIX", status=status, attempt=0)
    assert api.get(url).json[0]["status"] == status
    assert api.get(f"{url}/FIX").json["attempts"] == []
    assert output(api, url)["status"] == status
    assert output(api, url)["raw_output"] is None


def test_a_step_that_was_not_started_has_attempt_0(api, url):
    found = output(api, url)
    assert (found["attempt"], found["outputs"], found["raw_output_length"]) == (0, {}, 0)


def test_a_long_output_is_read_with_flat_memory(api, url, run_id):
    import tracemalloc

    factories.visit(run_id, "FIX", first_seq=factories.emit(run_id, "step_started"))
    for _ in range(20):
        batch = [Event("agent_output", run_id=run_id, epoch=1, step_id="FIX", attempt=1) for _ in range(100)]
        for event in batch:
            event.payload = {"text": "x" * 10_000, "turn": 1}
        factories.record(run_id, *batch)
    tracemalloc.start()
    found = output(api, url, "offset=19999990&length=100")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found["raw_output_length"], len(found["raw_output"])) == (20_000_000, 10)
    assert peak < 12_000_000


# --- bad input, missing ---


@pytest.mark.parametrize(
    "path",
    ["?status=asleep", "?epoch=0", "/FIX?epoch=x", "/FIX/output?length=0", "/FIX/output?length=1048577", "/FIX?foo=1"],
)
def test_a_bad_query_is_refused(api, url, path):
    assert api.get(f"{url}{path}").status_code == 422


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/steps/run_x", "run_not_found"),
        ("/v1/steps/{run}/NOPE", "step_not_found"),
        ("/v1/steps/{run}/{other}_FIX", "step_not_found"),
        ("/v1/steps/{run}/FIX/output?attempt=9", "attempt_not_found"),
        ("/v1/steps/{run}/FIX?epoch=2", "epoch_not_found"),
    ],
)
def test_what_does_not_exist_is_not_found(api, run_id, path, code):
    answer = api.get(path.format(run=run_id, other=factories.run()))
    assert (answer.status_code, answer.json["code"]) == (404, code)
