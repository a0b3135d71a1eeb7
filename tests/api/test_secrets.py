"""/v1/secrets"""

from __future__ import annotations

import pytest

from models import tokens
from models.secrets import SecretVersion
from tests.api.conftest import on_sqlite
from workers import maintenance

PAT = {"name": "github-pat", "value": "ghp_0123456789abcdefghij", "secret_type": "pat", "agents": ["builder"]}


@pytest.fixture
def pat(api):
    return api.post("/v1/secrets", json=PAT).json


def store(api, name: str, value: str = "a value of some length", **more):
    return api.post("/v1/secrets", json={"name": name, "value": value, **more})


def names(answer) -> list[str]:
    return [secret["name"] for secret in answer.json]


def as_worker(anyone):
    return {"headers": {"Authorization": f"Bearer {tokens.create('w', 'worker')[1]}"}}


# --- create ---


def test_a_secret_is_stored_and_never_shown(api):
    answer = api.post("/v1/secrets", json=PAT)
    secret = answer.json
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/v1/secrets/{secret['id']}")
    assert (secret["name"], secret["env_key"], secret["description"]) == ("github-pat", "GITHUB_PAT", None)
    assert (secret["secret_type"], secret["secret_type_label"]) == ("pat", "Personal Access Token")
    assert (secret["masked_preview"], secret["granted_agents"]) == ("ghp...ghij", ["builder"])
    assert (secret["version"], secret["key_id"], secret["warnings"]) == (1, "k1", [])
    assert (secret["last_used_at"], secret["last_used_by"], len(secret["fingerprint"])) == (None, None, 12)
    assert PAT["value"] not in answer.text + api.get("/v1/secrets").text + api.get("/v1/secrets/github-pat").text


def test_both_spellings_are_read_and_scope_is_ignored(api):
    body = {"name": "a", "value": "12345678", "envKey": "my_key ", "secretType": "password", "scope": "instance"}
    secret = api.post("/v1/secrets", json=body).json
    assert (secret["env_key"], secret["secret_type"], secret["masked_preview"]) == ("MY_KEY", "password", "***")
    answer = api.post("/v1/secrets", json={**body, "name": "b", "env_key": "OTHER"})
    assert (answer.status_code, answer.json["code"]) == (422, "conflicting_fields")


@pytest.mark.parametrize(("name", "key"), [("a b.c@d-e", "A_B_C_D_E"), ("9lives", "_9LIVES"), ("x--y", "X_Y")])
def test_the_variable_is_made_of_the_name(api, name, key):
    assert store(api, name).json["env_key"] == key


@pytest.mark.parametrize("name", ["", " a", "a/b", "sec_x", "é", "a" * 129, "-a", "a\n", "a\x00"])
def test_bad_names_are_refused(api, name):
    assert store(api, name).status_code in (400, 422)


RESERVED = "PATH HOME IFS ENV BASH_ENV LD_PRELOAD DYLD_X PYTHONPATH NODE_OPTIONS PERL5LIB RUBYOPT GIT_SSH GIT_TOKENS"


@pytest.mark.parametrize("key", [*RESERVED.split(), "https_proxy", "SSL_CERT_FILE", "DATABASE_URL", "API_TOKEN"])
def test_variables_that_steer_programs_are_reserved(api, key):
    answer = store(api, "x", env_key=key)
    assert (answer.status_code, answer.json["code"]) == (422, "env_key_reserved")


def test_a_git_token_is_not_reserved(api):
    assert store(api, "x", env_key="GIT_TOKEN").status_code == 201


@pytest.mark.parametrize(
    "more",
    [{"secret_type": "x"}, {"value": ""}, {"value": "x" * 65_537}, {"env_key": "a-b"}, {"agents": ["A B"]}, {"x": 1}],
)
def test_a_bad_secret_is_refused_and_nothing_is_stored(api, more):
    assert api.post("/v1/secrets", json={"name": "n", "value": "12345678", **more}).status_code == 422
    assert api.get("/v1/secrets").json == []


def test_a_name_is_taken_whatever_its_case(api, pat):
    answer = store(api, "GitHub-PAT")
    assert (answer.status_code, answer.json["code"]) == (409, "secret_exists")


