"""/v1/github/triggers and /v1/github/approvals"""

from __future__ import annotations

import pytest

from models import audit
from models.runs import Run
from tests.api.conftest import AUTH
from tests.api.test_github_webhooks import hook, process_all  # noqa: F401
from tests.github import commented, deliver, labeled

URL = "/v1/github/triggers"
MINE = {
    "name": "mine",
    "event": "issues",
    "target": {"kind": "pipeline", "pipeline_id": "quickstart"},
    "task_template": "{{issue.title}} by {{issue.user.login}}",
}


@pytest.fixture
def made(api):
    return api.post(URL, json=MINE).json


def test_a_trigger_is_made_with_its_defaults(api):
    answer = api.post(URL, json=MINE)
    trigger = answer.json
    assert (answer.status_code, answer.headers["Location"]) == (201, f"{URL}/{trigger['id']}")
    assert trigger["id"].startswith("trg_") and trigger["concurrency_key"] == "{{repository.full_name}}#{{number}}"
    assert (trigger["enabled"], trigger["built_in"], trigger["on_conflict"]) == (True, False, "skip")
    assert (trigger["fired"], trigger["version"], trigger["conditions"]) == (0, 1, {})
    assert api.get(answer.headers["Location"]).json == trigger


def test_both_spellings_are_read(api):
    body = {**MINE, "taskTemplate": MINE["task_template"], "onConflict": "queue", "conditions": {"labelsAny": ["a"]}}
    body["target"] = {"kind": "pipeline", "pipelineId": "quickstart"}
    made = api.post(URL, json=body).json
    assert (made["on_conflict"], made["conditions"]) == ("queue", {"labels_any": ["a"]})
    assert made["target"] == {"kind": "pipeline", "pipeline_id": "quickstart"}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"event": "nonsense"}, "event"),
        ({"target": {"kind": "pipeline", "pipeline_id": "gone"}}, "target.pipeline_id"),
        ({"target": {"kind": "task", "project_id": "proj_x"}}, "target.project_id"),
        ({"target": {"kind": "task"}}, "target.project_id"),
        ({"target": {"kind": "other"}}, "target.kind"),
        ({"repositories": ["a b"]}, "repositories"),
        ({"conditions": {"command": "resolve"}}, "conditions.command"),
        ({"conditions": {"draft": 1}}, "conditions.draft"),
        ({"task_template": "{% if x %}"}, "task_template"),
        ({"on_conflict": "both"}, "on_conflict"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_is_wrong_is_named(api, change, path):
    answer = api.post(URL, json=MINE | change)
    assert (answer.status_code, list(answer.json["errors"])) == (422, [path])


def test_a_trigger_is_changed_in_part_and_under_its_etag(api, made):
    place = f"{URL}/{made['id']}"
    tag = api.get(place).headers["ETag"]
    changed = api.put(place, json={"enabled": False}, headers={"If-Match": tag})
    assert (changed.status_code, changed.json["enabled"], changed.json["version"]) == (200, False, 2)
    assert api.put(place, json={"enabled": True}, headers={"If-Match": tag}).status_code == 412
    assert api.put(place, json={"enabled": False}).json["version"] == 2


def test_a_built_in_one_is_disabled_and_not_deleted(api):
    place = f"{URL}/issue-resolve"
    assert api.put(place, json={"enabled": False}).json["enabled"] is False
    assert (api.delete(place).status_code, api.delete(place).json["code"]) == (409, "built_in")


def test_a_trigger_is_deleted_once(api, made):
    assert [api.delete(f"{URL}/{made['id']}").status_code for _ in range(2)] == [204, 404]
    assert [row["id"] for row in api.get(URL).json] == ["issue-resolve", "issue-resolve-command"]


def test_changes_stand_in_the_audit_log(api, made):
    api.delete(f"{URL}/{made['id']}")
    actions = [row.action for row in audit.AuditRow.select().order_by(audit.AuditRow.seq)]
    assert actions == ["github.trigger.create", "github.trigger.delete"]


def test_a_test_says_whether_it_matches_and_starts_nothing(api, made):
    answer = api.post(f"{URL}/{made['id']}/test", json={"payload": labeled(7)}).json
    assert (answer["matches"], answer["reasons"], answer["trusted"]) == (True, [], True)
    assert answer["rendered"] == {"task": "It is broken by mona", "concurrency_key": "octo/hello#7"}
    assert Run.select().count() == 0


def test_a_test_takes_a_delivery_of_the_inbox(hook, api, made):  # noqa: F811
    id = deliver(hook, "watch", {"action": "started"}).json["id"]
    answer = api.post(f"{URL}/{made['id']}/test", json={"delivery": id}).json
    assert (answer["matches"], answer["reasons"]) == (False, ["the event is watch"])
    assert api.post(f"{URL}/{made['id']}/test", json={"delivery": "dlv_x"}).status_code == 404
    assert api.post(f"{URL}/{made['id']}/test", json={}).status_code == 422


@pytest.fixture
def asked(hook, api):  # noqa: F811
    """What a stranger has asked for."""
    deliver(hook, "issue_comment", commented("/resolve", association="NONE", sender={"login": "stranger"}))
    process_all()
    return api.get("/v1/github/approvals?status=pending").json[0]


def test_an_admin_starts_what_a_stranger_has_asked_for_once(api, asked):
    place = f"/v1/github/approvals/{asked['id']}"
    assert (asked["sender"], asked["association"], asked["number"]) == ("stranger", "NONE", 7)
    approved = api.post(f"{place}/approve", json={"comment": "fine"})
    item = approved.json
    assert (approved.status_code, item["status"], item["decided_by"]) == (200, "approved", "environment")
    assert approved.json["result"] == Run.select().get().id
    assert api.post(f"{place}/reject").json["code"] == "already_decided"


def test_what_is_rejected_is_not_started(api, asked):
    rejected = api.post(f"/v1/github/approvals/{asked['id']}/reject", json={"comment": "no"}).json
    assert (rejected["status"], rejected["comment"], Run.select().count()) == ("rejected", "no", 0)
    assert api.get("/v1/github/approvals?status=pending").json == []


def test_only_an_admin_decides(anyone, api, asked):
    assert api.post("/v1/github/approvals/apr_x/approve").status_code == 404
    assert anyone.get("/v1/github/approvals", headers=AUTH).status_code == 200
    assert anyone.get("/v1/github/approvals").status_code == 401
