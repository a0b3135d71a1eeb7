"""Projects over HTTP: boards, columns, workflows, agents."""

from __future__ import annotations

import pytest

from models import tokens
from tests.api import factories
from tests.api.conftest import on_sqlite
from tests.boards import Board
from tests.chat import install

PROJECTS = "/v1/projects"


@pytest.fixture
def project(api) -> dict:
    return api.post(PROJECTS, json={"name": "Todo app"}).json


def url(project: dict, *parts: str) -> str:
    return "/".join([PROJECTS, project["id"], *parts])


# --- create ---


def test_a_project_begins_with_the_default_board(api) -> None:
    answer = api.post(PROJECTS, json={"name": "Todo app", "repository": "git@github.com:Me/Todo"})
    body = answer.json
    assert answer.status_code == 201 and answer.headers["Location"] == f"{PROJECTS}/{body['id']}"
    assert [column["name"] for column in body["columns"]] == [
        *("Backlog", "Planning", "Planned", "UX", "Blocked", "Ready", "In Progress", "Review", "Test", "Done", "Failed")
    ]
    assert body["columns"][6]["wip_limit"] == 5 and body["columns"][6]["task_statuses"] == ["in_progress"]
    assert (body["repository"], body["repo_full_name"]) == ("ssh://git@github.com/Me/Todo.git", "me/todo")
    assert body["default_pipeline_id"] == "engineering" and body["tasks"] == [] and not body["tasks_truncated"]


@on_sqlite
def test_every_template_can_be_used(api) -> None:
    for template in api.get(f"{PROJECTS}/templates").json:
        made = api.post(PROJECTS, json={"name": "x", "templateId": template["slug"]}).json
        assert [column["name"] for column in made["columns"]] == [column["name"] for column in template["columns"]]


def test_a_board_may_be_made_of_columns(api) -> None:
    columns = [{"name": "To Do"}, {"name": "Doing", "wipLimit": 2}, {"name": "Finished", "statuses": ["over"]}]
    made = api.post(PROJECTS, json={"name": "x", "columns": columns}).json
    assert [column["task_statuses"] for column in made["columns"]] == [["to_do"], ["doing"], ["over"]]
    assert made["status_semantics"]["terminal_done"] == ["over"] and made["template_id"] is None


@on_sqlite
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "validation_error"),
        ({"name": "  "}, 422, "validation_error"),
        ({"name": "x", "template_id": "none"}, 404, "template_not_found"),
        ({"name": "x", "repository": "https://u:p@host/a/b"}, 422, "invalid_repository"),
        ({"name": "x", "repository": "--upload-pack=x"}, 422, "invalid_repository"),
        ({"name": "x", "default_pipeline_id": "none"}, 422, "unknown_pipeline"),
        ({"name": "x", "columns": [{"name": "A"}, {"name": "a"}]}, 422, "invalid_board"),
        ({"name": "x", "columns": []}, 422, "validation_error"),
        ({"name": "x", "surprise": 1}, 422, "validation_error"),
    ],
)
def test_a_project_that_cannot_be_made(api, body, status, code) -> None:
    answer = api.post(PROJECTS, json=body)
    assert (answer.status_code, answer.json["code"]) == (status, code)


@on_sqlite
def test_a_reader_makes_no_project(anyone, settings) -> None:
    headers = {"Authorization": f"Bearer {tokens.create('r', 'read')[1]}"}
    assert anyone.post(PROJECTS, json={"name": "x"}, headers=headers).status_code == 403


@on_sqlite
def test_the_same_key_makes_one_project(api) -> None:
    made = [api.post(PROJECTS, json={"name": "x"}, headers={"Idempotency-Key": "k"}).json["id"] for _ in "ab"]
    assert made[0] == made[1]


# --- list and look ---


def test_projects_are_listed_with_what_is_done(api) -> None:
    board = Board()
    board.move(board.add(), "done")
    board.add()
    shown = api.get(PROJECTS).json[0]
    assert (shown["task_counts"], shown["total_tasks"], shown["completed_tasks"]) == ({"done": 1, "ready": 1}, 2, 1)


def test_pages_of_projects_join_without_a_gap(api) -> None:
    for number in range(5):
        api.post(PROJECTS, json={"name": f"p{number}"})
    found, following = [], f"{PROJECTS}?limit=2"
    while following:
        page = api.get(following)
        found += [row["name"] for row in page.json]
        following = page.headers.get("Link", "").partition("<")[2].partition(">")[0]
    assert found == ["p4", "p3", "p2", "p1", "p0"]


@on_sqlite
def test_archived_projects_are_shown_on_request(api, project) -> None:
    assert api.delete(url(project)).status_code == 204
    assert api.delete(url(project)).status_code == 404
    assert api.get(PROJECTS).json == []
    assert [row["id"] for row in api.get(f"{PROJECTS}?status=archived").json] == [project["id"]]