def test_a_value_too_short_to_redact_is_stored_with_a_warning(api):
    assert store(api, "pin", "1234567").json["warnings"] == ["too_short_to_redact"]
    assert store(api, "key", "line\nline\n").json["warnings"] == []


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("run", 403), ("worker", 403), ("admin", 201)])
def test_only_an_admin_stores(anyone, scope, status):
    sent = {"Authorization": f"Bearer {tokens.create('t', scope)[1]}"}
    assert anyone.post("/v1/secrets", json=PAT, headers=sent).status_code == status


# --- list and get ---


def test_secrets_are_listed_by_name_in_pages(api):
    for name in ("b", "A", "c"):
        store(api, name)
    first = api.get("/v1/secrets?limit=2")
    assert names(first) == ["A", "b"]
    assert names(api.get(first.headers["Link"].split(">")[0][1:])) == ["c"]


def test_a_list_is_narrowed_by_text_and_by_agent(api, pat):
    store(api, "other", description="For the 100% GitHub_App")
    assert names(api.get("/v1/secrets?q=GITHUB")) == ["github-pat", "other"]
    assert names(api.get("/v1/secrets?q=0%25 g")) == ["other"]
    assert names(api.get("/v1/secrets?q=b_a")) == ["other"]
    assert names(api.get("/v1/secrets?agent_id=builder")) == names(api.get("/v1/secrets/agents/builder"))
    assert names(api.get("/v1/secrets?agent_id=nobody")) == []


@pytest.mark.parametrize("name", ["github-pat", "GITHUB-pat", "github-pat/"])
def test_a_secret_is_found_by_name_and_by_id(api, pat, name):
    assert api.get(f"/v1/secrets/{name}").json == api.get(f"/v1/secrets/{pat['id']}").json == pat


@pytest.mark.parametrize("name", ["nothing", "sec_nothing", "..", "a%2fb", "%00", "a" * 300])
def test_what_does_not_exist_is_not_found(api, name):
    for method in ("GET", "PUT", "DELETE"):
        assert api.open(f"/v1/secrets/{name}", method=method, json={}).status_code == 404


def test_the_types_are_listed(api):
    types = api.get("/v1/secrets/types").json
    assert {"value": "ssh_key", "label": "SSH Private Key"} in types and len(types) == 7


def test_a_row_that_does_not_decrypt_is_listed_as_unreadable(api, pat):
    SecretVersion.update(value="v1.k1.x.x").execute()
    secret = api.get("/v1/secrets").json[0]
    assert (secret["warnings"], secret["masked_preview"], secret["fingerprint"]) == (["unreadable"], None, None)
    assert api.put("/v1/secrets/github-pat", json={"value": "a new value"}).json["warnings"] == []


# --- update, versions ---


def test_a_new_value_is_a_new_version_and_null_clears_the_description(api, pat):
    changed = api.put("/v1/secrets/github-pat", json={"value": "ghp_another_value_0000", "description": "d"}).json
    assert (changed["version"], changed["description"], changed["masked_preview"]) == (2, "d", "ghp...0000")
    cleared = api.put("/v1/secrets/github-pat", json={"description": None, "value": None, "secret_type": None}).json
    assert (cleared["version"], cleared["description"], cleared["secret_type"]) == (2, None, "pat")


def test_a_change_that_changes_nothing_writes_nothing(api, pat):
    same = {"value": PAT["value"], "secret_type": "pat", "env_key": "github_pat", "description": None}
    assert api.put("/v1/secrets/github-pat", json=same).json == pat
    assert api.put("/v1/secrets/github-pat", json={}).json == pat


def test_the_last_five_versions_are_kept_and_can_be_restored(api, pat):
    for number in range(2, 8):
        api.put("/v1/secrets/github-pat", json={"value": f"value number {number}"})
    kept = api.get("/v1/secrets/github-pat/versions").json
    assert [(version["version"], version["current"]) for version in kept][:2] == [(7, True), (6, False)]
    assert len(kept) == 5
    restored = api.post("/v1/secrets/github-pat/versions/3/restore").json
    assert (restored["version"], len(api.get("/v1/secrets/github-pat/versions").json)) == (8, 5)
    assert api.post("/v1/secrets/github-pat/versions/2/restore").json["code"] == "version_not_found"
    assert (
        restored["fingerprint"]
        == api.post("/v1/secrets", json={**PAT, "name": "x", "value": "value number 3", "agents": []}).json[
            "fingerprint"
        ]
    )


