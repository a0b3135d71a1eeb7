"""GET /v1/approvals, one approval, and deciding it."""

from __future__ import annotations

import pytest

from api import probes
from api.resources.approvals import ApprovalSchema
from models import tokens
from tests.api import factories
from tests.api.conftest import on_sqlite
from tests.end_to_end.test_people_and_branches import ASK, until_paused
from tests.engine import Engine
from workers import runs


@pytest.fixture
def asking(settings):
    """A run that waits for a person between two steps."""
    return until_paused(Engine(ASK, {"A": ["version 2"]}))


@pytest.fixture
def url(api, asking):
    return f"/v1/approvals/{api.get('/v1/approvals').json[0]['id']}"


def ids(answer):
    return [approval["id"] for approval in answer.json]


# --- works ---


def test_what_waits_is_listed_and_shown_with_every_field(api, asking, url):
    approval = api.get(url).json
    assert api.get("/v1/approvals").json == [approval]
    assert approval.keys() == ApprovalSchema().fields.keys()
    assert (approval["run_id"], approval["step_id"], approval["kind"]) == (asking.run_id, "OK", "step")
    assert (approval["prompt"], approval["options"]) == ("Ship version 2?", ["approve", "reject"])
    assert (approval["status"], approval["decision"], approval["data"]) == ("pending", None, {})
    assert approval["expires_at"] > approval["created_at"]


def test_the_run_shows_that_it_waits_for_a_person(api, asking, url):
    run = api.get(f"/v1/runs/{asking.run_id}").json
    assert (run["status"], run["status_reason"], run["current_step"]) == ("paused", "approval", "OK")
    step = next(step for step in run["steps"] if step["step_id"] == "OK")
    assert (step["status"], step["approval_id"]) == ("paused", url.rpartition("/")[2])
    probes.forget()
    assert api.get("/v1/status").json["pending_approvals"] == 1


def test_a_decision_is_kept_with_who_made_it_and_the_run_goes_on(api, asking, url):
    answer = api.post(url, json={"decision": "approve", "comment": "Go"})
    decided = answer.json
    assert (answer.status_code, decided["status"], decided["decision"]) == (200, "decided", "approve")
    assert (decided["comment"], decided["decided_by"]) == ("Go", "environment")
    assert decided["decided_at"] >= decided["created_at"]
    assert api.get(f"/v1/runs/{asking.run_id}").json["status"] == "running"
    assert (api.get("/v1/approvals").json, ids(api.get("/v1/approvals?status=all"))) == ([], [decided["id"]])
    assert asking.finish().run.outputs["comment"] == "Go"


def test_a_budget_is_raised_by_what_the_decision_says(api, settings):
    reply = {"text": "x", "usage": {"input_tokens": 400, "output_tokens": 600}}
    text = "id: b\nagents: [{id: a}]\ndefaults: {tools: [], maxRetries: 0, maxOutputTokens: 600}\nsteps:\n"
    text += "  - {id: CALL, agent: a, input: a, outputs: [x], onComplete: MORE}\n"
    text += "  - {id: MORE, agent: a, input: a, outputs: [y]}\n"
    run = until_paused(Engine(text, {"CALL": [reply], "MORE": [reply]}, max_tokens=1_200, on_budget="pause"))
    (approval,) = api.get(f"/v1/approvals?kind=budget&run_id={run.run_id}").json
    body = {"decision": "raise", "data": {"add_tokens": 5_000}}
    assert api.post(f"/v1/approvals/{approval['id']}", json=body).status_code == 200
    assert api.get(f"/v1/runs/{run.run_id}").json["limits"]["max_tokens"] == 6_200
    assert run.finish().run.status == "completed"


def test_the_oldest_come_first_and_pages_join_without_gap_or_repeat(api, run_id):
    made = [factories.approval(run_id) for _ in range(5)]
    url, seen = "/v1/approvals?limit=2", []
    while url:
        answer = api.get(url)
        seen += ids(answer)
        url = answer.headers.get("Link", "").partition(">")[0].lstrip("<")
    assert seen == made