@on_sqlite
def test_a_page_may_show_less(api, project) -> None:
    shown = api.get(url(project) + "?include=columns").json
    assert "columns" in shown and "tasks" not in shown
    assert api.get(url(project) + "?include=everything").status_code == 422


@on_sqlite
def test_an_unknown_project_is_not_found(api) -> None:
    for path in ("", "/tasks", "/columns", "/agents", "/workflows", "/ready-tasks"):
        answer = api.get(f"{PROJECTS}/proj_none{path}")
        assert (answer.status_code, answer.json["code"]) == (404, "project_not_found")


# --- change ---


def test_a_project_is_changed_once_per_version(api, project) -> None:
    tag = api.get(url(project)).headers["ETag"]
    first = api.put(url(project), json={"name": "New", "vision": "Big"}, headers={"If-Match": tag})
    assert (first.status_code, first.json["name"], first.json["version"]) == (200, "New", 2)
    assert api.put(url(project), json={"name": "Other"}, headers={"If-Match": tag}).status_code == 412
    assert api.put(url(project), json={"vision": None}).json["vision"] is None


@on_sqlite
@pytest.mark.parametrize(
    "body",
    [
        {"on_success_status": "heaven"},
        {"status": "gone"},
        {"status_semantics": {"initial": ["x"], "terminal_done": ["done"]}},
        {"transitions": {"ready": ["backlog"]}},
        {"default_pipeline_id": "none"},
    ],
)
def test_a_change_that_would_break_the_board_is_refused(api, project, body) -> None:
    assert api.put(url(project), json=body).status_code == 422
    assert api.get(url(project)).json["version"] == 1


def test_a_project_with_live_runs_stays(api, project) -> None:
    run_id = factories.run(project_id=project["id"])
    answer = api.delete(url(project))
    assert (answer.status_code, answer.json["code"]) == (409, "project_has_live_runs")
    api.post(f"/v1/runs/{run_id}/cancel")
    assert api.delete(url(project) + "?purge=true").status_code == 204
    assert api.get(url(project)).status_code == 404
    assert api.get(f"/v1/runs/{run_id}").json["project_id"] is None


@on_sqlite
def test_columns_are_added_changed_and_removed(api, project) -> None:
    made = api.post(url(project, "columns"), json={"name": "Waiting", "position": 1})
    assert made.status_code == 201
    where = made.headers["Location"]
    assert api.put(where, json={"wip_limit": 3}).json["wip_limit"] == 3
    names = [column["name"] for column in api.get(url(project, "columns")).json]
    assert names[:3] == ["Backlog", "Waiting", "Planning"]
    assert api.delete(where).status_code == 204
    assert api.get(where).status_code == 404


@on_sqlite
def test_agents_and_workflows_belong_to_a_project(api, project) -> None:
    api.post(url(project, "agents"), json={"agentId": "tester"})
    api.post(url(project, "agents"), json={"agent_id": "tester", "role": "lead"})
    made = [
        api.post(url(project, "workflows"), json={"name": name, "pipeline_id": "bugfix", "is_default": True}).json
        for name in ("one", "two")
    ]
    shown = api.get(url(project)).json
    assert [(agent["agent_id"], agent["role"]) for agent in shown["agents"]] == [("tester", "lead")]
    assert [workflow["is_default"] for workflow in shown["workflows"]] == [False, True]
    assert api.delete(url(project, "workflows", made[0]["id"])).status_code == 204
    assert api.delete(url(project, "agents", "tester")).status_code == 204
    assert api.delete(url(project, "agents", "tester")).status_code == 404


def test_an_agent_knows_its_projects(api, project) -> None:
    install("ann")
    api.post(url(project, "agents"), json={"agent_id": "ann", "role": "lead"})
    (found,) = api.get("/v1/agents/ann/projects").json
    assert (found["project_id"], found["project_name"], found["role"]) == (project["id"], "Todo app", "lead")
    assert api.get("/v1/agents/nobody/projects").status_code == 404


# --- runs of a project ---


def test_a_run_finds_its_project_by_name(api, project) -> None:
    body = {"pipeline_id": "bugfix", "task": "x", "project_name": "Todo app"}
    assert api.post("/v1/runs", json=body).json["project_id"] == project["id"]
    api.post(PROJECTS, json={"name": "Todo app"})
    run = api.post("/v1/runs", json=body).json
    assert (run["project_id"], run["project_name"]) == (None, "Todo app")


@on_sqlite
def test_nothing_runs_in_an_archived_project(api, project) -> None:
    api.delete(url(project))
    answer = api.post("/v1/runs", json={"pipeline_id": "bugfix", "task": "x", "project_id": project["id"]})
    assert (answer.status_code, answer.json["code"]) == (409, "project_archived")
