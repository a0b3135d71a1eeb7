"""GitHub: the commands that ask it something, look for what it has failed to deliver, and resolve an issue."""

from __future__ import annotations

import re
from typing import Any

from models import database, firings, github_apps, github_cache
from models.errors import ConfigError, Conflict, Invalid
from pipelines import github_events
from workers import triggers
from workers.broker import doorbell

RESOLVE = "resolve"  # the pipeline
RECONCILE = "github"  # the id that its doorbell carries
_PART = r"(?!\.\.?(?![\w.-]))[A-Za-z0-9_.-]{1,100}"  # any name but . and ..
REPOSITORY = re.compile(f"{_PART}/{_PART}")
ISSUE = re.compile(rf"https?://[^/\s]+/({_PART}/{_PART})/(?:issues|pull)/(\d{{1,9}})(?:[/?#].*)?")
SHORT = re.compile(rf"({_PART}/{_PART})#(\d{{1,9}})")


def ask(kind: str, subject: dict[str, Any] | None = None) -> str:
    """Rings for an answer from GitHub; returns the question's id."""
    with database.transaction():
        id = github_cache.ask(kind, subject or {})
        doorbell("github_look", id)
    return id


def give_up(id: str) -> None:
    """Nobody waits for the answer any more, or it has been read."""
    with database.transaction():
        github_cache.withdraw(id)


def reconcile() -> None:
    """Rings for a look at what GitHub has failed to deliver, in the enclosing transaction."""
    doorbell("github_reconcile", RECONCILE)


def reconcile_if_due(minutes: int, since: int | None, now: int) -> bool:
    """Rings if the last ring is longer ago; for the sweeper."""
    if not github_apps.is_configured() or (since is not None and now - since < minutes * 60_000):
        return False
    with database.transaction():
        reconcile()
    return True


def issue_of(url: str | None, repo: str | None, number: int | None) -> tuple[str, int]:
    """(owner/name, number) of an issue's address, or of both. Raises Invalid."""
    if url is not None:
        found = ISSUE.fullmatch(url.strip()) or SHORT.fullmatch(url.strip())
        if found is None:
            why = "https://HOST/OWNER/NAME/issues/N, or OWNER/NAME#N"
            raise Invalid("That is no address of an issue", errors={"issue_url": [why]})
        return found[1], int(found[2])
    if repo is None or number is None or not REPOSITORY.fullmatch(repo):
        raise Invalid("Which issue?", errors={"issue_url": ["give it, or `repo` and `number`"]})
    return repo, number


def resolve(repository: str, issue: dict[str, Any], project_id: str | None, **columns: Any) -> str:
    """Starts the pipeline for an issue as GitHub has shown it; returns the run's id. Raises NotFound, Conflict."""
    payload = {"issue": issue, "repository": {"full_name": repository}}
    facts = github_events.facts("issues", payload)
    text = f"Resolve {repository}#{facts.number}: {facts.title}"
    with database.transaction():
        firings.lock()
        try:
            run_id = triggers.start(RESOLVE, text, facts, project_id, **columns)
        except ConfigError as error:
            raise Conflict(error.message, "pipeline_invalid", allowed=[]) from error
        scope = f"pipeline:{RESOLVE}:{repository}#{facts.number}".lower()
        firings.add(scope=scope, run_id=run_id, **triggers.place(facts))
    return run_id
