"""Secrets of a step: what its agent's commands see, and what must not be written in the run at all."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import structlog

from models import chats, database, github_apps, projects, secret_uses, secrets
from models.errors import ConfigError, NotFound, OutsideError, Unreadable
from models.redaction import NOTHING, Redactor
from pipelines.state import Visit
from workers import repositories
from workers.walks import Walk

log = structlog.get_logger(__name__)

FRESH_SECONDS = 1.0  # a walk that goes on for longer looks again


@dataclass(frozen=True, slots=True)
class Granted:
    """`env`: the agent's own secrets by variable; `redactor`: for those of every agent that shares the workspace."""

    env: dict[str, str] = field(default_factory=dict)
    redactor: Redactor = NOTHING
    known: dict[str, str] = field(default_factory=dict)  # what the redactor is for


NONE = Granted()


def of(walk: Walk, visit: Visit, with_git: bool = False) -> Granted:
    """What the visit's agent has been granted; `with_git`: also what git needs for the repository of the run's project.

    Raises ConfigError if it cannot be decrypted.
    """
    granted = _secrets(walk, visit)
    if not with_git or walk.run.project_id is None or not github_apps.is_configured():
        return granted
    env, token = _repository(walk.run.project_id)
    return Granted(granted.env | env, Redactor(granted.known, token)) if env else granted


def _repository(project_id: str) -> tuple[dict[str, str], dict[str, str]]:
    """(environment, {name: token})."""
    try:
        with database.connection():
            project = projects.get(project_id)
        env = repositories.credentials(project) if project.repository else {}
    except (NotFound, OutsideError) as error:
        log.warning("no_git_credentials", project=project_id, error=error.message)
        return {}, {}
    return env, {"git-token": env[repositories.VARIABLE]} if env else {}


def _secrets(walk: Walk, visit: Visit) -> Granted:
    if time.monotonic() - walk.grants_read > FRESH_SECONDS:
        agents = sorted({step.agent for step in walk.pipeline.steps.values() if step.agent})
        with database.connection():
            walk.grants = secrets.granted(agents) if agents else []
        walk.grants_read = time.monotonic()
    return _open(walk.grants, walk.run.id, visit.agent_id) if walk.grants else NONE


def for_chat(session_id: str, agent_id: str) -> Granted:
    """What the agent of a chat has been granted. Raises ConfigError if it cannot be decrypted."""
    with database.connection():
        rows = secrets.granted([agent_id])
    return _open(rows, session_id, agent_id) if rows else NONE


def _open(rows: list[dict[str, Any]], stream: str, agent_id: str) -> Granted:
    env, known = {}, {}
    for row in rows:
        mine = row["agent_id"] == agent_id
        value = _value(row, needed=mine)
        if value is not None:
            known[row["name"]] = value
            env |= {row["env_key"]: value} if mine else {}
    if named := {row["secret_id"]: row["name"] for row in rows if row["agent_id"] == agent_id}:
        kind = "session_id" if stream.startswith(chats.PREFIX) else "run_id"
        secret_uses.note(named, agent_id, stream, **{kind: stream})
    return Granted(env, Redactor(known), known)


def _value(row: dict[str, Any], needed: bool) -> str | None:
    try:
        return secrets.decrypted(row["secret_id"], row["version"], row["value"])
    except Unreadable as error:
        if needed:
            raise ConfigError(f"Secret {row['name']} cannot be decrypted", "secret_unreadable") from error
        return None  # nobody can have it, so nobody can give it away
