"""Questions to GitHub, which a worker asks for whoever waits; what it learns is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import structlog

from models import database, github_apps, github_cache, outbox
from models.errors import OutsideError
from models.github_apps import APP, NONE, PAT
from workers import installations
from workers.broker import actor
from workers.clients import github

log = structlog.get_logger(__name__)


@actor
def github_look(question_id: str) -> None:
    """Asks, unless nobody waits for the answer any more; a refusal is an answer too: {error}."""
    with database.connection():
        question = github_cache.question(question_id)
    answer = None
    if question is not None and question.answer is None:
        answer = _asked(_KINDS[question.kind], question.subject)
    with database.transaction():
        if answer is not None:
            github_cache.answer(question_id, answer)
        outbox.answered(question_id, "")


def _asked(ask: Callable[[dict[str, Any]], dict[str, Any]], subject: dict[str, Any]) -> dict[str, Any]:
    try:
        return ask(subject)
    except OutsideError as error:
        log.warning("github_refused", error=error.message)
        return {"error": error.message}
    except (KeyError, TypeError, ValueError) as error:
        log.warning("github_not_understood", exc_info=error)
        return {"error": "GitHub has answered with something else than was asked for"}


# --- the state of the App ---


def _status(_: dict[str, Any]) -> dict[str, Any]:
    """Who we are, by a real call; kept."""
    mode = github_apps.identity().mode
    found = _asked(lambda _: _app() if mode == APP else _user() if mode == PAT else {}, {})
    with database.transaction():
        github_cache.put("status", {"mode": mode} | found)
    return found


def _app() -> dict[str, Any]:
    client = github.app()
    us = client.get("/app")
    known = {"app_id": us["id"], "app_slug": us.get("slug"), "app_name": us.get("name")}
    return known | {"installations": us.get("installations_count"), "rate_limit": client.rate}


def _user() -> dict[str, Any]:
    client = github.user()
    return {"login": client.get("/user")["login"], "rate_limit": client.rate}


# --- repositories ---


def _repos(_: dict[str, Any]) -> dict[str, Any]:
    """Every repository that can be reached; kept."""
    mode = github_apps.identity().mode
    found = list({APP: _installed, PAT: _owned, NONE: lambda: iter(())}[mode]())
    with database.transaction():
        github_cache.replace_repositories(found)
        github_cache.put("repos", {"count": len(found)})
    return {"count": len(found)}


def _installed() -> Iterator[dict[str, Any]]:
    for installation in github.app().pages("/app/installations"):
        active = installation.get("suspended_at") is None
        with database.transaction():
            columns = installations.columns(installation)
            github_cache.save_installation(installation["id"], **columns, active=active)
        if active:
            pages = github.installation(installation["id"]).pages("/installation/repositories", "repositories")
            yield from (_row(repo, APP, installation["id"]) for repo in pages)


def _owned() -> Iterator[dict[str, Any]]:
    return (_row(repo, PAT, None) for repo in github.user().pages("/user/repos"))


def _row(repo: dict[str, Any], source: str, installation_id: int | None) -> dict[str, Any]:
    names = ("full_name", "name", "description", "default_branch", "html_url")
    shown = {name: repo.get(name) for name in names} | {"owner": repo["owner"]["login"]}
    facts = {"private": bool(repo.get("private")), "archived": bool(repo.get("archived"))}
    return shown | facts | {"source": source, "installation_id": installation_id}


# --- single things ---


def _issue(subject: dict[str, Any]) -> dict[str, Any]:
    repository = subject["repository"]
    client = github.for_repository(repository)
    issue = client.get(f"/repos/{github.path(repository)}/issues/{subject['number']}")
    return {"issue": issue}


def _manifest(subject: dict[str, Any]) -> dict[str, Any]:
    """Turns the code that a browser brought back into an App, whose secrets go nowhere but into the key ring."""
    made = github.Client(None).post(f"/app-manifests/{github.path(subject['code'])}/conversions", {})
    facts = {"app_id": str(made["id"]), "slug": made["slug"], "name": made["name"], "client_id": made["client_id"]}
    secrets = {"private_key": made["pem"], "webhook_secret": made.get("webhook_secret") or ""}
    with database.transaction():
        hidden = secrets | {"client_secret": made.get("client_secret") or ""}
        github_apps.store(facts | {"html_url": made.get("html_url")}, hidden, subject.get("by"))
        github_cache.expire("status")
    return {"app_id": facts["app_id"], "app_slug": made["slug"], "app_name": made["name"]}


_KINDS = {"status": _status, "repos": _repos, "issue": _issue, "manifest": _manifest}
