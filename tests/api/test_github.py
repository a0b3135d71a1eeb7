"""/v1/github/repos, app/status, manifest, reconcile, and /v1/resolve"""

from __future__ import annotations

import threading
import time

import pytest

from models import audit, config, database, github_apps, github_cache, github_views, tokens, workers
from models.outbox import Outbox
from models.runs import Run, RunInput
from tests.api.conftest import on_sqlite
from tests.boards import Board
from tests.github import issue
from tests.github_double import GitHubDouble
from tests.workers.clients.test_github import PAT, key  # noqa: F401
from workers import github_looks
from workers.clients import github

pytestmark = on_sqlite


@pytest.fixture
def double(key, settings):  # noqa: F811
    """GitHub, and us as an App of it."""
    github._tokens.clear()
    made = GitHubDouble(key[1])
    environment(settings, GITHUB_API_URL=made.url, EGRESS_ALLOW=made.place, GITHUB_APP_ID="42")
    environment(settings, GITHUB_APP_PRIVATE_KEY=key[0], GITHUB_APP_NAME="djinn")
    yield made
    made.close()


def environment(settings, **values: str) -> None:
    for name, value in values.items():
        settings.setenv(name, value)
    config.get.cache_clear()


@pytest.fixture
def worker(double):
    """Somebody who asks GitHub."""
    workers.register("test", 1)
    ended = threading.Event()
    helper = threading.Thread(target=ask_for_who_waits, args=(ended,))
    helper.start()
    yield double
    ended.set()
    helper.join()


def ask_for_who_waits(ended: threading.Event) -> None:
    while not ended.wait(0.02):
        with database.connection():
            found = [box.object_id for box in Outbox.select().where(Outbox.actor == "github_look")]
        for id in found:
            github_looks.github_look(id)


# --- repositories ---


def test_repositories_of_all_installations_and_pages_are_listed_by_name(api, worker):
    board = Board(repository="https://github.com/octo/b")
    answer = api.get("/v1/github/repos")
    assert [repo["full_name"] for repo in answer.json] == ["octo/a", "octo/b", "octo/c", "other/d"]
    assert (answer.headers["X-Cache"], answer.headers["Age"]) == ("miss", "0")
    repo = answer.json[1]
    assert (repo["project_ids"], repo["installation_id"], repo["source"]) == ([board.id], 11, "app")
    assert repo["default_branch"] == "main" and repo["html_url"] == "https://github.com/octo/b"


def test_they_are_paged_and_filtered_from_what_is_kept(api, worker):
    api.get("/v1/github/repos")
    asked = len(worker.journal)
    page = api.get("/v1/github/repos?limit=3&q=o")
    rest = api.get(page.headers["Link"].split(">")[0].strip("<"))
    assert [repo["name"] for repo in (*page.json, *rest.json)] == ["a", "b", "c", "d"]
    assert [repo["name"] for repo in api.get("/v1/github/repos?installation_id=12").json] == ["d"]
    assert (len(worker.journal), rest.headers["X-Cache"]) == (asked, "hit")


def test_what_is_kept_is_served_when_github_fails(api, worker):
    assert api.get("/v1/github/repos").status_code == 200
    worker.fail("/app/installations", 503, times=3)
    stale = api.get("/v1/github/repos?refresh=true")
    assert (stale.status_code, stale.headers["X-Cache"], len(stale.json)) == (200, "stale", 4)


def test_without_anything_kept_a_failure_is_told(api, worker):
    worker.fail("/app/installations", 503, times=3)
    answer = api.get("/v1/github/repos")
    assert (answer.status_code, answer.json["code"]) == (502, "github_error")


def test_a_personal_token_lists_its_own(api, worker, settings):
    environment(settings, GITHUB_APP_ID="", GITHUB_TOKEN=PAT)
    found = api.get("/v1/github/repos").json
    assert [(repo["full_name"], repo["source"]) for repo in found] == [("me/own", "pat"), ("octo/a", "pat")]


