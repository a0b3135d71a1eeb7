"""How this installation is known to GitHub: an App of the environment or one made here, or a personal token."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import peewee

from models import config, crypto, database
from models.base import Model, dumps, now_ms
from models.versions import Kept, bump

NAME = "github_app"  # of its version
ONLY = 1  # there is at most one
APP, PAT, NONE = "app", "pat", "none"


class GitHubApp(Model):
    """An App made with the manifest; its secrets are encrypted."""

    id = peewee.IntegerField(primary_key=True)
    app_id = peewee.TextField()
    slug = peewee.TextField()
    name = peewee.TextField()
    client_id = peewee.TextField()
    html_url = peewee.TextField(null=True)
    key_id = peewee.TextField()  # the key that `secrets` are encrypted under
    secrets = peewee.TextField()  # {private_key, webhook_secret, client_secret}
    created_by = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()

    class Meta:
        table_name = "github_apps"


@dataclass(frozen=True, slots=True)
class Identity:
    """`mode`: app, pat or none. What is not known is empty."""

    app_id: str = ""
    slug: str = ""
    private_key: str = ""
    webhook_secrets: tuple[str, ...] = ()
    token: str = ""

    @property
    def mode(self) -> str:
        if self.app_id and self.private_key:
            return APP
        return PAT if self.token else NONE

    @property
    def missing(self) -> list[str]:
        """Names of the settings without which it does not work, or not wholly."""
        needed = {
            "GITHUB_APP_ID": bool(self.app_id) or bool(self.token),
            "GITHUB_APP_PRIVATE_KEY": bool(self.private_key) or bool(self.token and not self.app_id),
            "GITHUB_APP_WEBHOOK_SECRET": bool(self.webhook_secrets),
        }
        return [name for name, there in needed.items() if not there]


def identity() -> Identity:
    """Who we are, at most a second old; the environment wins over an App made here."""
    settings, made = config.get(), _kept.get()
    given = [*settings.github_app_webhook_secret.split(","), *settings.github_webhook_secret.split(",")]
    given_id = settings.github_app_id or settings.github_app_client_id  # GitHub takes either
    secrets = [secret.strip() for secret in [*given, made.get("webhook_secret", "")]]
    return Identity(
        app_id=given_id or made.get("app_id", ""),
        slug=settings.github_app_name or made.get("slug", ""),
        private_key=_private_key() or ("" if given_id else made.get("private_key", "")),
        webhook_secrets=tuple(dict.fromkeys(secret for secret in secrets if secret)),
        token=settings.github_token,
    )


def is_configured() -> bool:
    return identity().mode != NONE


def _private_key() -> str:
    settings = config.get()
    if settings.github_app_private_key:
        return settings.github_app_private_key.replace("\\n", "\n")
    return _file(settings.github_app_private_key_path) if settings.github_app_private_key_path else ""


@functools.lru_cache(maxsize=1)
def _file(path: str) -> str:
    return Path(path).read_text()


def secret_values() -> dict[str, str]:
    """{name: value} of what must never be written anywhere, beside what the environment holds."""
    us = identity()
    signing = {f"GITHUB_WEBHOOK_SECRET {n}": secret for n, secret in enumerate(us.webhook_secrets)}
    return signing | ({"GITHUB_APP_PRIVATE_KEY": us.private_key} if us.private_key else {})


def _stored() -> dict[str, Any]:
    found = GitHubApp.fetch("id = ?", (ONLY,))
    if not found:
        return {}
    row = found[0]
    shown = {"app_id": row.app_id, "slug": row.slug, "name": row.name, "html_url": row.html_url}
    return shown | orjson.loads(crypto.ring().decrypt(row.secrets, *_place()))


_kept: Kept[dict[str, Any]] = Kept(NAME, _stored)


def _place() -> tuple[str, str, str]:
    return "github_apps", str(ONLY), "secrets"


def store(facts: dict[str, str], secrets: dict[str, str], by: str | None) -> None:
    """Keeps an App that GitHub has just made for us, in the place of another, in the enclosing transaction."""
    ring = crypto.ring()
    row = {"id": ONLY, "key_id": ring.newest, "secrets": ring.encrypt(dumps(secrets), *_place())}
    GitHubApp.delete().execute()
    GitHubApp.add(row | facts | {"created_by": by, "created_at": now_ms()})
    bump(NAME)
    database.on_commit(_kept.forget)


def rekey() -> None:
    """Puts its secrets under the newest key, in the enclosing transaction."""
    ring = crypto.ring()
    for row in GitHubApp.fetch("key_id <> ?", (ring.newest,)):
        secrets = ring.encrypt(ring.decrypt(row.secrets, *_place()), *_place())
        GitHubApp.update(key_id=ring.newest, secrets=secrets).where(GitHubApp.id == row.id).execute()


def under_older_keys() -> tuple[list[str], int]:
    """(the older keys that are still needed, how many rows are under them)."""
    found = [row.key_id for row in GitHubApp.fetch("key_id <> ?", (crypto.ring().newest,))]
    return found, len(found)
