"""/v1/agents"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models import config, events, tokens
from tests.api import factories
from tests.api.conftest import on_sqlite
from workers import agents as commands
from workers import locks

REVIEWER = {"id": "reviewer", "name": "Rita", "emoji": "🔍", "role": "Reviews code", "config": {"maxTurns": 7}}


@pytest.fixture
def reviewer(api):
    return api.post("/v1/agents", json=REVIEWER).json


def folder(agent_id: str = "reviewer") -> Path:
    return config.get().agents_dir / agent_id


def by_hand(name: str, text: str, agent_id: str = "reviewer") -> None:
    folder(agent_id).mkdir(parents=True, exist_ok=True)
    (folder(agent_id) / name).write_text(text, "utf-8")


def configure(api, body, **headers):
    return api.put("/v1/agents/reviewer/config", json=body, headers=headers)


def ids(answer) -> list[str]:
    return [agent["id"] for agent in answer.json]


# --- list and look ---


def test_agents_are_listed_by_id_broken_ones_too(api, reviewer):
    by_hand("config.yml", "maxTurns: [", "broken")
    by_hand("notes.txt", "no agent", "other")
    broken, fine = api.get("/v1/agents").json
    assert (broken["id"], broken["valid"], len(broken["problems"])) == ("broken", False, 1)
    assert (fine["id"], fine["name"], fine["emoji"], fine["role"]) == ("reviewer", "Rita", "🔍", "Reviews code")
    assert (fine["state"], fine["source"], fine["memory_count"], fine["model"]) == ("idle", "user", 0, None)
    assert (fine["valid"], fine["persona_files"], len(fine["version"])) == (True, ["IDENTITY.md"], 16)


def test_a_list_is_narrowed_and_paged(api, reviewer):
    for agent_id in ("a", "b"):
        by_hand("IDENTITY.md", "Role: Writes\n", agent_id)
    assert ids(api.get("/v1/agents?q=REVIEW")) == ids(api.get("/v1/agents?q=rita")) == ["reviewer"]
    first = api.get("/v1/agents?limit=2")
    assert ids(first) == ["a", "b"]
    assert ids(api.get(first.headers["Link"].split(">")[0][1:])) == ["reviewer"]


def test_an_agent_is_shown_with_its_files(api, reviewer):
    by_hand("SOUL.md", "x" * 600)
    answer = api.get("/v1/agents/reviewer/")
    agent = answer.json
    assert agent["files"]["IDENTITY.md"].startswith("Name: Rita\n") and agent["soul_preview"] == "x" * 500
    assert (agent["skills"], agent["mcp_servers"]) == ([], [])
    assert answer.headers["ETag"] == f'"{agent["version"]}"'
    assert api.get("/v1/agents/reviewer", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


CORPUS = ["nobody", "..", "%2e%2e", "%2fetc", "a%00b", "a" * 300, "A", "shared", "sessions", "_x", ".trash", "а"]


@pytest.mark.parametrize("agent_id", CORPUS)
def test_what_is_no_agent_is_not_found_and_nothing_is_written(api, reviewer, agent_id):
    before = sorted(path.name for path in config.get().agents_dir.parent.rglob("*"))
    for method, path in (
        *(("GET", ""), ("DELETE", ""), ("GET", "/config"), ("PUT", "/config"), ("GET", "/runs"), ("GET", "/status")),
        *(("GET", "/versions"), ("GET", "/versions/1"), ("POST", "/versions/1/restore"), ("POST", "/validate")),
        ("PUT", "/files/SOUL.md"),
    ):
        sent = {"content": "x"} if "files" in path else {}
        answer = api.open(f"/v1/agents/{agent_id}{path}", method=method, json=None if method == "GET" else sent)
        assert answer.status_code == 404, (method, path)
    assert sorted(path.name for path in config.get().agents_dir.parent.rglob("*")) == before


def test_a_link_is_no_agent(api, reviewer, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "IDENTITY.md").write_text("Name: Spy\n")
    (config.get().agents_dir / "spy").symlink_to(tmp_path / "outside")
    (folder() / "SOUL.md").symlink_to(tmp_path / "outside" / "IDENTITY.md")
    assert ids(api.get("/v1/agents")) == ["reviewer"]
    assert api.get("/v1/agents/spy").status_code == 404
    assert "SOUL.md" not in api.get("/v1/agents/reviewer").json["files"]


# --- create and delete ---


def test_a_new_agent_is_installed_with_its_files(api):
    answer = api.post("/v1/agents", json={**REVIEWER, "files": {"SOUL.md": "Be kind."}})
    assert (answer.status_code, answer.headers["Location"]) == (201, "/v1/agents/reviewer")
    assert answer.json["files"] == {
        "IDENTITY.md": "Name: Rita\nEmoji: 🔍\nRole: Reviews code\n",
        "SOUL.md": "Be kind.",
    }
    assert (folder() / "config.yml").read_text() == "max_turns: 7\n"


def test_an_agent_is_copied(api, reviewer):
    by_hand("SOUL.md", "Be kind.")
    copy = api.post("/v1/agents", json={"id": "twin", "copyFrom": "reviewer", "role": "Twin"}).json
    assert (copy["name"], copy["role"], copy["files"]["SOUL.md"]) == ("twin", "Twin", "Be kind.")
    assert api.get("/v1/agents/twin/config").json["maxTurns"] == 7
    assert api.post("/v1/agents", json={"id": "x", "copy_from": "nobody"}).json["code"] == "agent_not_found"


def test_an_agent_is_installed_once(api, reviewer):
    answer = api.post("/v1/agents", json=REVIEWER)
    assert (answer.status_code, answer.json["code"]) == (409, "agent_exists")


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"id": "A"}, {"id": "shared"}, {"id": "status"}, {"id": "sessions"}, {"id": ".."}, {"id": "a/b"}),
        *({"id": "x", "files": {"x.md": ""}}, {"id": "x", "config": {"maxTurns": 0}}, {"id": "x", "name": "a\nb"}),
    ],
)
def test_a_bad_agent_is_refused_and_nothing_is_written(api, body):
    assert api.post("/v1/agents", json=body).status_code == 422
    assert not folder("x").exists()


def test_a_deleted_agent_is_in_the_trash_and_can_be_made_again(api, reviewer):
    assert api.delete("/v1/agents/reviewer").status_code == 204
    assert api.delete("/v1/agents/reviewer").status_code == 404
    assert [path.name.split(".")[0] for path in (config.get().agents_dir / ".trash").iterdir()] == ["reviewer"]
    assert api.post("/v1/agents", json=REVIEWER).status_code == 201


def test_an_agent_at_work_is_not_deleted(api, reviewer):
    factories.visit(factories.run(status="running"), "FIX", agent_id="reviewer", status="running", owner="wrk_1")
    answer = api.delete("/v1/agents/reviewer")
    assert (answer.status_code, answer.json["code"]) == (409, "agent_busy")
    assert folder().exists()


# --- configuration ---


def test_the_configuration_has_its_defaults_filled_in(api, reviewer):
    shown = api.get("/v1/agents/reviewer/config").json
    assert (shown["maxTurns"], shown["maxConcurrentSteps"], shown["thinkingLevel"]) == (7, 2, "off")
    assert (shown["tools"], shown["fallbackModels"], shown["budgetUsdPerRun"]) == (["read", "write", "bash"], [], None)


@pytest.mark.parametrize("body", [{"maxTurns": 9}, {"max_turns": 9}, {"config": {"maxTurns": 9}}])
def test_a_key_is_changed_in_any_spelling(api, reviewer, body):
    answer = configure(api, body | {"pulseEnabled": True, "threadMode": "x", "coordination": {}})
    assert (answer.status_code, answer.json["status"], answer.json["agent_id"]) == (200, "updated", "reviewer")
    assert answer.json["config"] == api.get("/v1/agents/reviewer/config").json
    assert answer.json["config"]["maxTurns"] == 9 and answer.json["version"] != reviewer["version"]
    assert (folder() / "config.yml").read_text() == "max_turns: 9\n"


def test_a_change_that_changes_nothing_writes_nothing(api, reviewer):
    before = (folder() / "config.yml").stat().st_mtime_ns
    for body in ({}, {"maxTurns": 7}, {"temperature": None}, {"pulseEnabled": True}):
        assert configure(api, body).json["version"] == reviewer["version"]
    assert (folder() / "config.yml").stat().st_mtime_ns == before


def test_a_refused_change_writes_nothing_and_says_everything(api, reviewer):
    answer = configure(api, {"maxTurns": 0, "temperature": 3, "timeout": 5})
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_config")
    assert set(answer.json["errors"]) == {"max_turns", "temperature"}
    assert configure(api, {"maxTruns": 1}).json["code"] == "unknown_config_key"
    assert configure(api, {"model": "nobody/x"}).json["code"] == "unknown_provider"
    assert configure(api, {"tools": ["read", "fly"]}).json["code"] == "invalid_config"
    assert configure(api, {"maxTurns": 1, "config": {"maxTurns": 2}}).json["code"] == "conflicting_fields"
    assert api.get("/v1/agents/reviewer").json["version"] == reviewer["version"]


def test_a_file_that_cannot_be_read_is_never_overwritten(api, reviewer):
    by_hand("config.yml", "max_turns: [")
    answer = configure(api, {"maxTurns": 2})
    assert (answer.status_code, answer.json["code"]) == (409, "config_unreadable")
    assert (folder() / "config.yml").read_text() == "max_turns: ["


def test_of_two_writers_with_one_etag_one_wins(api, app, reviewer):
    tag = f'"{reviewer["version"]}"'
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: configure(fresh(app), {"maxTurns": n}, **{"If-Match": tag}), range(1, 5)))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]


def fresh(app):
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer operator-token-of-the-tests"
    return client


def test_writers_without_etags_lose_no_change(api, app, reviewer):
    keys = ["maxTurns", "maxRetries", "timeout", "maxTokens"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: configure(fresh(app), {key: 11}), keys))
    shown = api.get("/v1/agents/reviewer/config").json
    assert [shown[key] for key in keys] == [11] * 4


@on_sqlite
def test_a_writer_that_does_not_end_is_not_waited_for_for_ever(api, reviewer, monkeypatch):
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0.1)
    with commands.locked("reviewer"):
        assert (configure(api, {"maxTurns": 1}).status_code, api.get("/v1/agents/reviewer").status_code) == (503, 200)
    assert configure(api, {"maxTurns": 1}).status_code == 200


def test_a_change_is_announced(api, reviewer):
    configure(api, {"maxTurns": 9})
    told = [events.decode(row["data"]) for row in events.after("platform", 0)]
    assert [(event["type"], event["agent_id"], event["files"]) for event in told[-1:]] == [
        ("agent_updated", "reviewer", ["config.yml"])
    ]


# --- files, versions ---


def test_a_persona_file_is_written(api, reviewer):
    answer = api.put("/v1/agents/reviewer/files/SOUL.md", json={"content": "Sei nett: ü"})
    assert (answer.status_code, answer.json["size"], answer.json["filename"]) == (200, 12, "SOUL.md")
    assert (folder() / "SOUL.md").read_text() == "Sei nett: ü"
    assert not [name for name in os.listdir(folder()) if name.startswith(".")]


@pytest.mark.parametrize("name", ["config.yml", "x.md", "soul.md", "SOUL.md.bak"])
def test_only_persona_files_are_written(api, reviewer, name):
    assert api.put(f"/v1/agents/reviewer/files/{name}", json={"content": "x"}).status_code == 422


def test_a_file_over_its_limit_is_refused(api, reviewer):
    assert api.put("/v1/agents/reviewer/files/SOUL.md", json={"content": "x" * 262_145}).status_code == 422
    answer = api.put("/v1/agents/reviewer/files/SOUL.md", json={"content": "ü" * 200_000})
    assert (answer.status_code, answer.json["code"]) == (422, "file_too_large")


def test_versions_show_what_was_changed_by_api_and_by_hand(api, reviewer):
    by_hand("SOUL.md", "Be kind.\n")
    configure(api, {"maxTurns": 9})
    kept = api.get("/v1/agents/reviewer/versions").json
    assert [(version["number"], version["source"]) for version in kept] == [(3, "api"), (2, "disk"), (1, "api")]
    third = api.get("/v1/agents/reviewer/versions/3").json
    assert third["files"]["SOUL.md"] == "Be kind.\n"
    assert "-max_turns: 7\n+max_turns: 9\n" in third["diff"] and "SOUL.md" not in third["diff"]
    assert api.get("/v1/agents/reviewer/versions/9").json["code"] == "version_not_found"
    assert api.get(f"/v1/agents/reviewer/versions/{10**30}").status_code == 404


def test_a_version_is_restored_as_a_new_one(api, reviewer):
    by_hand("SOUL.md", "Be kind.\n")
    configure(api, {"maxTurns": 9})
    restored = api.post("/v1/agents/reviewer/versions/1/restore").json
    assert (restored["version"], restored["files"].keys()) == (reviewer["version"], {"IDENTITY.md"})
    assert api.get("/v1/agents/reviewer/config").json["maxTurns"] == 7
    assert len(api.get("/v1/agents/reviewer/versions").json) == 4


def test_validation_starts_nothing_and_says_what_will_not_work(api, reviewer):
    assert api.post("/v1/agents/reviewer/validate").json == {"valid": True, "problems": [], "warnings": []}
    by_hand("config.yml", "tools: [fly]\nmodel: nobody/x\nmaxTurns: 0\n")
    found = api.post("/v1/agents/reviewer/validate").json
    assert (found["valid"], len(found["problems"]), len(found["warnings"])) == (False, 1, 2)


# --- work ---


def test_the_runs_of_an_agent_are_listed_with_its_steps(api):
    by_hand("IDENTITY.md", "Name: T\n", "tester")
    first, second = factories.run("Old"), factories.run("New", status="failed")
    newest, oldest = api.get("/v1/agents/tester/runs").json
    assert (newest["run_id"], newest["task"], newest["status"]) == (second, "New", "failed")
    assert (oldest["run_id"], oldest["step_ids"], oldest["started_at"]) == (first, [f"{first}_TEST"], None)
    assert [run["run_id"] for run in api.get("/v1/agents/tester/runs?status=failed").json] == [second]
    page = api.get("/v1/agents/tester/runs?limit=1")
    assert [run["run_id"] for run in api.get(page.headers["Link"].split(">")[0][1:]).json] == [first]
    assert api.get("/v1/agents/tester/runs?status=gone").status_code == 422


def test_an_agent_at_work_says_so(api, reviewer):
    run_id = factories.run(status="running")
    factories.visit(run_id, "FIX", agent_id="reviewer", status="running", owner="wrk_1", started_at=5)
    factories.visit(run_id, "TEST", 2, agent_id="reviewer", status="queued")
    status = api.get("/v1/agents/reviewer/status").json
    assert (status["status"], status["state"], status["current_run"]) == ("working", "working", run_id)
    assert status["active_steps"] == [{"run_id": run_id, "step_id": "FIX", "started_at": 5}]
    everyone = api.get("/v1/agents/status").json
    assert everyone["summary"] == {"total": 1, "idle": 0, "working": 1, "thinking": 0, "totalQueued": 1}
    assert everyone["agents"][0]["currentWork"] == {"step": "FIX", "runId": run_id}
    assert everyone["agents"][0]["queueLength"] == 1 and api.get("/v1/agents").json[0]["state"] == "working"


def test_it_is_known_when_an_agent_was_last_active(api):
    by_hand("IDENTITY.md", "Name: T\n", "tester")
    assert api.get("/v1/agents/tester/status").json["last_seen"] is None
    factories.visit(factories.run(), "TEST", agent_id="tester", started_at=5, completed_at=7)
    assert api.get("/v1/agents/tester/status").json["last_seen"] == 7
    assert api.get("/v1/agents/status").json["agents"][0]["lastActive"] == 7


@pytest.mark.parametrize("scope", ["read", "run"])
def test_only_an_admin_changes_agents(api, anyone, reviewer, scope):
    sent = {"Authorization": f"Bearer {tokens.create('t', scope)[1]}"}
    assert anyone.get("/v1/agents/reviewer", headers=sent).status_code == 200
    for method, path in (("POST", ""), ("DELETE", "/reviewer"), ("PUT", "/reviewer/config")):
        assert anyone.open(f"/v1/agents{path}", method=method, headers=sent, json={}).status_code == 403
