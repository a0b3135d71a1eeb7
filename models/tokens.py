"""API tokens and the single-use tickets of event streams. Only SHA-256 of either is stored."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import zlib
from pathlib import Path
from typing import Any

import peewee

from models import audit, database
from models.base import JSONField, Model, new_id, now_ms
from models.errors import Conflict, Forbidden, NotFound, Unauthorized

PREFIX = "djb_"
SCOPES = {"read": 1, "run": 2, "admin": 3}  # the ladder; `worker` stands beside it
SHOWN = (
    "id",
    "name",
    "scope",
    "vaults",
    "prefix",
    "created_at",
    "created_by",
    "expires_at",
    "last_used_at",
    "last_used_ip",
)
TICKET_SECONDS = 60
TOUCH_MS = 60_000  # how stale `last_used_at` may be


class Token(Model):
    id = peewee.TextField(primary_key=True)
    name = peewee.TextField()
    scope = peewee.TextField()  # read, run, admin, worker
    vaults = JSONField(null=True)  # the vaults it sees; null: all
    prefix = peewee.TextField()  # the first characters, to recognise it by
    hash = peewee.TextField(unique=True)
    created_at = peewee.BigIntegerField()
    created_by = peewee.TextField(null=True)
    expires_at = peewee.BigIntegerField(null=True)
    last_used_at = peewee.BigIntegerField(null=True)
    last_used_ip = peewee.TextField(null=True)
    revoked_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "tokens"

    def allows(self, scope: str) -> bool:
        """Whether this token's scope reaches `scope` ("any", "read", "run", "admin" or "worker")."""
        if scope == "any" or scope == self.scope:
            return True
        return SCOPES.get(self.scope, 0) >= SCOPES.get(scope, len(SCOPES) + 1)

    @property
    def live(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now_ms())

    def as_dict(self) -> dict[str, Any]:
        """The Token object of the API."""
        return {name: getattr(self, name) for name in (*SHOWN, "revoked_at")}


class Ticket(Model):
    hash = peewee.TextField(primary_key=True)
    token_id = peewee.TextField()
    run_id = peewee.TextField(null=True)
    session_id = peewee.TextField(null=True)
    expires_at = peewee.BigIntegerField(index=True)

    class Meta:
        table_name = "tickets"