def test_unconfigured_there_are_none(api):
    answer = api.get("/v1/github/repos")
    assert (answer.json, answer.headers["X-GitHub-Status"]) == ([], "not_configured")


# --- the state ---


@pytest.mark.parametrize(
    ("api_url", "url", "installation"),
    [
        ("https://api.github.com", "https://github.com", "https://github.com/apps/djinn/installations/new"),
        ("https://hub.test/api/v3", "https://hub.test", "https://hub.test/github-apps/djinn/installations/new"),
    ],
)
def test_pages_are_those_of_the_server_whose_api_is_asked(settings, api_url, url, installation):
    environment(settings, GITHUB_API_URL=api_url)
    assert (config.get().github_url, github_views.installation_url("djinn")) == (url, installation)


def test_the_state_comes_from_a_real_call_and_is_kept_for_a_minute(api, worker):
    first, again = (api.get("/v1/github/app/status").json for _ in range(2))
    assert (first["configured"], first["healthy"], first["mode"]) == (True, True, "app")
    assert (first["app_id"], first["app_slug"], first["app_name"], first["installations"]) == (42, "djinn", "Djinn", 2)
    assert first["rate_limit"]["limit"] == 5000 and first["missing"] == ["GITHUB_APP_WEBHOOK_SECRET"]
    assert first["installation_url"] == f"{config.get().github_url}/github-apps/djinn/installations/new"
    assert (first["cached"], again["cached"], len(worker.calls("GET", "^/app$"))) == (False, True, 1)
    api.get("/v1/github/app/status?refresh=true")
    assert len(worker.calls("GET", "^/app$")) == 2


def test_a_refusal_is_told_without_the_token(api, worker, settings):
    environment(settings, GITHUB_APP_ID="", GITHUB_TOKEN=PAT)
    worker.fail("/user", 401, message=f"Bad credentials {PAT}")
    status = api.get("/v1/github/app/status").json
    assert (status["healthy"], status["mode"]) == (False, "pat") and "401" in status["message"]
    assert PAT not in str(status)


def test_without_a_worker_it_is_not_healthy(api, double):
    status = api.get("/v1/github/app/status").json
    assert (status["healthy"], status["message"]) == (False, "No worker is running")


def test_unconfigured_it_says_what_is_missing(api):
    status = api.get("/v1/github/app/status").json
    assert (status["configured"], status["is_configured"], status["healthy"]) == (False, False, False)
    assert status["missing"] == ["GITHUB_APP_ID", "GITHUB_APP_PRIVATE_KEY", "GITHUB_APP_WEBHOOK_SECRET"]
    assert (status["mode"], status["app_id"], status["last_delivery_at"]) == ("none", None, None)


# --- aliases ---


@pytest.mark.parametrize("path", ["setup-status", "app-info", "app-info/"])
def test_aliases_answer_as_the_state(api, path):
    assert api.get(f"/v1/github/{path}").json == api.get("/v1/github/app/status").json


def test_an_older_client_is_told_in_words_that_nothing_is_configured(api):
    status = api.get("/v1/github/status").json
    assert (status["app_id"], status["app_name"]) == (0, "Not Configured")


def test_installations_are_those_that_were_seen_last(api, worker):
    assert api.get("/v1/github/installations").json == []
    api.get("/v1/github/repos")
    first, second = api.get("/v1/github/installations").json
    assert (first["installation_id"], first["account_login"], first["app_slug"]) == (11, "octo", "djinn")
    assert first["installed_at"] == 1767323045000 and second["repository_selection"] == "all"


# --- resolve ---


@pytest.mark.parametrize(
    "body",
    [
        {"issue_url": "https://github.com/octo/a/issues/7"},
        {"issueUrl": "octo/a#7"},
        {"repo": "octo/a", "number": 7, "model": "scripted/other"},
    ],
)
def test_an_issue_is_resolved(api, worker, body):
    worker.issues["octo/a#7"] = issue(7, title="Broken")
    answer = api.post("/v1/resolve", json=body)
    assert (answer.status_code, answer.json["issue_title"]) == (201, "Broken")
    assert (answer.json["repo_full_name"], answer.json["status"]) == ("octo/a", "pending")
    run = Run.get_by_id(answer.json["run_id"])
    assert (run.pipeline_id, run.model_override) == ("resolve", body.get("model"))
    assert run.tainted_by == "github octo/a#7" and "octo/a" in RunInput.get_by_id(run.id).human_context


