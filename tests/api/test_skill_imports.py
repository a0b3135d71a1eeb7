"""/v1/skills/import"""

from __future__ import annotations

import pytest

from models import audit, config, tokens
from tests.security.archives import SKILL, tarred
from tests.workers.clients.double import Double, Reply
from workers import skill_imports as workers


@pytest.fixture
def archive(settings):
    """The URL of an archive with one skill."""
    server = Double()
    server.says(Reply(chunks=[tarred([("repo/SKILL.md", SKILL)])]))
    settings.setenv("EGRESS_ALLOW", server.place)
    config.get.cache_clear()
    yield f"{server.url}/greet.tar.gz"
    server.close()


def test_an_import_is_a_job_that_proposes_until_it_is_approved(api, archive):
    answer = api.post("/v1/skills/import", json={"url": archive})
    job = answer.json
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/v1/skills/import/{job['id']}")
    assert (job["status"], job["skills"], job["archive_sha256"]) == ("queued", [], None)
    assert api.post(f"/v1/skills/import/{job['id']}/approve").json["code"] == "import_not_proposed"
    workers.skill_import(job["id"])
    assert api.get(f"/v1/skills/import/{job['id']}").json["status"] == "proposed"
    assert api.get("/v1/skills").json == []
    approved = api.post(f"/v1/skills/import/{job['id']}/approve").json
    assert (approved["status"], api.get("/v1/skills/greet").json["source"]) == ("approved", "import")
    assert api.post(f"/v1/skills/import/{job['id']}/approve").status_code == 409
    actions = [row.action for row in audit.AuditRow.select().order_by(audit.AuditRow.seq)]
    assert actions == ["skill.import", "skill.import.approve"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"url": "http://example.com/a.zip"}, 422),
        ({"url": "https://example.com/a.zip", "ref": "main"}, 422),
        ({"url": "https://github.com/o/r", "ref": "../x"}, 422),
        ({"url": "https://example.com/a.zip", "sha256": "x"}, 422),
        ({"url": "file:///etc/passwd"}, 403),
        ({"url": "https://a:b@example.com/a.zip"}, 403),
    ],
)
def test_a_bad_import_is_refused(api, body, status):
    assert api.post("/v1/skills/import", json=body).status_code == status


def test_only_an_admin_imports(api, anyone, archive):
    sent = {"Authorization": f"Bearer {tokens.create('t', 'run')[1]}"}
    job = api.post("/v1/skills/import", json={"url": archive}).json["id"]
    assert anyone.post("/v1/skills/import", json={"url": archive}, headers=sent).status_code == 403
    assert anyone.post(f"/v1/skills/import/{job}/approve", headers=sent).status_code == 403
    assert anyone.get(f"/v1/skills/import/{job}", headers=sent).status_code == 200


def test_an_import_that_is_not_there_is_not_found(api):
    assert api.get("/v1/skills/import/imp_x").json["code"] == "import_not_found"
    assert api.post("/v1/skills/import/imp_x/approve").status_code == 404
