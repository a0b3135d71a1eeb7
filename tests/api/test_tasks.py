"""Tasks over HTTP: every route with its answers and refusals."""

from __future__ import annotations

import pytest

from models import tokens
from tests.api.conftest import on_sqlite
from tests.boards import Board


@pytest.fixture
def board(settings) -> Board:
    return Board()


def url(board: Board, *parts: str) -> str:
    return "/".join(["/v1/projects", board.id, "tasks", *parts])


@pytest.fixture
def runner(settings) -> dict:
    """Headers of a token that may not force anything."""
    return {"Authorization": f"Bearer {tokens.create('runner', 'run')[1]}"}


# --- create ---


def test_a_task_is_placed_by_what_it_waits_for(api, board) -> None:
    first = api.post(url(board), json={"title": "Fix the build", "tags": ["ci"]})
    assert first.status_code == 201 and first.headers["Location"] == url(board, first.json["id"])
    assert (first.json["status"], first.json["priority"], first.json["work_type"]) == ("ready", "P2", "infrastructure")
    second = api.post(url(board), json={"title": "x", "dependsOn": [first.json["id"]]}).json
    assert (second["status"], second["blocked_reason"]) == ("blocked", "dependency")
    assert second["depends_on"] == [first.json["id"]]


@on_sqlite
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "validation_error"),
        ({"title": " "}, "validation_error"),
        ({"title": "x", "priority": "P9"}, "validation_error"),
        ({"title": "x", "status": "done"}, "unknown_status"),
        ({"title": "x", "column_id": "col_none"}, "validation_error"),
        ({"title": "x", "parent_task_id": "task_none"}, "validation_error"),
        ({"title": "x", "dependencies": ["task_none"]}, "unknown_task"),
        ({"title": "x", "pipeline_id": "none"}, "unknown_pipeline"),
        ({"title": "x", "workflow_id": "wf_none"}, "unknown_workflow"),
        ({"title": "x", "metadata": {"x": "y" * 70_000}}, "validation_error"),
        ({"title": "x", "dependencies": [1]}, "validation_error"),
    ],
)
def test_a_task_that_cannot_be_made(api, board, body, code) -> None:
    answer = api.post(url(board), json=body)
    assert (answer.status_code, answer.json["code"]) == (422, code)


@on_sqlite
def test_a_full_column_takes_no_new_task(api, board) -> None:
    made = api.post(f"/v1/projects/{board.id}/columns", json={"name": "Small", "wip_limit": 1}).json
    for expected in (201, 409):
        assert api.post(url(board), json={"title": "x", "column_id": made["id"]}).status_code == expected


# --- list and look ---


def test_tasks_are_paged_by_column_and_place(api, board) -> None:
    for number in range(3):
        board.add(f"r{number}")
        board.add(f"b{number}", status="backlog")
    found, following = [], url(board) + "?limit=2"
    while following:
        page = api.get(following)
        found += [task["title"] for task in page.json]
        following = page.headers.get("Link", "").partition("<")[2].partition(">")[0]
    assert found == ["b0", "b1", "b2", "r0", "r1", "r2"]


def test_filters_narrow_the_list(api, board) -> None:
    wanted = board.add("Fix 100% of it", priority="P0", tags=["x"], assigned_agent="ann")
    child = board.add("Part", parent_task_id=wanted)
    board.add("Other")
    for query in ("priority=P0", "agent=ann", "tag=x", "work_type=bugfix", "q=100%25"):
        assert [task["id"] for task in api.get(f"{url(board)}?{query}").json] == [wanted], query
    assert [task["id"] for task in api.get(f"{url(board)}?parent={wanted}").json] == [child]
    assert len(api.get(f"{url(board)}?status=ready&status=backlog").json) == 3
    assert api.get(f"{url(board)}?status=nowhere").json == []


def test_one_task_shows_all_around_it(api, board) -> None:
    first = board.add("First")
    second = board.add("Second", first)
    board.add("Part", parent_task_id=second)
    shown = api.get(url(board, second)).json
    assert shown["blocking_dependencies"][0]["from_task_title"] == "First"
    assert [part["title"] for part in shown["subtasks"]] == ["Part"]
    assert shown["allowed"] == ["backlog", "planning", "planned", "ux", "ready", "failed"]
    assert api.get(url(board, first)).json["dependents"][0]["to_task_id"] == second


@on_sqlite
def test_a_task_of_another_project_is_not_found(api, board) -> None:
    other = Board().add()
    bodies = {"claim": {"agent_id": "ann"}, "transition": {"status": "done"}, "comments": {"text": "x"}}
    assert api.get(url(board, other)).status_code == 404
    for what, body in bodies.items():
        assert api.post(url(board, other, what), json=body).json["code"] == "task_not_found"


# --- change ---


