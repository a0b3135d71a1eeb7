"""Installations of the App: what GitHub says when accounts add, suspend or remove it."""

from __future__ import annotations

from typing import Any

from models import github_cache, projects
from pipelines import github_events
from pipelines.github_events import Facts
from workers.broker import doorbell

EVENTS = ("installation", "installation_repositories")
GONE = ("deleted", "suspend")
WHY = "The GitHub App has no access to this repository any more"


def apply(event: str, facts: Facts, payload: dict[str, Any]) -> tuple[str, str] | None:
    """Brings the cache up to date, in the enclosing transaction; (kind, the installation's id)."""
    installation = payload.get("installation")
    if facts.installation_id is None or not isinstance(installation, dict):
        return None
    if event == "installation":
        active = facts.action not in GONE
        github_cache.save_installation(facts.installation_id, **columns(installation), active=active)
        names = _names(payload, "repositories")
        if active:
            _fetch_again(names)
        else:
            _cut_off(github_cache.forget_repositories(facts.installation_id) + names)
    else:
        _cut_off(_names(payload, "repositories_removed"))
        _fetch_again(_names(payload, "repositories_added"))
    github_cache.expire("repos")
    return "installation", str(facts.installation_id)


def columns(installation: dict[str, Any]) -> dict[str, Any]:
    """An installation of GitHub's API as a row."""
    account = installation.get("account") or {}
    return {
        "account_login": account.get("login"),
        "account_type": account.get("type"),
        "account_avatar_url": account.get("avatar_url"),
        "app_id": installation.get("app_id"),
        "app_slug": installation.get("app_slug"),
        "repository_selection": installation.get("repository_selection"),
        "installed_at": github_events.moment(installation.get("created_at")),
    }


def _names(payload: dict[str, Any], key: str) -> list[str]:
    found = payload.get(key)
    listed = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    return [str(item.get("full_name", "")).lower() for item in listed]


def _fetch_again(names: list[str]) -> None:
    """What projects could not reach they may reach now."""
    for name in names:
        for project_id in projects.of_repository(name):
            doorbell("prepare_workspace", project_id, projects.WORKSPACE)


def _cut_off(names: list[str]) -> None:
    """Projects say that their repository cannot be reached."""
    for name in dict.fromkeys(names):
        for project_id in projects.of_repository(name):
            project = projects.lock(project_id)
            told = projects.event(project, "project_updated", fields=["workspace_setup"])
            projects.write(project, [told], workspace_status="error", workspace_error=WHY)
