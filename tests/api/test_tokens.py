"""/v1/auth/tokens and /v1/auth/whoami"""

from __future__ import annotations

import pytest

from models import tokens
from models.base import now_ms
from models.tokens import Token

DAY_MS = 86_400_000


def make(api, name: str = "ci", scope: str = "read", **more) -> dict:
    return api.post("/v1/auth/tokens", json={"name": name, "scope": scope, **more}).json


def bearer(made: dict) -> dict[str, str]:
    return {"Authorization": f"Bearer {made['token']}"}


# --- create ---


def test_a_token_is_shown_once_and_works_at_once(api, anyone):
    answer = api.post("/v1/auth/tokens", json={"name": "ci", "scope": "run", "expires_in_days": 1})
    made = answer.json
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/v1/auth/tokens/{made['id']}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert (made["name"], made["scope"], made["created_by"], made["revoked_at"]) == ("ci", "run", "environment", None)
    assert abs(made["expires_at"] - now_ms() - DAY_MS) < 60_000
    assert made["token"].startswith(made["prefix"]) and anyone.get("/v1/runs", headers=bearer(made)).status_code == 200
    assert made["token"] not in api.get("/v1/auth/tokens").text + api.get(f"/v1/auth/tokens/{made['id']}").text


def test_only_the_hash_of_a_token_is_stored(api):
    made = make(api)
    row = Token.get_by_id(made["id"])
    assert made["token"] not in str(row.__data__) and row.hash == tokens.digest(made["token"])


def test_a_token_has_a_checksum_that_catches_typing_mistakes(api):
    secret = make(api)["token"]
    assert len(secret) == len("djb_") + 43 + 6 and tokens.well_formed(secret)
    for at in range(4, len(secret)):
        assert not tokens.well_formed(secret[:at] + ("x" if secret[at] != "x" else "y") + secret[at + 1 :])


def test_a_mistyped_token_never_reaches_the_database(api, anyone, monkeypatch):
    secret = make(api)["token"]
    monkeypatch.setattr(tokens, "digest", lambda _: pytest.fail("looked up"))
    assert anyone.get("/v1/auth/whoami", headers={"Authorization": f"Bearer {secret[:-1]}"}).status_code == 401


def test_the_scope_may_be_sent_as_a_list_of_one(api):
    assert api.post("/v1/auth/tokens", json={"name": "x", "scopes": ["worker"]}).json["scope"] == "worker"
    answer = api.post("/v1/auth/tokens", json={"name": "x", "scopes": ["run"], "scope": "admin"})
    assert (answer.status_code, answer.json["code"]) == (422, "conflicting_fields")


@pytest.mark.parametrize(
    "body",
    [
        *({"name": "x"}, {"scope": "read"}, {"name": " ", "scope": "read"}, {"name": "x" * 65, "scope": "read"}),
        *({"name": "x", "scope": "root"}, {"name": "x", "scopes": []}, {"name": "x", "scopes": ["read", "run"]}),
        *({"name": "x", "scope": "read", "expires_in_days": days} for days in (0, 3651, "1", 1.0)),
    ],
)
def test_a_bad_token_is_refused(api, body):
    assert api.post("/v1/auth/tokens", json=body).status_code == 422


@pytest.mark.parametrize("scope", ["read", "run", "worker"])
def test_only_an_admin_makes_and_sees_tokens(api, anyone, scope):
    sent = bearer(make(api, scope=scope))
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/tok_x"), ("DELETE", "/tok_x"), ("POST", "/tok_x/rotate")):
        assert anyone.open(f"/v1/auth/tokens{path}", method=method, headers=sent, json={}).status_code == 403


# --- look ---


@pytest.mark.parametrize("scope", ["read", "run", "admin", "worker"])
def test_every_token_may_ask_who_it_is(api, anyone, scope):
    made = make(api, scope=scope)
    me = anyone.get("/v1/auth/whoami", headers=bearer(made)).json
    assert (me["id"], me["scope"], "token" in me) == (made["id"], scope, False)