def test_filters_join_by_and(api, run_id):
    step, tool, old = (
        factories.approval(run_id),
        factories.approval(factories.run(), kind="tool"),
        factories.approval(run_id, status="expired"),
    )
    assert ids(api.get("/v1/approvals")) == [step, tool]
    assert ids(api.get("/v1/approvals?status=all")) == [step, tool, old]
    assert ids(api.get(f"/v1/approvals?status=all&run_id={run_id}")) == [step, old]
    assert ids(api.get("/v1/approvals?kind=tool")) == [tool]
    assert ids(api.get("/v1/approvals?status=expired&kind=tool")) == []


# --- access ---


def test_reading_does_not_let_decide(anyone, url):
    sent = {"Authorization": f"Bearer {tokens.create('r', 'read')[1]}"}
    assert anyone.get(url, headers=sent).status_code == 200
    assert anyone.post(url, json={"decision": "approve"}, headers=sent).status_code == 403


def test_only_the_named_approvers_may_decide(api, anyone, settings):
    until_paused(Engine(ASK.replace("timeoutSeconds: 3600", "approvers: [boss]")))
    url = f"/v1/approvals/{api.get('/v1/approvals').json[0]['id']}"
    assert api.post(url, json={"decision": "approve"}).status_code == 403
    assert api.get(url).json["status"] == "pending"
    boss = {"Authorization": f"Bearer {tokens.create('boss', 'run')[1]}"}
    assert anyone.post(url, json={"decision": "approve"}, headers=boss).json["decided_by"] == "boss"


# --- bad input ---


def test_a_decision_must_be_one_of_the_options(api, url):
    answer = api.post(url, json={"decision": "maybe"})
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["decision"])
    assert api.get(url).json["status"] == "pending"


@on_sqlite
@pytest.mark.parametrize(
    "body",
    [
        *({}, {"decision": 5}, {"decision": "approve", "comment": "x" * 10_001}, {"decision": "approve", "why": "x"}),
        *({"decision": "raise", "data": data} for data in ([], {"add_tokens": 0}, {"add_tokens": "5"})),
        *({"decision": "raise", "data": data} for data in ({"add_cost_usd": -1}, {"result": " "}, {"x": 1})),
    ],
)
def test_a_bad_decision_is_refused(api, run_id, body):
    url = f"/v1/approvals/{factories.approval(run_id, options=['approve', 'raise'], kind='budget')}"
    assert api.post(url, json=body).status_code == 422


@on_sqlite
@pytest.mark.parametrize("query", ["status=open", "kind=wish", "limit=0", "cursor=!!", "foo=1"])
def test_a_bad_list_query_is_refused(api, query):
    assert api.get(f"/v1/approvals?{query}").status_code == 422


# --- missing ---


def test_what_does_not_exist_is_not_found(api):
    for answer in (api.get("/v1/approvals/apr_x"), api.post("/v1/approvals/apr_x", json={"decision": "approve"})):
        assert (answer.status_code, answer.json["code"]) == (404, "approval_not_found")
    assert api.get("/v1/approvals?run_id=run_x").json == []


# --- side effects ---


def test_a_cancelled_run_asks_nobody_any_more(api, asking, url):
    api.post(f"/v1/runs/{asking.run_id}/cancel")
    answer = api.post(url, json={"decision": "approve"})
    assert (answer.status_code, answer.json["code"]) == (409, "approval_withdrawn")
    assert api.get(url).json["status"] == "withdrawn"


def test_a_run_that_a_person_paused_is_resumed_before_anything_is_decided(api, asking, url):
    runs.pause(asking.run_id)
    answer = api.post(url, json={"decision": "approve"})
    assert (answer.status_code, answer.json["code"]) == (409, "run_paused")
    assert api.get(url).json["status"] == "pending"


# --- idempotence ---


def test_the_same_decision_again_changes_nothing_and_another_is_refused(api, asking, url):
    first = api.post(url, json={"decision": "approve"})
    assert api.post(url, json={"decision": "approve", "comment": "Again"}).json == first.json
    other = api.post(url, json={"decision": "reject"})
    assert (other.status_code, other.json["code"]) == (409, "already_decided")
    assert asking.types.count("approval_decided") == 1
