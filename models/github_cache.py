"""What GitHub has told us last: installations, repositories, the state of the App; and questions to be asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import peewee

from models import database
from models.base import JSONField, Model, new_id, now_ms

FORGET_MS = 3_600_000  # questions that nobody came to read the answer of
SHOWN = (
    *("full_name", "owner", "name", "description", "private", "archived", "default_branch", "html_url", "source"),
    "installation_id",
)
INSTALLATION = (
    *("installation_id", "account_login", "account_type", "account_avatar_url", "app_id", "app_slug"),
    *("repository_selection", "installed_at"),
)


class GitHubInstallation(Model):
    installation_id = peewee.BigIntegerField(primary_key=True)
    account_login = peewee.TextField(null=True)
    account_type = peewee.TextField(null=True)
    account_avatar_url = peewee.TextField(null=True)
    app_id = peewee.BigIntegerField(null=True)
    app_slug = peewee.TextField(null=True)
    repository_selection = peewee.TextField(null=True)
    installed_at = peewee.BigIntegerField(null=True)
    active = peewee.BooleanField(default=True)  # neither suspended nor removed

    class Meta:
        table_name = "github_installations"


class GitHubRepository(Model):
    name_key = peewee.TextField(primary_key=True)  # owner/name in lower case
    full_name = peewee.TextField()
    owner = peewee.TextField()
    name = peewee.TextField()
    description = peewee.TextField(null=True)
    private = peewee.BooleanField()
    archived = peewee.BooleanField()
    default_branch = peewee.TextField(null=True)
    html_url = peewee.TextField(null=True)
    installation_id = peewee.BigIntegerField(null=True, index=True)
    source = peewee.TextField()  # app, pat

    class Meta:
        table_name = "github_repositories"


class GitHubState(Model):
    """Single values: the answer of the last check, the cursor of the last look at deliveries, rate limits."""

    name = peewee.TextField(primary_key=True)
    value = JSONField()
    at = peewee.BigIntegerField()

    class Meta:
        table_name = "github_state"


class GitHubQuestion(Model):
    """Something that a worker asks GitHub for who waits."""

    id = peewee.TextField(primary_key=True)
    kind = peewee.TextField()  # status, repos, issue, manifest
    subject = JSONField(default=dict)
    answer = JSONField(null=True)
    created_at = peewee.BigIntegerField(index=True)

    class Meta:
        table_name = "github_questions"


# --- single values ---


def put(name: str, value: Any) -> None:
    row = {"name": name, "value": value, "at": now_ms()}
    GitHubState.insert(row).on_conflict(conflict_target=[GitHubState.name], update=row).execute()


def state(name: str) -> tuple[Any, int | None]:
    """(the value, when it was stored); (None, None) if it never was."""
    found = GitHubState.fetch("name = ?", (name,))
    return (found[0].value, found[0].at) if found else (None, None)


def expire(name: str) -> None:
    """The value is old from now on, but still what is known."""
    GitHubState.update(at=0).where(GitHubState.name == name).execute()


def take(name: str) -> Any:
    """The value, which is gone from now on: of two that ask, one gets it."""
    value, _ = state(name)
    return value if GitHubState.delete().where(GitHubState.name == name).execute() else None


# --- questions ---


def ask(kind: str, subject: dict[str, Any]) -> str:
    """A question to be answered; returns its id."""
    GitHubQuestion.delete().where(GitHubQuestion.created_at < now_ms() - FORGET_MS).execute()
    row = {"id": new_id("ghq_"), "kind": kind, "subject": subject, "created_at": now_ms()}
    GitHubQuestion.add(row)
    return row["id"]


def question(id: str) -> GitHubQuestion | None:
    found = GitHubQuestion.fetch("id = ?", (id,))
    return found[0] if found else None


def answer(id: str, value: dict[str, Any]) -> None:
    GitHubQuestion.update(answer=value).where(GitHubQuestion.id == id).execute()


def withdraw(id: str) -> None:
    """Nobody waits for the answer any more, or it has been read."""
    GitHubQuestion.delete().where(GitHubQuestion.id == id).execute()


# --- installations and repositories ---


def save_installation(installation_id: int, **fields: Any) -> None:
    row = {"installation_id": installation_id} | fields
    GitHubInstallation.insert(row).on_conflict(
        conflict_target=[GitHubInstallation.installation_id], update=row
    ).execute()


def installations() -> list[GitHubInstallation]:
    """Those that can be used, oldest first."""
    return GitHubInstallation.fetch("active = ? ORDER BY installation_id", (True,))


def replace_repositories(rows: Iterable[dict[str, Any]]) -> None:
    """All that can be reached now; of a name that comes twice, the first."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        found.setdefault(row["full_name"].lower(), row)
    GitHubRepository.delete().execute()
    for name_key, row in found.items():
        GitHubRepository.add(row | {"name_key": name_key})


def forget_repositories(installation_id: int) -> list[str]:
    """They can no longer be reached; their names in lower case."""
    sql = "SELECT name_key FROM github_repositories WHERE installation_id = ? ORDER BY name_key"
    names = [row[0] for row in database.execute(sql, (installation_id,)).fetchall()]
    GitHubRepository.delete().where(GitHubRepository.installation_id == installation_id).execute()
    return names


def repositories(limit: int, after: str | None, q: str | None, installation_id: int | None) -> list[dict[str, Any]]:
    """Up to `limit` repositories by name, later than `after`, with the projects that use them."""
    where, params = ["name_key > ?"], [after or ""]
    if q:
        where.append("name_key LIKE ? ESCAPE '\\'")
        params.append(f"%{database.literal(q.lower())}%")
    if installation_id is not None:
        where.append("installation_id = ?")
        params.append(installation_id)
    found = GitHubRepository.fetch(f"{' AND '.join(where)} ORDER BY name_key LIMIT ?", (*params, limit))
    used = _projects([row.name_key for row in found])
    return [{name: getattr(row, name) for name in SHOWN} | {"project_ids": used.get(row.name_key, [])} for row in found]


def _projects(names: list[str]) -> dict[str, list[str]]:
    marks = ", ".join("?" * len(names)) or "NULL"
    condition = f"repo_full_name IN ({marks}) AND status <> 'archived'"
    sql = f"SELECT repo_full_name, id FROM projects WHERE {condition} ORDER BY id"
    used: dict[str, list[str]] = {}
    for name, project_id in database.execute(sql, names).fetchall():
        used.setdefault(name, []).append(project_id)
    return used


def installation_of(repository: str) -> int | None:
    """The installation through which the repository can be reached, as far as is known."""
    sql = "SELECT installation_id FROM github_repositories WHERE name_key = ?"
    row = database.execute(sql, (repository.lower(),)).fetchone()
    return row and row[0]