def test_a_change_is_checked_merged_and_counted(api, board) -> None:
    task_id = board.add(metadata={"a": 1, "b": 2})
    tag = api.get(url(board, task_id)).headers["ETag"]
    body = {"metadata": {"a": None, "c": 3}, "priority": "P0", "estimatedHours": 2}
    answer = api.put(url(board, task_id), json=body, headers={"If-Match": tag})
    assert answer.json["metadata"] == {"b": 2, "c": 3} and answer.json["estimated_hours"] == 2
    assert api.put(url(board, task_id), json={"priority": "P1"}, headers={"If-Match": tag}).status_code == 412
    version = answer.json["version"]
    assert api.put(url(board, task_id), json={"priority": "P0"}).json["version"] == version


def test_a_change_of_status_goes_by_the_rules(api, board) -> None:
    task_id = board.add()
    answer = api.put(url(board, task_id), json={"status": "review"})
    assert (answer.status_code, answer.json["code"], answer.json["from"]) == (409, "transition_not_allowed", "ready")
    moved = api.put(url(board, task_id), json={"status": "in_progress", "title": "New"}).json
    assert moved["title"] == "New" and moved["column_id"] == board.rules.column("in_progress").id


@on_sqlite
def test_only_an_admin_uses_force(api, anyone, board, runner) -> None:
    task_id = board.add()
    body = {"status": "review", "force": True}
    assert anyone.post(url(board, task_id, "transition"), json=body, headers=runner).status_code == 403
    assert api.post(url(board, task_id, "transition"), json=body).json["to_status"] == "review"


# --- claim ---


def test_a_claim_names_its_holder_to_everybody_else(api, board) -> None:
    task_id = board.add("Add a page")
    first = api.post(url(board, task_id, "claim"), json={"agentId": "ann", "holder": "w1"}).json
    assert (first["status"], first["fence"], first["task"]["claim"]["agent_id"]) == ("claimed", 1, "ann")
    assert first["branch"] == f"feat/{task_id}-add-a-page" and first["lease_until"] > first["claimed_at"]
    refused = api.post(url(board, task_id, "claim"), json={"agent_id": "bob"})
    assert refused.status_code == 409 and refused.json["code"] == "already_claimed"
    assert refused.json["holder"]["agent_id"] == "ann" and refused.json["holder"]["holder"] == "w1"
    again = api.post(url(board, task_id, "claim"), json={"agent_id": "ann", "holder": "w1"})
    assert (again.status_code, again.json["status"]) == (200, "already_claimed")


def test_a_claim_is_kept_alive_and_given_back(api, anyone, board, runner) -> None:
    task_id = board.add()
    fence = api.post(url(board, task_id, "claim"), json={"agent_id": "ann", "ttl_seconds": 0}).json["fence"]
    beat = url(board, task_id, "claim", "heartbeat")
    assert api.post(beat, json={"agent_id": "ann", "fence": fence, "ttl_seconds": 60}).json["lease_until"]
    assert api.post(beat, json={"agent_id": "bob", "fence": fence}).json["code"] == "claim_lost"
    assert anyone.delete(url(board, task_id, "claim"), headers=runner).status_code == 403
    assert api.delete(url(board, task_id, "claim") + f"?agent_id=ann&fence={fence}").status_code == 204
    assert api.delete(url(board, task_id, "claim")).json["code"] == "not_claimed"


def test_a_claim_lasts_as_long_as_the_setting_says(api, board) -> None:
    lasting = api.post(url(board, board.add(), "claim"), json={"agent_id": "ann"}).json
    assert lasting["lease_until"] > lasting["claimed_at"]
    api.put("/v1/settings", json={"taskClaimTtlSec": 0})
    assert api.post(url(board, board.add(), "claim"), json={"agent_id": "ann"}).json["lease_until"] is None


@on_sqlite
@pytest.mark.parametrize("body", [{}, {"agent_id": "Not A Slug"}, {"agent_id": "a", "ttl_seconds": 5}])
def test_a_claim_that_is_not_understood(api, board, body) -> None:
    assert api.post(url(board, board.add(), "claim"), json=body).status_code == 422


def test_the_next_task_is_handed_out_until_there_is_none(api, board) -> None:
    task_id = board.add()
    next_url = f"/v1/projects/{board.id}/claim-next"
    assert api.get(f"/v1/projects/{board.id}/ready-tasks").json["tasks"][0]["id"] == task_id
    assert api.post(next_url, json={"agent_id": "ann"}).json["task_id"] == task_id
    assert api.post(next_url, json={"agent_id": "ann"}).status_code == 204


# --- move ---


def test_a_transition_says_all_that_clients_need(api, board) -> None:
    task_id = board.add()
    done = api.post(url(board, task_id, "transition"), json={"status": "in_progress", "note": "go"}).json
    assert (done["status"], done["from_status"], done["to_status"]) == ("transitioned", "ready", "in_progress")
    assert "review" in done["allowed"] and "review" in done["next_valid_stages"]
    same = api.post(url(board, task_id, "transition"), json={"status": "in_progress"}).json
    assert same["status"] == "unchanged" and same["version"] == done["version"]


