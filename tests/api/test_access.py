"""The gate: who may call, from where, with what."""

from __future__ import annotations

import pytest

from api.app import create_app
from models import config, tokens
from tests.api import factories
from tests.api.conftest import AUTH, TOKEN, on_sqlite

pytestmark = on_sqlite
OPEN = {"status.Status", "site.healthz", "site.readyz", "site.openapi", "site.docs", "site.docs_style"}
OPEN |= {"door.home", "door.login", "mcp_oauth.McpOauthCallback", "github_webhooks.GitHubWebhooks"}
OPEN |= {"alias_github.AliasWebhook", "github_manifest.GitHubManifestCallback"}
VALUES = {"session_id": "chat_none", "run_id": "run_x", "step_id": "FIX", "pipeline_id": "bugfix", "rest": "x"}
VALUES |= {"other_id": "run_y", "approval_id": "apr_x", "name": "x", "number": 1, "agent_id": "writer"}
VALUES |= {"vault": "writer", "path": "a.md", "item": "mem_x", "gap_id": "gap_x", "changeset_id": "chg_x", "node": "x"}
VALUES |= {"import_id": "imp_x", "delivery_id": "dlv_x", "trigger_id": "trg_x", "server_id": "files", "tool": "read"}
VALUES |= {"login_id": "log_x", "token_id": "tok_x", "file": "SOUL.md", "provider_id": "openai"}
VALUES |= dict.fromkeys(("project_id", "task_id", "column_id", "workflow_id", "dependency_id"), "x")


def routes(app):
    """(endpoint, method, path) of everything that can be called."""
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        path = adapter.build(rule.endpoint, {name: VALUES[name] for name in rule.arguments})
        for method in rule.methods:
            yield rule.endpoint, method, path


def headers(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("sent", [{}, headers("wrong"), headers("djb_wrong"), {"Authorization": f"Basic {TOKEN}"}])
def test_every_route_that_is_not_declared_open_needs_a_token(app, anyone, sent):
    closed = [(method, path) for endpoint, method, path in routes(app) if endpoint not in OPEN]
    assert len(closed) > 40
    answers = {(method, path): anyone.open(path, method=method, headers=sent).status_code for method, path in closed}
    assert {call for call, status in answers.items() if status != 401} == set()


def test_what_does_not_exist_needs_a_token_too(anyone, api):
    for path in ("/v1/health", "/v1/runs/x/docs", "/v1/status/x", "/favicon.ico"):
        assert anyone.get(path).status_code == 401
        assert api.get(path).status_code == 404


def test_open_routes_answer_without_a_token_but_not_with_a_wrong_one(app, anyone):
    for path in ("/v1/status", "/healthz", "/readyz", "/openapi.json", "/docs", "/docs/style.css"):
        assert anyone.get(path).status_code == 200
        assert anyone.get(path, headers=headers("wrong")).status_code == 401
    assert anyone.post("/v1/status").status_code == 401


def test_a_401_says_how_to_come_in(anyone):
    answer = anyone.get("/v1/runs")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("scope", "expected"), [("read", (200, 403, 403)), ("run", (200, 404, 403)), ("admin", (200, 404, 200))]
)
def test_each_scope_reaches_what_it_names_and_less(anyone, scope, expected):
    sent = headers(tokens.create("t", scope)[1])
    calls = [("GET", "/v1/runs"), ("POST", "/v1/runs/run_x/cancel"), ("GET", "/dashboard/")]
    assert tuple(anyone.open(path, method=method, headers=sent).status_code for method, path in calls) == expected


def test_a_worker_token_reads_no_runs(anyone):
    assert anyone.get("/v1/runs", headers=headers(tokens.create("w", "worker")[1])).status_code == 403


def test_a_revoked_or_expired_token_is_refused(anyone):
    token, secret = tokens.create("t", "read")
    assert anyone.get("/v1/runs", headers=headers(secret)).status_code == 200
    tokens.Token.update(revoked_at=1).where(tokens.Token.id == token.id).execute()
    assert anyone.get("/v1/runs", headers=headers(secret)).status_code == 401
    assert anyone.get("/v1/runs", headers=headers(tokens.create("t", "read", expires_at=1)[1])).status_code == 401


