"""Signing in with a browser: GET /login, the cookie, /v1/auth/logins, signing out."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from models import config, database, logins, tokens
from models.audit import AuditRow
from models.logins import Login, LoginLink
from models.tokens import Token
from tests.api.conftest import AUTH, TOKEN, on_sqlite

LOGINS = "/v1/auth/logins"
HOST = "http://localhost"


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def link(client, headers=AUTH):
    url = urlsplit(client.post(LOGINS, headers=headers).json["url"])
    return f"{url.path}?{url.query}"


@pytest.fixture
def browser(app):
    """A client that signed in as the operator."""
    client = app.test_client()
    client.get(link(client))
    return client


def cookie_of(answer):
    return answer.headers["Set-Cookie"]


# --- works ---


def test_a_link_signs_a_browser_in_and_leads_to_the_first_page(anyone):
    answer = anyone.get(link(anyone))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    page = anyone.get("/")
    assert "signed in as <strong>environment</strong>" in page.text and "Sign out" in page.text
    assert anyone.get("/v1/runs").status_code == anyone.get("/dashboard/").status_code == 200
    assert anyone.get("/v1/auth/whoami").json["scope"] == "admin"


def test_the_cookie_is_for_this_host_alone_and_unreadable_for_pages(anyone):
    given = cookie_of(anyone.get(link(anyone)))
    assert given.startswith(f"djinnbot_{config.get().port}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(given.split("; "))
    assert "Secure" not in given and "Domain" not in given


def test_over_https_it_is_secure_and_bound_to_the_host(app):
    client = app.test_client()
    given = cookie_of(client.get(link(client), base_url="https://localhost"))
    assert given.startswith("__Host-djinnbot=")
    assert {"Secure", "HttpOnly", "Path=/"} <= set(given.split("; "))
    assert client.get("/v1/runs", base_url="https://localhost").status_code == 200


def test_neither_the_link_nor_the_cookie_holds_the_token_and_only_hashes_are_stored(anyone):
    path = link(anyone)
    code, given = path.partition("code=")[2], cookie_of(anyone.get(path))
    secret = given.partition("=")[2].partition(";")[0]
    stored = str(database.rows("SELECT * FROM logins") + database.rows("SELECT * FROM login_links"))
    assert TOKEN not in path + given and len(code) > 40 and len(secret) > 40
    assert code not in stored and secret not in stored and secret != code


# --- who, and how far ---


def test_a_login_reaches_as_far_as_its_token(anyone):
    anyone.get(link(anyone, bearer(tokens.create("me", "read")[1])))
    assert anyone.get("/v1/runs").status_code == 200
    assert anyone.post("/v1/runs/run_x/cancel").status_code == 403
    assert "/dashboard/" not in anyone.get("/").text


def test_a_login_ends_with_its_token(anyone):
    token, secret = tokens.create("me", "read")
    anyone.get(link(anyone, bearer(secret)))
    Token.update(revoked_at=1).where(Token.id == token.id).execute()
    assert anyone.get("/v1/runs").status_code == 401
    assert logins.still_live({Login.select().get().id}) == set()


def test_a_header_wins_over_the_cookie(browser):
    read = tokens.create("me", "read")[1]
    assert browser.get("/v1/auth/whoami", headers=bearer(read)).json["name"] == "me"
    assert browser.get("/v1/runs", headers=bearer("wrong")).status_code == 401


def test_worker_tokens_make_no_links(anyone):
    assert anyone.post(LOGINS, headers=bearer(tokens.create("w", "worker")[1])).status_code == 403
    assert anyone.post(LOGINS).status_code == 401


def test_while_authentication_is_off_nobody_needs_a_link(settings, anyone):
    settings.setenv("AUTH_ENABLED", "false")
    config.get.cache_clear()
    answer = anyone.post(LOGINS)
    assert (answer.status_code, answer.json["code"]) == (409, "auth_disabled")


# --- links that do not open ---


def test_a_link_opens_once(app, anyone):
    path = link(anyone)
    anyone.get(path)
    answer = app.test_client().get(path)
    assert answer.status_code == 410 and "Set-Cookie" not in answer.headers
    assert "unknown or used" in answer.text and "djinnbot login" in answer.text
    assert answer.mimetype == "text/html"


def test_a_link_opens_for_ten_minutes(anyone):
    path = link(anyone)
    database.execute("UPDATE login_links SET expires_at = 1")
    answer = anyone.get(path)
    assert answer.status_code == 410 and "has expired" in answer.text


@pytest.mark.parametrize("query", ["", "?code=", "?code=x", "?code=%00", "?code=<script>"])
@on_sqlite
def test_a_wrong_link_says_so_and_repeats_nothing(anyone, query):
    answer = anyone.get(f"/login{query}")
    assert answer.status_code == 410 and "<script" not in answer.text


def test_a_browser_that_only_looks_ahead_does_not_use_the_link_up(anyone):
    path = link(anyone)
    assert anyone.head(path).status_code == 503
    assert anyone.get(path, headers={"Sec-Purpose": "prefetch;prerender"}).status_code == 503
    assert anyone.get(path).status_code == 303


def test_a_page_of_another_site_cannot_sign_a_browser_in(anyone):
    path = link(anyone)
    assert anyone.get(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert LoginLink.select().count() == 1


# --- the cookie and other pages ---


FOREIGN = [
    *({"Origin": "https://evil.test"}, {"Origin": "http://localhost:3000"}, {"Origin": "null"}),
    *({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}),
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/runs"), ("POST", "/v1/runs"), ("DELETE", "/v1/runs/run_x")])
@on_sqlite
def test_the_cookie_is_of_no_use_to_other_pages(browser, method, path, headers):
    answer = browser.open(path, method=method, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (403, "foreign_origin")


@on_sqlite
def test_the_cookie_is_of_no_use_to_pages_that_may_call_with_a_token(settings, browser):
    settings.setenv("CORS_ORIGINS", "https://app.example")
    config.get.cache_clear()
    sent = {"Origin": "https://app.example"}
    assert browser.get("/v1/runs", headers=sent).status_code == 403
    assert browser.get("/v1/runs", headers=sent | AUTH).status_code == 200


@on_sqlite
def test_our_own_pages_and_what_a_person_opens_may_use_it(browser):
    for headers in ({"Origin": HOST, "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}):
        assert browser.get("/v1/runs", headers=headers).status_code == 200
    assert browser.post("/v1/runs", data="a=1", content_type="application/x-www-form-urlencoded").status_code == 415
    assert browser.get("/v1/runs", headers={"Host": "evil.test"}).status_code == 421


# --- signing out ---


@pytest.mark.parametrize(("path", "status"), [("/v1/auth/logout", 204), ("/logout", 303)])
def test_who_signs_out_is_out_at_once(browser, path, status):
    answer = browser.post(path)
    assert answer.status_code == status and "Max-Age=0" in cookie_of(answer)
    assert browser.get("/v1/runs").status_code == 401
    assert Login.select().count() == 0


def test_a_stolen_cookie_is_worth_nothing_after_signing_out(app, browser):
    name = f"djinnbot_{config.get().port}"
    stolen = browser.get_cookie(name).value
    browser.post("/logout")
    thief = app.test_client()
    thief.set_cookie(name, stolen)
    assert thief.get("/v1/runs").json["code"] == "signed_out"
    assert thief.get("/docs").status_code == thief.get("/").status_code == 200


def test_only_a_login_can_sign_out(api):
    assert api.post("/v1/auth/logout").status_code == 404


def test_logins_are_listed_and_can_be_ended_by_an_admin(api, browser):
    listed = api.get(LOGINS).json
    assert [(login["name"], login["scope"], login["created_ip"]) for login in listed] == [
        ("environment", "admin", "127.0.0.1")
    ]
    browser.get("/v1/runs")
    assert api.get(LOGINS).json[0]["last_used_at"]
    assert api.delete(f"{LOGINS}/{listed[0]['id']}").status_code == 204
    assert api.delete(f"{LOGINS}/{listed[0]['id']}").status_code == 404
    assert browser.get("/v1/runs").status_code == 401


def test_a_login_ends_by_itself(browser):
    Login.update(expires_at=1).execute()
    assert browser.get("/v1/runs").status_code == 401


def test_signing_in_and_out_is_in_the_audit_log(browser):
    browser.post("/logout")
    found = [(row.action, row.actor, row.outcome) for row in AuditRow.select().order_by(AuditRow.seq)]
    assert found == [("login.begin", "environment", "ok"), ("login.end", "environment", "ok")]


@on_sqlite
def test_the_first_page_tells_a_stranger_how_to_come_in_and_nothing_else(anyone):
    page = anyone.get("/")
    assert "djinnbot login" in page.text and "Version" not in page.text and "/dashboard" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
