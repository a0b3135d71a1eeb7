"""Security rules 1, 2, 12, 15 and 16, and what peers left open: who is let in, and what is asked first."""

from __future__ import annotations

import pytest

from api.audited import refusals
from models import config, tokens
from models.audit import AuditRow
from models.base import now_ms
from tests.api import factories
from tests.api.conftest import AUTH, TOKEN, on_sqlite
from tests.api.test_access import OPEN, headers, routes

pytestmark = on_sqlite
WRONG = ["wrong", "djb_", f"{TOKEN}x", TOKEN[:-1], ""]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def closed(app):
    """(endpoint, method, path) of every route that is not declared open."""
    return [route for route in routes(app) if route[0] not in OPEN]


def scopes(app, endpoint, method):
    """(the least scope of a view, the one beside the ladder that opens it too)."""
    view = app.view_functions[endpoint]
    function = getattr(getattr(view, "view_class", None), method.lower(), view)
    return getattr(function, "scope", "admin"), getattr(function, "beside", None)


def refused(client, calls, sent=None):
    """{(method, path, status)} of the calls that were not answered with 401."""
    answers = [(method, path, client.open(path, method=method, headers=sent).status_code) for _, method, path in calls]
    return {answer for answer in answers if answer[2] != 401}


# --- rule 1: one gate ---


def test_open_routes_are_exactly_the_declared_ones(app):
    declared = {endpoint for endpoint, view in app.view_functions.items() if _is_public(view)}
    assert declared == OPEN


def _is_public(view):
    kind = getattr(view, "view_class", view)
    return "public" in {
        getattr(one, "scope", None) for one in (view, *(getattr(kind, m.lower(), None) for m in METHODS))
    }


def test_no_route_opens_without_a_token(app, anyone):
    assert refused(anyone, closed(app)) == set()


@pytest.mark.parametrize("secret", WRONG)
def test_no_route_opens_with_a_wrong_token(app, anyone, secret):
    assert refused(anyone, closed(app), headers(secret)) == set()


def test_no_route_opens_with_a_revoked_token(app, anyone):
    token, secret = tokens.create("gone", "admin")
    tokens.Token.update(revoked_at=now_ms()).where(tokens.Token.id == token.id).execute()
    assert refused(anyone, closed(app), headers(secret)) == set()


def test_no_route_opens_with_an_expired_token(app, anyone):
    assert refused(anyone, closed(app), headers(tokens.create("old", "admin", expires_at=now_ms() - 1)[1])) == set()


@pytest.mark.parametrize("scope", ["read", "run", "worker"])
def test_no_scope_reaches_what_needs_a_higher_one(app, anyone, scope):
    token, secret = tokens.create("low", scope)
    methods = [route for route in closed(app) if route[1] in METHODS]
    calls = [(e, m, p) for e, m, p in methods if not any(map(token.allows, filter(None, scopes(app, e, m))))]
    answers = {(m, p, anyone.open(p, method=m, headers=headers(secret)).status_code) for _, m, p in calls}
    assert len(calls) > 10
    assert {answer for answer in answers if answer[2] != 403} == set()


def test_every_view_declares_its_scope(app):
    known = {"public", "any", "read", "run", "admin", "worker"}
    for endpoint, view in app.view_functions.items():
        kind = getattr(view, "view_class", None)
        views = [getattr(kind, m.lower()) for m in METHODS if hasattr(kind, m.lower())] if kind else [view]
        assert {getattr(one, "scope", None) for one in views} <= known, endpoint


def test_a_route_that_declares_nothing_needs_an_admin(own_app):
    own_app.add_url_rule("/new", "new", lambda: "x")
    read = headers(tokens.create("r", "read")[1])
    client = own_app.test_client()
    assert [client.get("/new", headers=sent).status_code for sent in ({}, read, AUTH)] == [401, 403, 200]


# --- peers' holes ---


MALFORMED = [b"{", b"[" * 100_000, b"\xff", b'{"a":1,"a":1}', b"x" * 2_000_000]


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
def test_nothing_of_a_body_is_looked_at_before_the_token(app, anyone, body):
    for _, method, path in closed(app):
        if method in ("POST", "PUT"):
            answer = anyone.open(path, method=method, data=body, content_type="application/json")
            assert answer.status_code == 401, path


@pytest.mark.parametrize("name", ["health", "healthz", "status", "docs", "openapi.json", "login"])
def test_no_path_is_open_because_of_how_it_ends(anyone, name):
    for path in (
        f"/v1/runs/{name}",
        f"/v1/agents/{name}",
        f"/v1/secrets/{name}",
        f"/v1/pipelines/{name}",
        f"/x/{name}",
    ):
        assert anyone.get(path).status_code == 401, path