def test_the_use_of_a_token_is_noted(anyone):
    token, secret = tokens.create("t", "read")
    anyone.get("/v1/runs", headers=headers(secret))
    assert tokens.Token.get_by_id(token.id).last_used_at


@pytest.mark.parametrize("query", [f"token={TOKEN}", "access_token=x", "ticket=djb_x", "foo=djb_x"])
def test_a_token_in_a_url_is_refused_even_beside_a_good_header(api, query):
    assert api.get(f"/v1/runs?{query}").status_code == 400


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "169.254.169.254", "127.0.0.1.evil.test", ""])
def test_an_unknown_host_is_misdirected(anyone, host):
    answer = anyone.get("/v1/status", headers={"Host": host})
    assert (answer.status_code, answer.json["code"]) == (421, "unknown_host")


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "box.lan"])
def test_a_known_host_is_served(settings, anyone, host):
    settings.setenv("ALLOWED_HOSTS", "box.lan")
    config.get.cache_clear()
    assert anyone.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        *({"Origin": "https://evil.test"}, {"Origin": "null"}, {"Origin": "http://localhost:3000"}),
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_pages_of_other_sites_are_refused_whatever_the_method(app, api, sent):
    for endpoint, method, path in routes(app):
        assert api.open(path, method=method, headers=sent).status_code == 403, endpoint


def test_the_page_of_this_site_is_served_without_cors_headers(api):
    answer = api.get("/v1/runs", headers={"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_configured_origin_may_call(settings, api, anyone):
    settings.setenv("CORS_ORIGINS", "https://app.example")
    config.get.cache_clear()
    sent = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
    assert api.get("/v1/runs", headers=sent).headers["Access-Control-Allow-Origin"] == "https://app.example"
    preflight = anyone.options("/v1/runs", headers=sent | {"Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 204
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert anyone.options("/v1/runs", headers=sent).status_code == 401


def test_a_preflight_of_a_foreign_page_is_refused(anyone):
    sent = {"Origin": "https://evil.test", "Access-Control-Request-Method": "POST"}
    assert anyone.options("/v1/runs", headers=sent).status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_bodies_are_json_or_nothing(api, kind):
    for path in ("/v1/runs", "/v1/runs/run_x/cancel", "/v1/events/tickets"):
        assert api.post(path, data=b"{}", content_type=kind).status_code == 415


def test_a_view_without_a_query_takes_none(api):
    answer = api.get("/v1/status?verbose=1")
    assert (answer.status_code, answer.json["errors"]) == (422, {"verbose": ["Unknown parameter"]})


def test_authentication_is_off_only_on_loopback(settings, anyone):
    settings.setenv("AUTH_ENABLED", "false")
    config.get.cache_clear()
    assert anyone.get("/v1/runs").status_code == 200
    settings.setenv("HOST", "0.0.0.0")
    config.get.cache_clear()
    with pytest.raises(ValueError, match="loopback"):
        create_app(start=False)


def test_the_wrong_method_is_named_with_the_right_ones(api):
    answer = api.delete("/v1/runs")
    assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_head_and_options_answer(api):
    assert api.head("/v1/runs").status_code == 200
    assert set(api.options("/v1/runs/").headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


def test_every_answer_carries_the_protective_headers(api, anyone):
    for answer in (api.get("/v1/runs"), anyone.get("/v1/runs"), api.get("/v1/runs/x"), api.get("/docs")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


def test_no_path_is_redirected(api):
    for path in ("/v1/runs/", "/v1/runs", "/v1/status/", "/v1/pipelines/bugfix/", "/dashboard", "/docs/"):
        assert api.get(path).status_code in (200, 503), path
    assert api.get("/v1//runs").status_code == 404


def test_a_bug_shows_only_an_id_that_is_in_the_log(own_app, capsys):
    own_app.add_url_rule("/bug", "bug", lambda: 1 / 0)
    own_app.config["PROPAGATE_EXCEPTIONS"] = False
    answer = own_app.test_client().get("/bug", headers=AUTH)
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert "ZeroDivision" not in answer.text
    assert answer.json["error_id"] in capsys.readouterr().out


def test_without_the_database_answers_are_503_with_a_time_to_come_back(app, settings):
    factories.lose_database()
    answer = app.test_client().get("/v1/runs", headers=AUTH)
    assert (answer.status_code, answer.json["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"] == "2"
