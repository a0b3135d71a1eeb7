"""/v1/skills"""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from api.app import begin_skills
from models import audit, config, events, tokens
from models import skills as rows
from pipelines import skills as pages
from tests.api.conftest import on_sqlite
from tests.chat import install
from workers import skill_folders

GREET = {"name": "greet", "description": "How to greet.", "content": "Say hello.", "tags": ["people"]}
FILES = [{"path": "a/names.txt", "content": "Ann"}, {"path": "x.bin", "contentBase64": "/w=="}]
FIELDS = """id name description tags content enabled scope owner_agent_id default_grant has_files files frontmatter
version sha256 source created_by uses last_used_at valid problems created_at updated_at"""


@pytest.fixture
def greet(api):
    return add(api).json


@pytest.fixture
def writer(app):
    install("writer")


def add(api, **more):
    return api.post("/v1/skills", json={**GREET, **more})


def change(api, body, name: str = "greet", **headers):
    return api.put(f"/v1/skills/{name}", json=body, headers=headers)


def names(answer) -> list[str]:
    return [skill["name"] for skill in answer.json]


def code(answer) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


def folder(name: str = "greet") -> Path:
    return config.get().skills_dir / name


# --- create ---


def test_a_skill_is_added_and_shown(api):
    answer = add(api, files=FILES, has_files=True)
    skill = answer.json
    assert (answer.status_code, answer.headers["Location"]) == (201, "/v1/skills/greet")
    assert set(skill) == set(FIELDS.split())
    assert (skill["id"], skill["content"], skill["tags"], skill["version"]) == ("greet", "Say hello.", ["people"], 1)
    assert (skill["source"], skill["scope"], skill["enabled"], skill["valid"]) == ("api", "global", True, True)
    assert [(file["path"], file["size"]) for file in skill["files"]] == [("a/names.txt", 3), ("x.bin", 1)]
    assert api.get("/v1/skills/greet/").json == skill and (folder() / "x.bin").read_bytes() == b"\xff"


def test_the_creator_in_the_query_is_ignored(api):
    assert api.post("/v1/skills?created_by=ui", json=GREET).json["created_by"] != "ui"


@pytest.mark.parametrize(("given", "name"), [(" Greet People ", "greet-people"), ("a_b", "a-b"), ("X", "x")])
def test_a_name_is_tidied_and_no_more(api, given, name):
    assert add(api, name=given).json["name"] == name


@pytest.mark.parametrize(
    ("given", "suggestion"),
    [("Héllo!", "h-llo"), ("a--b", "a-b"), ("agents", "agents-skill"), ("a/../b", "a-b"), ("x" * 65, "x" * 64)],
)
def test_a_name_that_cannot_be_one_is_refused_with_a_suggestion(api, given, suggestion):
    answer = add(api, name=given)
    assert code(answer) == (422, "invalid_name")
    assert answer.json["errors"]["name"] == [f"not a name; {suggestion} would be one"]


def test_front_matter_in_the_content_is_split(api):
    content = "---\nname: greet\nlicense: MIT\ntags: [a]\nenabled: false\n---\n\n# Hello"
    skill = add(api, content=content, tags=["b"]).json
    assert (skill["content"], skill["frontmatter"]["license"], skill["tags"]) == ("# Hello", "MIT", ["b"])
    assert skill["enabled"] is False


@pytest.mark.parametrize("line", ["name: other", "description: Another."])
def test_front_matter_that_says_something_else_is_refused(api, line):
    assert code(add(api, content=f"---\n{line}\n---\nText")) == (422, "conflicting_fields")


@pytest.mark.parametrize(
    "more",
    [
        *({"content": " "}, {"content": "---\nname: greet\n---\n \n"}, {"content": "---\na: [\n---\nx"}),
        *({"description": ""}, {"description": "x" * 1025}, {"tags": ["x"] * 21}, {"tags": [""]}, {"enabled": "true"}),
        *({"scope": "all"}, {"x": 1}, {"files": [{"path": "a"}]}, {"files": [{"path": "a", "content_base64": "é"}]}),
        {"files": [{"path": "a", "content": "1"}, {"path": "a", "content": "2"}]},
        {"files": [{"path": "a", "content": "1"}, {"path": "a/b", "content": "2"}]},
        {"files": [{"path": f"f{n}", "content": ""} for n in range(101)]},
    ],
)
def test_a_bad_skill_is_refused_and_nothing_is_stored(api, more):
    assert add(api, **more).status_code == 422
    assert api.get("/v1/skills").json == [] and not folder().exists()