def test_many_tasks_are_moved_each_by_itself(api, board) -> None:
    good, bad = board.add(), board.add()
    items = [
        {"task_id": good, "status": "done"},
        {"task_id": bad, "status": "review"},
        {"task_id": "x", "status": "done"},
    ]
    found = api.post(url(board, "bulk-transition"), json={"items": items}).json
    assert [(item["ok"], item.get("code")) for item in found] == [
        *((True, None), (False, "transition_not_allowed"), (False, "task_not_found"))
    ]


def test_a_task_is_dragged_to_a_place(api, board) -> None:
    first, second, third = (board.add(name) for name in "abc")
    ready = board.rules.column("ready").id
    api.post(url(board, third, "move"), json={"column_id": ready, "position": 0})
    assert [task["id"] for task in api.get(url(board)).json] == [third, first, second]
    planned = board.rules.column("planned").id
    assert api.post(url(board, first, "move"), json={"columnId": planned}).json["status"] == "planned"


# --- connect ---


def test_dependencies_are_added_refused_and_removed(api, board) -> None:
    first, second = board.add("First"), board.add("Second")
    edges = url(board, second, "dependencies")
    made = api.post(edges, json={"depends_on": first})
    assert made.status_code == 201 and made.json["from"]["title"] == "First" and made.json["to"]["status"] == "blocked"
    assert api.post(edges, json={"from_task_id": first}).json["code"] == "duplicate_dependency"
    assert api.post(edges, json={"from_task_id": second}).json["code"] == "self_dependency"
    cycle = api.post(url(board, first, "dependencies"), json={"from_task_id": second})
    assert (cycle.status_code, cycle.json["code"], cycle.json["path"]) == (422, "dependency_cycle", ["First", "Second"])
    assert [edge["id"] for edge in api.get(edges).json] == [made.json["id"]]
    assert api.delete(f"{edges}/{made.json['id']}").status_code == 204
    assert board.status(second) == "ready"


# --- work ---


def test_a_pipeline_works_on_a_task(api, board) -> None:
    task_id = board.add("Fix it")
    answer = api.post(url(board, task_id, "execute"), json={"pipeline_id": "bugfix"})
    assert answer.status_code == 202 and answer.json["run"]["task_id"] == task_id
    assert answer.json["task"]["run_id"] == answer.json["run_id"] and answer.json["task"]["status"] == "in_progress"
    again = api.post(url(board, task_id, "execute"), json={})
    assert (again.status_code, again.json["code"]) == (409, "task_has_live_run")
    shown = api.get(url(board, task_id)).json["run_history"]
    assert [(run["pipeline_id"], run["status"]) for run in shown] == [("bugfix", "running")]


@on_sqlite
def test_a_task_without_a_pipeline_says_so(api) -> None:
    board = Board("kanban-simple")
    answer = api.post(url(board, board.add(), "execute"))
    assert (answer.status_code, answer.json["code"]) == (422, "no_pipeline")


def test_the_history_is_paged_with_its_comments(api, board) -> None:
    task_id = board.add()
    board.move(task_id, "in_progress")
    said = api.post(url(board, task_id, "comments"), json={"text": "Nice"}).json
    assert (said["kind"], said["note"]) == ("comment", "Nice")
    page = api.get(url(board, task_id, "history") + "?limit=2")
    assert [entry["kind"] for entry in page.json] == ["comment", "status"]
    following = page.headers["Link"].partition("<")[2].partition(">")[0]
    assert [entry["kind"] for entry in api.get(following).json] == ["created"]


@on_sqlite
def test_a_removed_task_is_gone(api, board) -> None:
    task_id = board.add()
    assert api.delete(url(board, task_id)).status_code == 204
    assert api.delete(url(board, task_id)).status_code == 404


# --- in which order ---


def plan(api, board) -> dict:
    return api.post(f"/v1/projects/{board.id}/plan-preview").json


def test_a_plan_shows_waves_and_the_longest_way(api, board) -> None:
    def add(title, hours=None, *after):
        body = {"title": title, "estimated_hours": hours, "dependencies": list(after)}
        return api.post(url(board), json=body).json["id"]

    design = add("design", 2)
    short, long = add("short", None, design), add("long", 5, design)
    add("ship", 1, short, long)
    found = plan(api, board)
    assert [[task["title"] for task in wave] for wave in found["waves"]] == [["design"], ["short", "long"], ["ship"]]
    assert [task["title"] for task in found["critical_path"]] == ["design", "long", "ship"]
    assert (found["hours"], found["stuck"]) == (8, [])


def test_a_plan_leaves_out_what_is_done_and_names_what_is_stuck(api, board) -> None:
    done, failed = board.add("done"), board.add("failed")
    board.add("after both", done, failed)
    api.post(url(board, done, "transition"), json={"status": "done"})
    api.post(url(board, failed, "transition"), json={"status": "failed"})
    found = plan(api, board)
    assert (found["waves"], found["critical_path"], found["hours"]) == ([], [], 0)
    assert [task["title"] for task in found["stuck"]] == ["after both"]


def test_a_plan_of_no_project(api, settings) -> None:
    assert api.post("/v1/projects/proj_none/plan-preview").status_code == 404