def test_a_change_of_an_older_version_is_refused(api, pat):
    tag = api.get("/v1/secrets/github-pat").headers["ETag"]
    assert api.get("/v1/secrets/github-pat", headers={"If-None-Match": tag}).status_code == 304
    changes = [api.put("/v1/secrets/github-pat", json={"description": d}, headers={"If-Match": tag}) for d in "ab"]
    assert [change.status_code for change in changes] == [200, 412]
    assert api.delete("/v1/secrets/github-pat", headers={"If-Match": tag}).status_code == 412
    assert api.get("/v1/secrets/github-pat").json["description"] == "a"


# --- delete ---


def test_a_deleted_secret_is_gone_with_its_versions_and_grants(api, pat):
    assert api.delete("/v1/secrets/GITHUB-PAT").status_code == 204
    assert api.delete("/v1/secrets/github-pat").json["code"] == "secret_not_found"
    assert SecretVersion.select().count() == 0
    assert api.get("/v1/secrets/agents/builder").json == []


# --- grants ---


def test_a_grant_is_given_once_and_taken_once(api, pat):
    first, again = (api.post("/v1/secrets/github-pat/grant/writer") for _ in range(2))
    assert (first.status_code, first.json, first.json["granted_by"]) == (200, again.json, "environment")
    assert api.get("/v1/secrets/github-pat").json["granted_agents"] == ["builder", "writer"]
    answers = [api.delete(f"/v1/secrets/{pat['id']}/grant/writer") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 404]


def test_an_agent_has_one_secret_per_variable(api, pat):
    store(api, "other", env_key="GITHUB_PAT")
    store(api, "third", agents=["builder"])
    conflicts = [
        api.post("/v1/secrets/other/grant/builder"),
        api.put("/v1/secrets/third", json={"env_key": "GITHUB_PAT"}),
        store(api, "fourth", env_key="GITHUB_PAT", agents=["writer", "builder"]),
    ]
    assert [(answer.status_code, answer.json["code"]) for answer in conflicts] == [(409, "env_key_conflict")] * 3
    assert names(api.get("/v1/secrets")) == ["github-pat", "other", "third"]
    assert api.get("/v1/secrets/third").json["env_key"] == "THIRD"


@pytest.mark.parametrize("agent", ["A", "..", "a.b", "%2e%2e", "_x", "a" * 65])
def test_what_cannot_be_an_agent_is_not_found(api, pat, agent):
    for method, path in (("POST", f"github-pat/grant/{agent}"), ("GET", f"agents/{agent}")):
        assert api.open(f"/v1/secrets/{path}", method=method).status_code == 404


# --- values, rotation ---


def test_only_a_worker_reads_values_and_the_use_is_noted(api, anyone, pat):
    answer = anyone.get("/v1/secrets/agents/builder/env", **as_worker(anyone))
    assert answer.json == {"agent_id": "builder", "env": {"GITHUB_PAT": PAT["value"]}}
    assert answer.headers["Cache-Control"] == "no-store"
    assert api.get("/v1/secrets/agents/builder/env").status_code == 403
    assert api.get("/v1/secrets/github-pat").json["last_used_by"] == "w"


@on_sqlite
def test_no_values_are_read_while_authentication_is_off(settings, api, pat):
    settings.setenv("AUTH_ENABLED", "false")
    from models import config

    config.get.cache_clear()
    assert api.get("/v1/secrets/agents/builder/env").status_code == 403
    assert api.get("/v1/secrets").status_code == 200


def test_a_value_that_does_not_decrypt_is_not_skipped_silently(anyone, pat):
    SecretVersion.update(value="v1.k1.x.x").execute()
    assert anyone.get("/v1/secrets/agents/builder/env", **as_worker(anyone)).json["code"] == "unreadable"


def test_a_rotation_is_rung_for(api, pat):
    answer = api.post("/v1/secrets/rekey")
    assert (answer.status_code, answer.json) == (202, {"job": "rekey_k1", "from": [], "to": "k1", "total": 0})
    maintenance.secrets_rekey("rekey_k1")


def test_a_secret_is_announced_by_its_name_alone(api, pat):
    from models import events

    api.delete("/v1/secrets/github-pat")
    told = [events.decode(row["data"]) for row in events.after("platform", 0)]
    assert [(event["type"], event["name"]) for event in told] == [
        ("secret_written", "github-pat"),
        ("secret_deleted", "github-pat"),
    ]
    assert PAT["value"] not in str(told)