def test_a_skill_of_an_agent_needs_one(api, writer):
    assert code(add(api, scope="agent")) == (422, "owner_required")
    assert code(add(api, scope="agent", owner_agent_id="nobody")) == (422, "unknown_agent")
    assert add(api, scope="agent", ownerAgentId="writer").json["owner_agent_id"] == "writer"


def test_a_name_is_taken_until_the_skill_is_deleted(api, greet):
    assert code(add(api, name="GREET")) == (409, "skill_exists")
    api.delete("/v1/skills/greet")
    assert add(api).json["version"] == 2


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("run", 403), ("worker", 403), ("admin", 201)])
def test_only_an_admin_adds(anyone, scope, status):
    sent = {"Authorization": f"Bearer {tokens.create('t', scope)[1]}"}
    assert anyone.post("/v1/skills", json=GREET, headers=sent).status_code == status


# --- list and get ---


def test_skills_are_listed_by_name_in_pages(api):
    for name in ("b", "a", "c"):
        add(api, name=name)
    first = api.get("/v1/skills?limit=2&content=false")
    assert names(first) == ["a", "b"] and first.json[0]["content"] is None
    assert names(api.get(first.headers["Link"].split(">")[0][1:])) == ["c"]


def test_a_list_is_narrowed(api, writer):
    add(api, name="one", tags=["a_b"], description="100% sure")
    add(api, name="two", tags=["axb"], enabled=False)
    add(api, name="three", tags=[], scope="agent", owner_agent_id="writer")
    assert names(api.get("/v1/skills?tag=a_b")) == names(api.get("/v1/skills?q=0%25%20S")) == ["one"]
    assert names(api.get("/v1/skills?enabled=false")) == ["two"]
    assert names(api.get("/v1/skills?scope=agent&enabled=true")) == ["three"]


def test_a_broken_skill_is_listed_with_its_problems(api, greet):
    broken = folder("broken")
    broken.mkdir()
    (broken / "SKILL.md").write_text("no front matter")
    skill_folders.scan_disk(skill_folders.SCAN)
    shown = api.get("/v1/skills").json[0]
    assert (shown["name"], shown["valid"], shown["version"], len(shown["problems"]) > 0) == ("broken", False, 0, True)
    assert change(api, {"description": "d", "content": "c"}, "broken").json["valid"]


@pytest.mark.parametrize("path", ["", "/versions", "/versions/1", "/versions/1/diff", "/files/x"])
def test_what_is_not_there_is_not_found(api, path):
    assert code(api.get(f"/v1/skills/none{path}"))[0] == 404


# --- change ---


def test_a_change_of_text_makes_a_version_and_the_rest_does_not(api, greet, writer):
    assert change(api, {"content": "Say goodbye."}).json["version"] == 2
    assert change(api, {"enabled": False, "defaultGrant": True}).json["version"] == 2
    assert change(api, {"scope": "agent", "owner_agent_id": "writer"}).json["version"] == 2
    assert change(api, {"tags": []}).json["version"] == 3
    assert change(api, {"files": FILES}).json["version"] == 4
    last = change(api, {"description": "Other."}).json
    assert (last["version"], last["has_files"], last["content"], last["scope"]) == (5, True, "Say goodbye.", "agent")


@pytest.mark.parametrize(
    "body", [{}, {"content": "Say hello."}, {"content": None, "tags": ["people"], "enabled": True}]
)
def test_a_change_of_nothing_writes_nothing(api, greet, body):
    seen = len(told())
    assert change(api, body).json == greet
    assert len(told()) == seen


