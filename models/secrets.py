"""Secrets: stored encrypted, granted to agents, decrypted here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import peewee

from models import config, crypto, database
from models.base import Model, new_id, now_ms
from models.errors import Conflict, Invalid, NotFound, Unreadable

TYPES = {
    "pat": "Personal Access Token",
    "ssh_key": "SSH Private Key",
    "env_var": "Environment Variable",
    "password": "Password",
    "api_key": "API Key",
    "token": "Token",
    "other": "Other",
}
KEPT_VERSIONS = 5
_ENV_KEY = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")
_RESERVED = re.compile(
    r"PATH|HOME|SHELL|USER|IFS|ENV|BASH_ENV|LD_.*|DYLD_.*|PYTHON.*|NODE_OPTIONS|PERL5.*|RUBYOPT"
    r"|GIT_(?!TOKEN$).*|.*_PROXY|SSL_CERT_.*"
)


class Secret(Model):
    id = peewee.TextField(primary_key=True)
    name = peewee.TextField()
    name_key = peewee.TextField(unique=True)  # the name in lower case
    description = peewee.TextField(null=True)
    secret_type = peewee.TextField()
    env_key = peewee.TextField()
    version = peewee.IntegerField(default=0)
    last_used_at = peewee.BigIntegerField(null=True)
    last_used_by = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()
    updated_at = peewee.BigIntegerField()

    class Meta:
        table_name = "secrets"


class SecretVersion(Model):
    secret_id = peewee.TextField()
    version = peewee.IntegerField()
    key_id = peewee.TextField()  # the key that `value` is encrypted under
    value = peewee.TextField()
    created_at = peewee.BigIntegerField()
    created_by = peewee.TextField(null=True)

    class Meta:
        table_name = "secret_versions"
        primary_key = peewee.CompositeKey("secret_id", "version")


class SecretGrant(Model):
    agent_id = peewee.TextField()
    env_key = peewee.TextField()  # the secret's: one variable cannot hold two of them
    secret_id = peewee.TextField(index=True)
    granted_at = peewee.BigIntegerField()
    granted_by = peewee.TextField(null=True)

    class Meta:
        table_name = "secret_grants"
        primary_key = peewee.CompositeKey("agent_id", "env_key")


class SecretUse(Model):
    """A run that was given a secret."""

    run_id = peewee.TextField()
    secret_id = peewee.TextField()

    class Meta:
        table_name = "secret_uses"
        primary_key = peewee.CompositeKey("run_id", "secret_id")


# --- reading ---


def find(name: str) -> Secret:
    """The secret of that name (in any case) or id. Raises NotFound."""
    column = "id" if name.startswith("sec_") else "name_key"
    found = Secret.fetch(f"{column} = ?", (name if column == "id" else name.lower(),))
    if not found:
        raise NotFound(f"Secret {name} not found", "secret_not_found")
    return found[0]


def decrypted(secret_id: str, version: int, value: str) -> str:
    """Raises Unreadable."""
    return crypto.ring().decrypt(value, *_place(secret_id, version))


def _place(secret_id: str, version: int) -> tuple[str, str, str]:
    return "secret_versions", f"{secret_id} {version}", "value"


def versions(secret: Secret) -> list[SecretVersion]:
    """Those that are kept, newest first."""
    return SecretVersion.fetch("secret_id = ? ORDER BY version DESC", (secret.id,))


def granted(agents: Sequence[str]) -> list[dict[str, Any]]:
    """`[{agent_id, env_key, secret_id, name, version, value}]`, encrypted, of everything that these agents may have."""
    marks = ", ".join("?" * len(agents))
    return database.rows(
        "SELECT g.agent_id, g.env_key, s.id AS secret_id, s.name, s.version, v.value FROM secret_grants g"
        " JOIN secrets s ON s.id = g.secret_id JOIN secret_versions v ON v.secret_id = s.id AND v.version = s.version"
        f" WHERE g.agent_id IN ({marks}) ORDER BY g.agent_id, g.env_key",
        agents,
    )


def used(secret_ids: Sequence[str], by: str) -> None:
    """Notes that the values left the store."""
    Secret.update(last_used_at=now_ms(), last_used_by=by).where(Secret.id.in_(list(secret_ids))).execute()


def first_use(secret_id: str, run_id: str) -> bool:
    """Notes that the run was given the secret; False if it was before."""
    row = {"run_id": run_id, "secret_id": secret_id}
    return SecretUse.insert(row).on_conflict_ignore().as_rowcount().execute() == 1


# --- writing, all in the caller's transaction ---


def create(
    name: str,
    value: str,
    *,
    secret_type: str,
    env_key: str | None = None,
    description: str | None = None,
    agents: Sequence[str] = (),
    by: str | None = None,
) -> Secret:
    """Raises Conflict, Invalid."""
    database.serialize()
    if Secret.fetch("name_key = ?", (name.lower(),)):
        raise Conflict(f"There is a secret {name} already", "secret_exists")
    secret = Secret(
        id=new_id("sec_"),
        name=name,
        name_key=name.lower(),
        description=description,
        secret_type=secret_type,
        env_key=checked_env_key(env_key or default_env_key(name)),
        version=0,
        created_at=now_ms(),
        updated_at=now_ms(),
    )
    secret.save(force_insert=True)
    add_version(secret, value, by)
    for agent_id in dict.fromkeys(agents):
        grant(secret, agent_id, by)
    return secret


def default_env_key(name: str) -> str:
    key = re.sub(r"[^A-Za-z0-9_]+", "_", name)
    return f"_{key}" if key[0].isdigit() else key


def checked_env_key(given: str) -> str:
    """Trimmed and in upper case. Raises Invalid."""
    key = given.strip().upper()
    if not _ENV_KEY.fullmatch(key):
        raise Invalid(f"{given!r} cannot name a variable", errors={"env_key": ["letters, digits and _ only"]})
    if _RESERVED.fullmatch(key) or key in config.names():
        raise Invalid(f"{key} is reserved", "env_key_reserved", {"env_key": ["reserved"]})
    return key


def add_version(secret: Secret, value: str, by: str | None) -> None:
    """A new current value; the oldest of more than five is destroyed."""
    secret.version += 1
    ring = crypto.ring()
    SecretVersion.create(
        secret_id=secret.id,
        version=secret.version,
        key_id=ring.newest,
        value=ring.encrypt(value, *_place(secret.id, secret.version)),
        created_at=now_ms(),
        created_by=by,
    )
    old = (SecretVersion.secret_id == secret.id) & (SecretVersion.version <= secret.version - KEPT_VERSIONS)
    SecretVersion.delete().where(old).execute()
    _touch(secret)


def _touch(secret: Secret) -> None:
    secret.updated_at = now_ms()
    secret.save()


def update(secret: Secret, changes: dict[str, Any], by: str | None) -> list[str]:
    """Applies what differs, a `value` as a new version; returns the names of the changed fields. Raises Conflict."""
    changes = dict(changes)
    value = changes.pop("value", None)
    if "env_key" in changes:
        changes["env_key"] = checked_env_key(changes["env_key"])
    changed = [name for name, new in changes.items() if getattr(secret, name) != new]
    for name in changed:
        setattr(secret, name, changes[name])
    if "env_key" in changed:
        with _one_per_variable(secret.env_key):
            SecretGrant.update(env_key=secret.env_key).where(SecretGrant.secret_id == secret.id).execute()
    if value is not None and not _is_current(secret, value):
        add_version(secret, value, by)
        changed.append("value")
    elif changed:
        _touch(secret)
    return changed


def _is_current(secret: Secret, value: str) -> bool:
    try:
        return value == decrypted(secret.id, secret.version, versions(secret)[0].value)
    except Unreadable:  # whatever it was, it is replaced
        return False


def restore(secret: Secret, number: int, by: str | None) -> None:
    """Makes a kept version the current value, as a new version. Raises NotFound, Unreadable."""
    kept = next((version for version in versions(secret) if version.version == number), None)
    if kept is None:
        raise NotFound(f"Secret {secret.name} has no version {number}", "version_not_found")
    add_version(secret, decrypted(secret.id, number, kept.value), by)


def delete(secret: Secret) -> None:
    """With its grants and all versions."""
    for table in (SecretVersion, SecretGrant, SecretUse):
        table.delete().where(table.secret_id == secret.id).execute()
    secret.delete_instance()


def grant(secret: Secret, agent_id: str, by: str | None) -> SecretGrant:
    """Lets the agent's steps have it; a grant that stands is left as it is. Raises Conflict."""
    found = SecretGrant.fetch("secret_id = ? AND agent_id = ?", (secret.id, agent_id))
    if found:
        return found[0]
    with _one_per_variable(secret.env_key):
        row = {"agent_id": agent_id, "env_key": secret.env_key, "secret_id": secret.id}
        made = SecretGrant.create(**row, granted_at=now_ms(), granted_by=by)
    _touch(secret)
    return made