def digest(secret: str) -> str:
    """What is stored of a secret of 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def checksum(text: str) -> str:
    """Six characters that tell a mistyped token from an unknown one."""
    return base64.urlsafe_b64encode(zlib.crc32(text.encode()).to_bytes(4)).decode().rstrip("=")


def well_formed(secret: str) -> bool:
    return secret.startswith(PREFIX) and secret[-6:] == checksum(secret[:-6])


def create(
    name: str,
    scope: str,
    created_by: str | None = None,
    expires_at: int | None = None,
    vaults: list[str] | None = None,
) -> tuple[Token, str]:
    """(the row, the token in plain, which is shown this once)."""
    secret = PREFIX + secrets.token_urlsafe(32)
    secret += checksum(secret)
    token = Token.create(
        id=new_id("tok_"),
        name=name,
        scope=scope,
        vaults=vaults,
        prefix=secret[:8],
        hash=digest(secret),
        created_at=now_ms(),
        created_by=created_by,
        expires_at=expires_at,
    )
    return token, secret


NOBODY = "tok_none"  # while authentication is off
ROWLESS = frozenset({"tok_environment", NOBODY})  # the first is the configuration's


def still_live(ids: set[str]) -> set[str]:
    """Those of the token ids that are neither revoked nor expired."""
    with database.connection():
        found = Token.select().where(Token.id.in_(sorted(ids)))
        return {token.id for token in found if token.live} | ids & ROWLESS


def operator(configured: str) -> Token:
    """The admin token of the configuration (`API_TOKEN`); it has no row."""
    return Token(id="tok_environment", name="environment", scope="admin", prefix="", hash=digest(configured))


def find(secret: str, configured: str = "") -> Token:
    """The live token that is `secret`. Raises Unauthorized."""
    if configured and hmac.compare_digest(secret.encode(), configured.encode()):
        return operator(configured)
    if not well_formed(secret):
        raise Unauthorized("This is no token of ours, or a mistyped one")
    return of_hash(digest(secret), configured)


def of_hash(hash: str, configured: str = "") -> Token:
    """The live token with that hash. Raises Unauthorized."""
    if configured and hmac.compare_digest(hash, digest(configured)):
        return operator(configured)
    found = database.rows("SELECT * FROM tokens WHERE hash = ?", (hash,))  # on the path of every request
    token = Token(**found[0] | {"vaults": Token.vaults.python_value(found[0]["vaults"])}) if found else None
    if token is None or not token.live:
        raise Unauthorized("The token is unknown, expired or revoked")
    return token


def get(token_id: str) -> Token:
    """Raises NotFound."""
    found = Token.fetch("id = ?", (token_id,))
    if not found:
        raise missing(token_id)
    return found[0]


def missing(token_id: str) -> NotFound:
    return NotFound(f"Token {token_id} not found", "token_not_found")


def page(limit: int, before: str | None) -> list[Token]:
    """Up to `limit` tokens, newest first, older than token `before`; the revoked ones too."""
    condition, params = ("id < ?", [before]) if before else ("1 = 1", [])
    return Token.fetch(f"{condition} ORDER BY id DESC LIMIT ?", [*params, limit])


def change(token: Token, **columns: Any) -> None:
    """Writes what has changed, in the enclosing transaction. Raises Conflict if no live admin token would be left."""
    database.serialize()
    was_live = token.live
    for name, value in columns.items():
        setattr(token, name, value)
    if token.scope == "admin" and was_live and not token.live and not _other_admins(token):
        raise Conflict("This is the last live admin token", "last_admin_token")
    Token.update(columns).where(Token.id == token.id).execute()


def _other_admins(token: Token) -> bool:
    return any(other.live for other in Token.fetch("scope = 'admin' AND id <> ?", (token.id,)))


def rotate(token: Token, by: str, grace_ms: int) -> tuple[Token, str]:
    """(a new token like this one, its plain text); the old one is accepted for the grace time. Raises Conflict."""
    if not token.live:
        raise Conflict(f"Token {token.id} is revoked or expired", "token_not_live")
    made, secret = create(token.name, token.scope, by, token.expires_at, token.vaults)
    end = now_ms() + grace_ms
    change(token, expires_at=min(end, token.expires_at or end))
    return made, secret


def touch(token: Token, ip: str | None) -> None:
    """Notes the use, at most once a minute."""
    now = now_ms()
    if token.created_at and now - (token.last_used_at or 0) > TOUCH_MS:
        with database.transaction():
            Token.update(last_used_at=now, last_used_ip=ip).where(Token.id == token.id).execute()


def first_token(path: Path) -> str:
    """The local admin token: read from `path`, or made and written there (0600) at the first start."""
    if path.exists():
        secret = path.read_text().strip()
        if Token.get_or_none(Token.hash == digest(secret)):
            return secret
    path.parent.mkdir(parents=True, exist_ok=True)
    with database.transaction():
        token, secret = create("local", "admin")
        detail = {"name": token.name, "scope": token.scope}
        audit.record("token.create", "token", token.id, audit.Actor("first start"), detail=detail)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    return secret


def issue_ticket(token: Token, run_id: str | None, session_id: str | None) -> tuple[str, int]:
    """(ticket, expires_at in ms) for one stream, bound to the run or session if given."""
    secret, expires_at = secrets.token_urlsafe(32), now_ms() + TICKET_SECONDS * 1000
    Ticket.delete().where(Ticket.expires_at < now_ms()).execute()
    Ticket.create(hash=digest(secret), token_id=token.id, run_id=run_id, session_id=session_id, expires_at=expires_at)
    return secret, expires_at


def redeem(secret: str, run_id: str | None, session_id: str | None, configured: str = "") -> Token:
    """The token that issued the ticket, which is used up. Raises Unauthorized, Forbidden."""
    with database.transaction():
        ticket = Ticket.get_or_none(Ticket.hash == digest(secret))
        if ticket is None or not Ticket.delete().where(Ticket.hash == ticket.hash).execute():
            raise Unauthorized("The ticket is unknown or used", "ticket_invalid")
    if ticket.expires_at < now_ms():
        raise Unauthorized("The ticket has expired", "ticket_invalid")
    if (ticket.run_id, ticket.session_id) not in ((None, None), (run_id, session_id)):
        raise Forbidden("The ticket was issued for another stream")
    token = (
        operator(configured) if ticket.token_id == "tok_environment" else Token.get_or_none(Token.id == ticket.token_id)
    )
    if token is None or not token.live:
        raise Unauthorized("The token behind the ticket is gone", "ticket_invalid")
    return token