def test_the_token_of_the_configuration_knows_itself(api):
    me = api.get("/v1/auth/whoami").json
    assert (me["name"], me["scope"], me["created_at"]) == ("environment", "admin", None)


def test_tokens_are_listed_newest_first_in_pages(api):
    for name in "abc":
        make(api, name)
    first = api.get("/v1/auth/tokens?limit=2")
    assert [token["name"] for token in first.json] == ["c", "b"]
    assert [token["name"] for token in api.get(first.headers["Link"].split(">")[0][1:]).json] == ["a"]


def test_what_does_not_exist_is_not_found(api):
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/rotate")):
        assert api.open(f"/v1/auth/tokens/tok_x{path}", method=method, json={}).json["code"] == "token_not_found"


# --- change, revoke, rotate ---


def test_a_token_is_renamed_and_its_end_is_set_and_cleared(api):
    made = make(api, expires_in_days=1)
    changed = api.put(f"/v1/auth/tokens/{made['id']}", json={"name": "new", "expiresAt": made["expires_at"] + 1}).json
    assert (changed["name"], changed["expires_at"]) == ("new", made["expires_at"] + 1)
    assert api.put(f"/v1/auth/tokens/{made['id']}", json={"expires_at": None, "name": None}).json["expires_at"] is None


def test_a_change_of_an_older_version_is_refused(api):
    path = f"/v1/auth/tokens/{make(api)['id']}"
    tag = api.get(path).headers["ETag"]
    answers = [api.put(path, json={"name": name}, headers={"If-Match": tag}) for name in "ab"]
    assert [answer.status_code for answer in answers] == [200, 412]
    assert api.delete(path, headers={"If-Match": tag}).status_code == 412


def test_a_revoked_token_ends_at_once_and_is_not_found_the_second_time(api, anyone):
    made = make(api)
    assert api.delete(f"/v1/auth/tokens/{made['id']}").status_code == 204
    assert anyone.get("/v1/auth/whoami", headers=bearer(made)).status_code == 401
    assert api.delete(f"/v1/auth/tokens/{made['id']}").status_code == 404
    assert api.get(f"/v1/auth/tokens/{made['id']}").json["revoked_at"]


def test_the_last_live_admin_token_stays(api):
    first, second = make(api, scope="admin"), make(api, scope="admin", expires_in_days=1)
    assert api.delete(f"/v1/auth/tokens/{first['id']}").status_code == 204
    for answer in (
        api.delete(f"/v1/auth/tokens/{second['id']}"),
        api.put(f"/v1/auth/tokens/{second['id']}", json={"expires_at": 1}),
    ):
        assert (answer.status_code, answer.json["code"]) == (409, "last_admin_token")
    assert api.get(f"/v1/auth/tokens/{second['id']}").json["revoked_at"] is None


def test_a_rotated_token_is_replaced_and_lives_for_the_grace_time(api, anyone):
    made = make(api, scope="admin", expires_in_days=9)
    answer = api.post(f"/v1/auth/tokens/{made['id']}/rotate", json={"grace_seconds": 60})
    new = answer.json
    assert (answer.status_code, new["scope"], new["expires_at"]) == (201, "admin", made["expires_at"])
    assert [anyone.get("/v1/auth/whoami", headers=bearer(token)).status_code for token in (made, new)] == [200, 200]
    assert abs(api.get(f"/v1/auth/tokens/{made['id']}").json["expires_at"] - now_ms() - 60_000) < 5_000
    api.post(f"/v1/auth/tokens/{new['id']}/rotate")
    assert anyone.get("/v1/auth/whoami", headers=bearer(new)).status_code == 401
    assert api.post(f"/v1/auth/tokens/{new['id']}/rotate").json["code"] == "token_not_live"


@pytest.mark.parametrize("body", [{"grace_seconds": -1}, {"grace_seconds": 86_401}, {"grace": 1}])
def test_a_bad_rotation_is_refused(api, body):
    assert api.post(f"/v1/auth/tokens/{make(api)['id']}/rotate", json=body).status_code == 422