ADDRESSES = ["https://github.com/octo/a/issues/7", "octo/a%237", "https://x.test/octo/a/pull/7?a=b"]


@pytest.mark.parametrize("url", ADDRESSES)
def test_an_address_of_an_issue_is_taken_apart(api, url):
    assert api.get(f"/v1/resolve/parse?url={url}").json == {"owner": "octo", "repo": "a", "number": 7}
    assert api.get("/v1/resolve/parse?url=octo").status_code == 422


def test_an_issue_that_cannot_be_read_is_502(api, worker):
    answer = api.post("/v1/resolve", json={"repo": "octo/a", "number": 8})
    assert (answer.status_code, answer.json["code"], Run.select().count()) == (502, "github_error", 0)


@pytest.mark.parametrize(
    "body", [{}, {"repo": "octo/a"}, {"issue_url": "octo/a"}, {"issue_url": "octo/..#7"}, {"repo": "../a", "number": 1}]
)
def test_an_issue_must_be_named(api, body):
    assert api.post("/v1/resolve", json=body).status_code == 422


def test_resolving_needs_the_scope_run(anyone):
    sent = {"Authorization": f"Bearer {tokens.create('t', 'read')[1]}"}
    assert anyone.post("/v1/resolve", json={"repo": "octo/a", "number": 7}, headers=sent).status_code == 403


# --- the manifest ---


def test_an_app_is_made_with_a_manifest_and_its_secrets_are_shown_to_nobody(api, anyone, worker, settings):
    environment(settings, GITHUB_APP_ID="", GITHUB_APP_PRIVATE_KEY="")
    given = api.get("/v1/github/manifest").json
    assert given["manifest"]["redirect_url"] == "http://localhost/v1/github/manifest/callback"
    assert given["url"].startswith(f"{config.get().github_url}/settings/apps/new?state=")
    back = f"/v1/github/manifest/callback?code=good&state={given['state']}"
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert anyone.get(back, headers=foreign).status_code == 403
    made = anyone.get(back, headers=foreign | {"Sec-Fetch-Mode": "navigate"})
    assert (made.status_code, made.json["app_slug"], made.json["app_id"]) == (200, "djinn", "42")
    us = github_apps.identity()
    assert (us.app_id, us.webhook_secrets, us.mode) == ("42", ("made-secret-123",), "app")
    assert "made-secret-123" not in github_apps.GitHubApp.get_by_id(1).secrets and "secret" not in str(made.json)
    assert anyone.get(back).json["code"] == "bad_state"
    assert "github.app.create" in {row.action for row in audit.AuditRow.select()}


def test_a_state_that_is_not_ours_or_too_old_makes_nothing(api, anyone, worker):
    state = api.get("/v1/github/manifest?organization=acme").json["state"]
    github_cache.GitHubState.update(at=int(time.time() * 1000) - 3_700_000).execute()
    for given in (state, "guessed"):
        answer = anyone.get(f"/v1/github/manifest/callback?code=good&state={given}")
        assert (answer.status_code, answer.json["code"]) == (403, "bad_state")
    assert worker.calls("POST", "/app-manifests") == []


def test_a_code_that_github_refuses_is_502(api, anyone, worker):
    state = api.get("/v1/github/manifest").json["state"]
    assert anyone.get(f"/v1/github/manifest/callback?code=bad&state={state}").status_code == 502


def test_a_look_for_missed_deliveries_is_rung_for(api):
    answer = api.post("/v1/github/reconcile")
    assert (answer.status_code, answer.json) == (202, {"status": "queued", "last_reconcile_at": None})
    assert [box.actor for box in Outbox.select()] == ["github_reconcile"]