def test_a_change_on_top_of_another_version_is_refused(api, greet):
    tag = api.get("/v1/skills/greet").headers["ETag"]
    assert change(api, {"content": "2"}, **{"If-Match": tag}).status_code == 200
    assert change(api, {"content": "3"}, **{"If-Match": tag}).status_code == 412
    assert api.delete("/v1/skills/greet", headers={"If-Match": tag}).status_code == 412


@pytest.mark.parametrize("body", [{"name": "x"}, {"content": "---\nname: other\n---\nx"}, {"scope": "agent"}])
def test_a_bad_change_is_refused(api, greet, body):
    assert change(api, body).status_code == 422
    assert api.get("/v1/skills/greet").json == greet


def test_a_skill_is_disabled_and_enabled_by_body_or_query(api, greet):
    path = "/v1/skills/greet/enabled"
    assert api.patch(path, json={"enabled": False}).json["enabled"] is False
    assert api.patch(f"{path}?enabled=true").json["enabled"] is True
    assert api.patch(f"{path}?enabled=false", json={"enabled": False}).json["enabled"] is False


@pytest.mark.parametrize(("query", "body"), [("", {}), ("?enabled=true", {"enabled": False}), ("?enabled=yes", {})])
def test_enabling_must_be_said_once(api, greet, query, body):
    assert api.patch(f"/v1/skills/greet/enabled{query}", json=body).status_code == 422


def test_a_skill_is_deleted_once_with_its_grants(api, greet, writer):
    api.post("/v1/skills/agents/writer/greet/grant")
    assert [api.delete("/v1/skills/greet").status_code for _ in range(2)] == [204, 404]
    assert not folder().exists() and list(folder().parent.glob(".trash/greet.*/SKILL.md"))
    add(api)
    assert api.get("/v1/skills/agents/writer").json == []


def told() -> list[tuple[str, str]]:
    found = [events.decode(row["data"]) for row in events.after("platform", 0)]
    return [(event["type"], event["name"]) for event in found]


def test_changes_are_announced_and_in_the_audit_log(api, greet, writer):
    api.post("/v1/skills/agents/writer/greet/grant")
    api.delete("/v1/skills/greet")
    assert told() == [("skill_updated", "greet"), ("skill_grants_changed", "greet"), ("skill_deleted", "greet")]
    actions = [row.action for row in audit.AuditRow.select().order_by(audit.AuditRow.seq)]
    assert actions == ["skill.create", "skill.grant", "skill.delete"]


# --- versions and files ---


def test_versions_are_kept_compared_and_restored(api, greet):
    change(api, {"content": "Say goodbye.", "files": FILES})
    assert [kept["version"] for kept in api.get("/v1/skills/greet/versions").json] == [2, 1]
    assert api.get("/v1/skills/greet/versions/1").json["content"] == "Say hello."
    assert api.get("/v1/skills/greet?version=1").json["content"] == "Say hello."
    diff = api.get("/v1/skills/greet/versions/1/diff").json
    assert "-Say hello.\n+Say goodbye.\n" in diff["diff"] and diff["files"]["x.bin"] == "added"
    restored = api.post("/v1/skills/greet/versions/1/restore").json
    assert (restored["version"], restored["content"], restored["files"]) == (3, "Say hello.", [])
    assert api.post("/v1/skills/greet/versions/9/restore").json["code"] == "version_not_found"


def test_a_companion_is_sent_as_a_download(api):
    add(api, files=FILES)
    answer = api.get("/v1/skills/greet/files/a/names.txt")
    assert (answer.data, answer.headers["Content-Disposition"]) == (b"Ann", "attachment")
    assert (answer.content_type, answer.headers["X-Content-Type-Options"]) == ("application/octet-stream", "nosniff")
    assert api.get("/v1/skills/greet/files/SKILL.md").status_code == 404


# --- agents ---


