"""Signing in with a browser: a single-use link made by the holder of a token, and the cookie it is exchanged for.

Only SHA-256 of either is stored. A login reaches as far as its token, and ends with it.
"""

from __future__ import annotations

import secrets
from typing import Any

import peewee

from models import database, tokens
from models.base import Model, new_id, now_ms
from models.errors import NotFound, Unauthorized
from models.tokens import Token, digest

LINK_MS = 10 * 60 * 1000
LOGIN_MS = 7 * 86_400_000
TOUCH_MS = 60_000  # how stale `last_used_at` may be
SHOWN = ("id", "token_id", "name", "scope", "created_at", "created_ip", "expires_at", "last_used_at")


class LoginLink(Model):
    hash = peewee.TextField(primary_key=True)
    token_hash = peewee.TextField()
    expires_at = peewee.BigIntegerField(index=True)

    class Meta:
        table_name = "login_links"


class Login(Model):
    id = peewee.TextField(primary_key=True)
    hash = peewee.TextField(unique=True)
    token_hash = peewee.TextField()
    token_id = peewee.TextField()
    name = peewee.TextField()  # the token's
    scope = peewee.TextField()
    created_at = peewee.BigIntegerField()
    created_ip = peewee.TextField(null=True)
    expires_at = peewee.BigIntegerField()
    last_used_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "logins"

    def as_dict(self) -> dict[str, Any]:
        """The Login object of the API."""
        return {name: getattr(self, name) for name in SHOWN}


def link(token: Token) -> tuple[str, int]:
    """(the code of a link that signs in as this token, once, expires_at in ms)."""
    code, expires_at = secrets.token_urlsafe(32), now_ms() + LINK_MS
    with database.transaction():
        LoginLink.delete().where(LoginLink.expires_at < now_ms()).execute()
        LoginLink.add({"hash": digest(code), "token_hash": token.hash, "expires_at": expires_at})
    return code, expires_at


def redeem(code: str, ip: str | None, configured: str = "") -> tuple[Login, str]:
    """(the login, what its cookie holds) for a link, which is used up. Raises Unauthorized."""
    with database.transaction():
        found = LoginLink.fetch("hash = ?", (digest(code),))
        if not found or not LoginLink.delete().where(LoginLink.hash == found[0].hash).execute():
            raise Unauthorized("The link is unknown or used", "link_invalid")
    if found[0].expires_at < now_ms():
        raise Unauthorized("The link has expired", "link_invalid")
    token = tokens.of_hash(found[0].token_hash, configured)
    cookie, now = secrets.token_urlsafe(32), now_ms()
    login = Login(
        id=new_id("log_"),
        hash=digest(cookie),
        token_hash=token.hash,
        token_id=token.id,
        name=token.name,
        scope=token.scope,
        created_at=now,
        created_ip=ip,
        expires_at=min(now + LOGIN_MS, token.expires_at or now + LOGIN_MS),
    )
    with database.transaction():
        Login.delete().where(Login.expires_at < now).execute()
        Login.add(login.__data__)
    return login, cookie


def find(cookie: str, configured: str = "") -> tuple[Login, Token]:
    """The live login of a cookie, and its token. Raises Unauthorized."""
    found = Login.fetch("hash = ?", (digest(cookie),))
    if not found or found[0].expires_at < now_ms():
        raise Unauthorized("You are signed out; `djinnbot login` gives a new link", "signed_out")
    return found[0], tokens.of_hash(found[0].token_hash, configured)


def touch(login: Login) -> None:
    """Notes the use, at most once a minute."""
    if now_ms() - (login.last_used_at or 0) > TOUCH_MS:
        with database.transaction():
            Login.update(last_used_at=now_ms()).where(Login.id == login.id).execute()


def page(limit: int, before: str | None) -> list[Login]:
    """Up to `limit` logins that have not ended, newest first, older than login `before`."""
    condition, params = (
        ("expires_at >= ? AND id < ?", [now_ms(), before]) if before else ("expires_at >= ?", [now_ms()])
    )
    return Login.fetch(f"{condition} ORDER BY id DESC LIMIT ?", [*params, limit])


def end(login_id: str) -> None:
    """Signs out, in the enclosing transaction. Raises NotFound."""
    if not Login.delete().where(Login.id == login_id).execute():
        raise NotFound(f"Login {login_id} not found", "login_not_found")


def still_live(ids: set[str]) -> set[str]:
    """Those of the ids that are logins which have not ended."""
    with database.connection():
        found = Login.select(Login.id, Login.token_id).where(Login.id.in_(sorted(ids)), Login.expires_at > now_ms())
        by_token = {login.id: login.token_id for login in found}
        tokens_live = tokens.still_live(set(by_token.values())) if by_token else set()
    return {login_id for login_id, token_id in by_token.items() if token_id in tokens_live}
