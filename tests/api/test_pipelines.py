"""GET /v1/pipelines and what hangs below."""

from __future__ import annotations

import pytest

from api.resources.pipelines import PipelineSchema
from models import config
from tests.api.conftest import on_sqlite

pytestmark = on_sqlite
BUILT_IN = {"bugfix", "engineering", "execute", "feature", "import", "planning", "planning-agentic", "resolve"}


@pytest.fixture
def folder(settings):
    found = config.get().pipelines_dir
    found.mkdir()
    return found


def test_all_pipelines_are_listed_by_id(api):
    listed = api.get("/v1/pipelines").json
    ids = [pipeline["id"] for pipeline in listed]
    assert set(ids) >= BUILT_IN
    assert ids == sorted(ids)
    assert all(pipeline.keys() == PipelineSchema().fields.keys() for pipeline in listed)


def test_everything_that_is_listed_can_be_fetched(api, folder):
    (folder / "broken.yml").write_text("steps: [")
    for listed in api.get("/v1/pipelines").json:
        assert api.get(f"/v1/pipelines/{listed['id']}").json == listed


def test_a_broken_file_is_listed_and_disturbs_nobody(api, folder):
    (folder / "broken.yml").write_text("id: broken\nsteps: 5\n")
    assert [pipeline["id"] for pipeline in api.get("/v1/pipelines?valid=false").json] == ["broken"]
    broken = api.get("/v1/pipelines/broken").json
    assert (broken["valid"], broken["steps"], bool(broken["errors"])) == (False, [], True)
    assert {pipeline["id"] for pipeline in api.get("/v1/pipelines?valid=true").json} >= BUILT_IN


def test_an_unchanged_pipeline_is_not_sent_again(api):
    answer = api.get("/v1/pipelines/bugfix")
    assert answer.headers["ETag"] == f'"{answer.json["hash"]}"'
    again = api.get("/v1/pipelines/bugfix", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_a_pipeline_is_checked_as_the_engine_does(api):
    good = api.post("/v1/pipelines/bugfix/validate").json
    assert (good["valid"], good["pipeline_id"], good["errors"]) == (True, "bugfix", [])


@pytest.mark.parametrize("field", ["yaml_content", "yaml"])
def test_a_text_is_checked_whatever_the_id(api, field):
    answer = api.post("/v1/pipelines/new/validate", json={field: "id: new\nsteps:\n  - id: A\n    onComplete: B\n"})
    assert (answer.status_code, answer.json["valid"], answer.json["pipeline_id"]) == (200, False, "new")
    assert len(answer.json["errors"]) == len([p for p in answer.json["problems"] if p["severity"] == "error"]) > 1


def test_the_file_is_given_as_it_is_also_if_broken(api, folder):
    (folder / "broken.yml").write_text("steps: [ # so")
    raw = api.get("/v1/pipelines/broken/raw").json
    assert (raw["yaml"], raw["file"], raw["pipeline_id"]) == ("steps: [ # so", "broken.yml", "broken")


def test_the_graph_shows_steps_and_ways(api):
    graph = api.get("/v1/pipelines/bugfix/graph").json
    assert [node["id"] for node in graph["nodes"]] == ["FIX", "VALIDATE"]
    assert {(edge["from"], edge["to"]) for edge in graph["edges"]} == {("FIX", "VALIDATE"), ("VALIDATE", "FIX")}
    assert graph["mermaid"].startswith("flowchart")


def test_a_broken_pipeline_has_no_graph(api, folder):
    (folder / "broken.yml").write_text("id: broken\nsteps: 5\n")
    assert api.get("/v1/pipelines/broken/graph").json["code"] == "pipeline_invalid"


def test_odd_values_in_a_file_are_no_500(api, folder):
    (folder / "odd.yml").write_text(
        "id: odd\ndefaults: {maxTurns: 99999999999999999999999, 1: .nan, 2: .inf}\nsteps:\n  - {id: A, 3: 4}\n"
    )
    assert api.get("/v1/pipelines").status_code == 200
    assert api.get("/v1/pipelines/odd").status_code == 200


@pytest.mark.parametrize(
    ("body", "status"), [({"yaml_content": "x" * 262_145}, 422), ({"yml": ""}, 422), ({"yaml": 5}, 422), (None, 404)]
)
def test_a_bad_validation_request_is_refused(api, body, status):
    assert api.post("/v1/pipelines/nothing/validate", json=body or {}).status_code == status


def test_what_does_not_exist_is_not_found(api):
    for path in ("/nothing", "/nothing/raw", "/nothing/graph"):
        assert api.get(f"/v1/pipelines{path}").json["code"] == "pipeline_not_found"
    assert api.get("/v1/pipelines/..%2f..%2fetc").status_code == 404