def test_an_agent_is_granted_a_skill_and_shows_it(api, greet, writer):
    grant = api.post("/v1/skills/agents/writer/greet/grant", json={})
    assert (grant.status_code, grant.json["id"], grant.json["granted_at"] > 0) == (200, "greet", True)
    assert api.post("/v1/skills/agents/writer/greet/grant").json == grant.json
    assert names_of(api) == ["greet"] == api.get("/v1/agents/writer").json["skills"]
    manifest = api.get("/v1/skills/agents/writer/manifest").json
    assert manifest["manifest_text"] == "- greet: How to greet."
    assert manifest["skills"] == [{"id": "greet", "description": "How to greet.", "tags": ["people"], "version": 1}]
    api.patch("/v1/skills/greet/enabled?enabled=false")
    assert api.get("/v1/skills/agents/writer/manifest").json == {"skills": [], "manifest_text": ""}
    assert (names_of(api), api.get("/v1/agents/writer").json["skills"]) == (["greet"], [])


def names_of(api, agent: str = "writer") -> list[str]:
    return [skill["id"] for skill in api.get(f"/v1/skills/agents/{agent}").json]


def test_a_grant_is_taken_back_also_one_that_everybody_has(api, writer):
    add(api, default_grant=True)
    assert names_of(api) == ["greet"]
    assert [api.delete("/v1/skills/agents/writer/greet").status_code for _ in range(2)] == [204, 404]
    assert names_of(api) == []
    api.post("/v1/skills/agents/writer/greet/grant")
    legacy = api.delete("/v1/skills/agents/writer/greet?legacy=true")
    assert (legacy.status_code, legacy.json) == (200, {"revoked": "greet", "agent_id": "writer"})


def test_only_its_owner_gets_a_skill_of_one_agent(api, writer):
    install("other")
    add(api, scope="agent", owner_agent_id="writer")
    assert code(api.post("/v1/skills/agents/other/greet/grant")) == (409, "skill_owned")
    assert (names_of(api), names_of(api, "other")) == (["greet"], [])


def test_what_an_agent_may_not_read_says_why(api, writer):
    path = "/v1/skills/agents/writer/greet/content"
    assert code(api.get(path)) == (404, "skill_not_found")
    add(api, enabled=False, files=FILES)
    assert code(api.get(path)) == (403, "not_granted")
    api.post("/v1/skills/agents/writer/greet/grant")
    assert code(api.get(path)) == (409, "skill_disabled")
    api.patch("/v1/skills/greet/enabled?enabled=true")
    assert api.get(path).json["content"] == "Say hello."
    assert api.get(f"{path}?file=a/names.txt").json["content"] == "Ann"
    assert base64.b64decode(api.get(f"{path}?file=x.bin").json["content_base64"]) == b"\xff"
    assert len(api.get("/v1/skills/agents/writer/greet/files").json) == 2


def test_an_agent_that_is_not_there_is_not_found(api, greet):
    for method, path in (("get", ""), ("get", "/manifest"), ("post", "/greet/grant"), ("get", "/greet/content")):
        assert code(getattr(api, method)(f"/v1/skills/agents/nobody{path}")) == (404, "agent_not_found")


# --- parse ---


def test_a_text_is_parsed_and_nothing_stored(api):
    found = api.post("/v1/skills/parse", json={"content": "---\nname: a\ndescription: b\n---\n\nText"}).json
    assert (found["valid"], found["name"], found["content"], found["enabled"]) == (True, "a", "Text", True)
    broken = api.post("/v1/skills/parse", json={"content": "---\nname: [\n---\n"}).json
    assert not broken["valid"] and len(broken["problems"]) > 1
    assert api.get("/v1/skills").json == []


@on_sqlite
def test_a_restart_neither_reverts_nor_brings_back(api, settings):
    begin_skills()
    skill_folders.scan_disk(skill_folders.SCAN)
    assert set(names(api.get("/v1/skills"))) == pages.built_in()
    change(api, {"content": "Mine."}, "debugging")
    api.delete("/v1/skills/code-review")
    begin_skills()
    skill_folders.scan_disk(skill_folders.SCAN)
    assert set(names(api.get("/v1/skills"))) == pages.built_in() - {"code-review"}
    shown = api.get("/v1/skills/debugging").json
    assert (shown["content"], shown["source"]) == ("Mine.", "builtin") and rows.deleted() == ["code-review"]


@on_sqlite
def test_a_version_beyond_any_number_is_not_found(api, greet):
    assert api.get(f"/v1/skills/greet/versions/{10**30}").status_code == 404