def revoke(secret: Secret, agent_id: str) -> None:
    """Raises NotFound."""
    grant = (SecretGrant.secret_id == secret.id) & (SecretGrant.agent_id == agent_id)
    if not SecretGrant.delete().where(grant).execute():
        raise NotFound(f"{agent_id} has not been granted {secret.name}", "grant_not_found")
    _touch(secret)


@contextmanager
def _one_per_variable(env_key: str) -> Iterator[None]:
    try:
        with database.transaction():
            yield
    except peewee.IntegrityError as error:
        raise Conflict(f"An agent has another secret as {env_key}", "env_key_conflict") from error


# --- rotation ---


def under_older_keys() -> tuple[list[str], int]:
    """(the older keys that are still needed, how many rows are under them)."""
    sql = "SELECT key_id, count(*) FROM secret_versions WHERE key_id <> ? GROUP BY key_id ORDER BY key_id"
    found = database.execute(sql, (crypto.ring().newest,)).fetchall()
    return [key_id for key_id, _ in found], sum(count for _, count in found)


def rekey(after: tuple[str, int], limit: int = 100) -> tuple[str, int] | None:
    """Puts up to `limit` rows beyond (secret id, version) `after` under the newest key; returns the last one's place.

    A row that does not decrypt is left as it is, and goes on being counted.
    """
    ring = crypto.ring()
    condition = "key_id <> ? AND (secret_id, version) > (?, ?) ORDER BY secret_id, version LIMIT ?"
    found = SecretVersion.fetch(condition, (ring.newest, *after, limit))
    for row in found:
        with suppress(Unreadable):
            value = ring.encrypt(decrypted(row.secret_id, row.version, row.value), *_place(row.secret_id, row.version))
            where = (SecretVersion.secret_id == row.secret_id) & (SecretVersion.version == row.version)
            SecretVersion.update(value=value, key_id=ring.newest).where(where).execute()
    return (found[-1].secret_id, found[-1].version) if found else None
