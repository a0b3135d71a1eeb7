"""/v1/audit"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from api.audited import REFUSALS_PER_MINUTE, refusals
from models import audit, database, tokens
from models.audit import AuditRow
from tests.api import factories
from tests.api.conftest import on_sqlite
from tests.end_to_end.test_people_and_branches import ASK, until_paused
from tests.engine import Engine

VALUE = "a value that nobody may see"
SECRET = {"name": "s", "value": VALUE, "agents": ["writer"]}


@pytest.fixture(autouse=True)
def forget_refusals():
    refusals._count = 0


def log(api, **query) -> list[dict]:
    return api.get("/v1/audit", query_string=query).json


def actions(api, **query) -> list[str]:
    return [entry["action"] for entry in log(api, **query)]


def note(count: int = 1) -> None:
    for number in range(count):
        with database.transaction():
            audit.record("x.y", "thing", f"t{number}", audit.Actor("me"), detail={"n": number})


# --- what is written ---


def test_every_change_of_a_secret_is_recorded_without_its_value(api):
    api.post("/v1/secrets", json=SECRET)
    api.put("/v1/secrets/s", json={"value": VALUE + "!", "description": "d"})
    api.post("/v1/secrets/s/grant/ux")
    api.delete("/v1/secrets/s/grant/ux")
    api.post("/v1/secrets/s/versions/1/restore")
    api.post("/v1/secrets/rekey")
    api.delete("/v1/secrets/s")
    done = ["delete", "rekey", "restore", "revoke", "grant", "update", "create"]
    assert actions(api) == [f"secret.{name}" for name in done]
    assert log(api, action="secret.update")[0]["detail"] == {"name": "s", "fields": ["description", "value"]}
    assert VALUE not in api.get("/v1/audit").text


def test_an_entry_says_who_where_and_what(api):
    answer = api.post("/v1/auth/tokens", json={"name": "ci", "scope": "run"})
    entry = log(api)[0]
    assert entry["actor"] == {"token_id": "tok_environment", "scope": "admin", "kind": "token", "name": "environment"}
    assert (entry["action"], entry["object_type"], entry["object_id"]) == ("token.create", "token", answer.json["id"])
    assert (entry["ip"], entry["outcome"], entry["detail"]) == ("127.0.0.1", "ok", {"name": "ci", "scope": "run"})
    assert entry["request_id"] == answer.headers["X-Request-Id"]
    assert answer.json["token"] not in str(entry)


def test_changes_of_tokens_and_removals_of_runs_are_recorded(api):
    token = api.post("/v1/auth/tokens", json={"name": "ci", "scope": "run"}).json["id"]
    api.put(f"/v1/auth/tokens/{token}", json={"name": "new"})
    api.post(f"/v1/auth/tokens/{token}/rotate", json={"grace_seconds": 5})
    api.delete(f"/v1/auth/tokens/{token}")
    run_id = factories.run(status="completed")
    assert api.delete(f"/v1/runs/{run_id}").status_code == 204
    assert actions(api) == ["run.delete", "token.revoke", "token.rotate", "token.update", "token.create"]


def test_a_decision_is_recorded_once_it_counts(api):
    until_paused(Engine(ASK, {"A": ["version 2"]}))
    approval = api.get("/v1/approvals").json[0]["id"]
    for decision in ("nonsense", "approve"):
        api.post(f"/v1/approvals/{approval}", json={"decision": decision})
    entry = log(api)[0]
    assert actions(api) == ["approval.decide"]
    assert (entry["object_id"], entry["detail"]) == (approval, {"decision": "approve"})


def test_what_changes_nothing_or_fails_leaves_no_entry(api):
    api.post("/v1/secrets", json=SECRET)
    api.put("/v1/secrets/s", json={"value": VALUE})
    api.post("/v1/secrets", json=SECRET)
    api.delete("/v1/runs/run_x")
    assert actions(api) == ["secret.create"]


def test_a_change_whose_entry_cannot_be_written_does_not_happen(api, monkeypatch):
    monkeypatch.setattr(audit, "digest", lambda row: 1 / 0)
    api.application.config["PROPAGATE_EXCEPTIONS"] = False
    assert api.post("/v1/secrets", json=SECRET).status_code == 500
    assert api.get("/v1/secrets").json == []


def test_reading_values_is_recorded_by_name(api, anyone):
    api.post("/v1/secrets", json=SECRET)
    worker = {"Authorization": f"Bearer {tokens.create('w', 'worker')[1]}"}
    anyone.get("/v1/secrets/agents/writer/env", headers=worker)
    entry = log(api, action="secret.read")[0]
    assert (entry["actor"]["name"], entry["object_id"], entry["detail"]) == ("w", "writer", {"names": ["s"]})


def test_refusals_of_tokens_are_recorded_up_to_a_rate(api, anyone):
    low = {"Authorization": f"Bearer {tokens.create('low', 'read')[1]}"}
    anyone.post("/v1/secrets", headers=low)
    anyone.get("/v1/runs", headers={"Authorization": "Bearer wrong"})
    anyone.get("/v1/runs")
    wrong, scope = log(api, outcome="denied")
    assert (wrong["actor"]["kind"], wrong["detail"]["code"]) == ("anonymous", "unauthorized")
    assert (scope["actor"]["name"], scope["detail"]["path"]) == ("low", "/v1/secrets")
    for _ in range(REFUSALS_PER_MINUTE):
        anyone.post("/v1/secrets", headers=low)
    assert len(log(api, outcome="denied")) <= REFUSALS_PER_MINUTE + 1  # a minute may have ended


# --- reading it ---


def test_the_log_is_paged_and_filtered(api):
    note(3)
    first = api.get("/v1/audit?limit=2")
    assert [entry["object_id"] for entry in first.json] == ["t2", "t1"]
    assert [entry["object_id"] for entry in api.get(first.headers["Link"].split(">")[0][1:]).json] == ["t0"]
    at = first.json[1]["at"]
    assert len(log(api, object_id="t1", actor="me", object_type="thing", action="x.y", since=at, until=at + 1)) == 1
    assert [log(api, **{name: "no"}) for name in ("object_id", "actor", "object_type", "action")] == [[]] * 4
    assert log(api, until=1) == log(api, outcome="error") == []


@pytest.mark.parametrize("query", ["outcome=good", "since=x", "cursor=!!", "cursor=eA", "x=1"])
def test_a_bad_query_is_refused(api, query):
    assert api.get(f"/v1/audit?{query}").status_code == 422


def test_only_an_admin_reads_it_and_nobody_changes_it(api, anyone):
    for scope in ("read", "run", "worker"):
        sent = {"Authorization": f"Bearer {tokens.create('t', scope)[1]}"}
        assert anyone.get("/v1/audit", headers=sent).status_code == 403
        assert anyone.get("/v1/audit/verify", headers=sent).status_code == 403
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert api.open("/v1/audit", method=method).status_code == 405


# --- the chain ---


def test_a_log_that_nobody_touched_is_verified(api):
    assert api.get("/v1/audit/verify").json == {"ok": True, "rows": 0, "first_bad": None}
    note(5)
    assert api.get("/v1/audit/verify").json == {"ok": True, "rows": 5, "first_bad": None}


@pytest.mark.parametrize("column", sorted(set(AuditRow._meta.fields) - {"seq", "id", "detail"}))
def test_a_changed_row_is_found(api, column):
    note(4)
    third = AuditRow.get(AuditRow.seq == 3)
    AuditRow.update({column: 7 if column == "at" else "forged"}).where(AuditRow.seq == 3).execute()
    assert api.get("/v1/audit/verify").json == {"ok": False, "rows": 2, "first_bad": third.id}


def test_a_forged_row_with_a_fitting_hash_breaks_the_next(api):
    note(4)
    row = AuditRow.get(AuditRow.seq == 2)
    row.detail = {"n": 99}
    AuditRow.update(detail=row.detail, hash=audit.digest(row.__data__)).where(AuditRow.seq == 2).execute()
    assert api.get("/v1/audit/verify").json["first_bad"] == AuditRow.get(AuditRow.seq == 3).id


def test_a_missing_row_is_found_but_the_oldest_may_go(api):
    note(5)
    AuditRow.delete().where(AuditRow.seq <= 2).execute()
    assert api.get("/v1/audit/verify").json == {"ok": True, "rows": 3, "first_bad": None}
    AuditRow.delete().where(AuditRow.seq == 4).execute()
    assert api.get("/v1/audit/verify").json["ok"] is False


def test_entries_written_at_once_make_one_chain(api):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: note(5), range(8)))
    assert api.get("/v1/audit/verify").json == {"ok": True, "rows": 40, "first_bad": None}


@on_sqlite
def test_a_refusal_is_answered_without_the_database(app, settings):
    factories.lose_database()
    sent = {"Authorization": "Bearer wrong"}
    assert app.test_client().get("/v1/runs", headers=sent).status_code == 401