def test_streams_are_behind_the_gate(app, anyone):
    streams = [route for route in closed(app) if "Stream" in route[0] or "ChatEvents" in route[0]]
    assert len(streams) >= 5
    assert refused(anyone, streams) == set()
    assert anyone.get("/v1/events/stream?ticket=forged").status_code == 401


def test_definitions_are_not_taken_from_a_run_request(api):
    base = {"pipeline_id": "execute", "task": "x"}
    for name in ("steps", "code", "definition", "pipeline", "yaml_content", "agents", "base_url", "tools"):
        assert api.post("/v1/runs", json=base | {name: "x"}).status_code == 422, name


def test_a_form_of_many_parts_is_not_json(app, api):
    body = b'--x\r\nContent-Disposition: form-data; name="task"\r\n\r\n{"task":"x"}\r\n--x--\r\n'
    for endpoint, method, path in closed(app):
        if method in ("POST", "PUT") and not endpoint.startswith(("dashboard", "door.")):
            kind = "multipart/form-data; boundary=x"
            assert api.open(path, method=method, data=body, content_type=kind).status_code == 415, path


# --- rule 2: browsers ---


FOREIGN = [
    ({"Host": "evil.test"}, 421),
    ({"Host": "127.0.0.1.evil.test"}, 421),
    ({"Host": "localhost", "Origin": "https://evil.test"}, 403),
    ({"Host": "localhost", "Origin": "http://localhost.evil.test"}, 403),
    ({"Host": "localhost", "Origin": "null"}, 403),
    ({"Host": "localhost", "Origin": "http://localhost:1"}, 403),
    ({"Host": "localhost", "Sec-Fetch-Site": "cross-site"}, 403),
    ({"Host": "localhost", "Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"}, 403),
]


@pytest.mark.parametrize(("sent", "status"), FOREIGN)
def test_foreign_hosts_and_pages_are_refused_on_every_method_of_every_route(app, api, sent, status):
    found = {(m, p, api.open(p, method=m, headers=sent).status_code) for _, m, p in routes(app)}
    assert {answer for answer in found if answer[2] != status} == set()


def test_no_answer_allows_other_pages_anything(app, api):
    for _, method, path in routes(app):
        if "stream" not in path and "/events" not in path:
            answer = api.open(path, method=method, headers={"Origin": "http://localhost"})
            assert not [name for name, _ in answer.headers if name.startswith("Access-Control")], path


# --- rule 12: limits ---


def test_a_body_of_more_than_a_megabyte_is_refused(api):
    answer = api.post("/v1/runs", json={"pipeline_id": "execute", "task": "x" * (1 << 20)})
    assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")


def test_queued_runs_are_capped(settings, api):
    settings.setenv("MAX_PENDING_RUNS", "1")
    config.get.cache_clear()
    codes = [api.post("/v1/runs", json={"pipeline_id": "execute", "task": "x"}).status_code for _ in range(2)]
    assert codes == [201, 429]


# --- rule 15: headers ---


def test_every_kind_of_answer_carries_the_protective_headers(app, api, anyone):
    run_id = factories.run()
    found = [api.get(path) for path in ("/", "/login", "/docs", "/docs/style.css", "/dashboard/", "/openapi.json")]
    found += [api.get("/v1/runs"), api.get(f"/v1/runs/{run_id}"), api.get("/v1/runs/x"), anyone.get("/v1/runs")]
    found += [
        api.post("/v1/runs", data=b"{"),
        api.get("/v1/status", headers={"Host": "evil.test"}),
        api.head("/v1/runs"),
    ]
    for answer in found:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "default-src" in answer.headers["Content-Security-Policy"]
        assert "Server" not in answer.headers and "X-Powered-By" not in answer.headers


# --- rule 16: refusals are recorded ---


def test_a_refused_token_is_recorded_with_who_where_and_why(anyone, monkeypatch):
    monkeypatch.setattr(refusals, "_count", 0)
    anyone.get("/v1/audit", headers=headers(tokens.create("low", "read")[1]))
    row = AuditRow.select().where(AuditRow.outcome == "denied").get()
    assert (row.action, row.actor, row.scope, row.detail["path"]) == ("request.refused", "low", "read", "/v1/audit")
    assert (row.ip, row.detail["method"]) == ("127.0.0.1", "GET")


def test_the_first_token_is_recorded(settings, tmp_path):
    tokens.first_token(tmp_path / "token")
    tokens.first_token(tmp_path / "token")
    rows = [(row.action, row.actor, row.kind) for row in AuditRow.select()]
    assert rows == [("token.create", "first start", "system")]
