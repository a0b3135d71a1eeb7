"""Tokens: who may call, and how far that reaches."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView
from marshmallow import fields, validate

from api import etags
from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.paging import CatalogueSchema, decode, link
from api.schemas import MAX_SAFE, AnswerSchema, EitherSpelling, integer, slug, text
from models import tokens
from models.base import now_ms
from models.errors import Invalid
from models.tokens import Token

blueprint = Blueprint("tokens", "tokens", url_prefix="/v1/auth", description="Who may call")
SCOPES = ["read", "run", "admin", "worker"]
DAY_MS = 86_400_000
CHANGES_BY_ITSELF = ("last_used_at", "last_used_ip")


class CreateTokenSchema(EitherSpelling):
    name = text(64, required=True)
    scope = fields.Str(allow_none=True, validate=validate.OneOf(SCOPES))
    scopes = fields.List(
        fields.Str(validate=validate.OneOf(SCOPES)), allow_none=True, validate=validate.Length(equal=1)
    )
    expires_in_days = integer(1, 3650, allow_none=True, load_default=None)
    vaults = fields.List(
        slug(), allow_none=True, validate=validate.Length(1, 100), metadata={"description": "All it sees of memory"}
    )

    @ma.post_load
    def _one_scope(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        given = {data.pop("scope", None), *data.pop("scopes", [])} - {None}
        if len(given) > 1:
            raise Invalid("scope and scopes say different things", self.CONFLICT, {"scopes": ["another than scope"]})
        if not given:
            raise Invalid("scope: Missing data for required field.", errors={"scope": ["required"]})
        return data | {"scope": given.pop()}


class UpdateTokenSchema(EitherSpelling):
    NULLABLE = frozenset({"expires_at"})

    name = text(64, allow_none=True)
    expires_at = integer(0, MAX_SAFE, allow_none=True, metadata={"description": "ms; null: never"})


class RotateSchema(EitherSpelling):
    grace_seconds = integer(0, 86_400, allow_none=True, load_default=0)


class TokenSchema(AnswerSchema):
    """A Token object."""

    id = fields.Str(required=True)
    name = fields.Str(required=True)
    scope = fields.Str(required=True, metadata={"enum": SCOPES})
    vaults = fields.List(fields.Str(), required=True, allow_none=True)
    prefix = fields.Str(required=True, metadata={"description": "Its first characters"})
    created_at = fields.Int(required=True, allow_none=True)
    created_by = fields.Str(required=True, allow_none=True)
    expires_at = fields.Int(required=True, allow_none=True)
    last_used_at = fields.Int(required=True, allow_none=True)
    last_used_ip = fields.Str(required=True, allow_none=True)
    revoked_at = fields.Int(required=True, allow_none=True)


class NewTokenSchema(TokenSchema):
    token = fields.Str(required=True, metadata={"description": "In plain, shown this once"})


@blueprint.route("/whoami")
class WhoAmI(MethodView):
    @needs("any")
    @blueprint.response(200, TokenSchema)
    def get(self):
        """The caller's own token"""
        return g.token.as_dict()


@blueprint.route("/tokens")
class Tokens(MethodView):
    @needs("admin")
    @blueprint.arguments(CatalogueSchema, location="query")
    @blueprint.response(200, TokenSchema(many=True))
    def get(self, query):
        """Tokens, newest first, the revoked ones too"""
        cursor, limit = decode(query["cursor"]), query["limit"]
        page, headers = link(tokens.page(limit + 1, cursor), limit, lambda token: token.id)
        return [token.as_dict() for token in page], headers

    @needs("admin")
    @blueprint.arguments(CreateTokenSchema, example={"name": "ci", "scope": "run", "expires_in_days": 90})
    @blueprint.response(201, NewTokenSchema)
    def post(self, body):
        """Make a token; it is shown this once"""
        days = body.pop("expires_in_days")
        with recorded("token.create", "token") as entry:
            made = tokens.create(**body, created_by=g.token.name, expires_at=days and now_ms() + days * DAY_MS)
            entry.object_id, entry.detail = made[0].id, body
        return created(*made)


@blueprint.route("/tokens/<id:token_id>")
class TokenById(MethodView):
    @needs("admin")
    @blueprint.response(200, TokenSchema)
    @blueprint.errors(404)
    def get(self, token_id):
        """One token"""
        return answered(tokens.get(token_id))

    @needs("admin")
    @blueprint.arguments(UpdateTokenSchema, example={"name": "ci-old", "expires_at": 1_893_456_000_000})
    @blueprint.response(200, TokenSchema)
    @blueprint.errors(404, 409, 412)
    def put(self, body, token_id):
        """Rename a token, or set when it expires"""
        with recorded("token.update", "token", token_id, **body) as entry:
            token = matching(token_id)
            entry.changed = any(getattr(token, name) != value for name, value in body.items())
            if entry.changed:
                tokens.change(token, **body)
        return answered(token)

    @needs("admin")
    @blueprint.response(204)
    @blueprint.errors(404, 409, 412)
    def delete(self, token_id):
        """Revoke a token, at once"""
        with recorded("token.revoke", "token", token_id):
            token = matching(token_id)
            if token.revoked_at is not None:
                raise tokens.missing(token_id)
            tokens.change(token, revoked_at=now_ms())


@blueprint.route("/tokens/<id:token_id>/rotate")
class TokenRotate(MethodView):
    @needs("admin")
    @blueprint.arguments(RotateSchema, required=False, example={"grace_seconds": 3600})
    @blueprint.response(201, NewTokenSchema)
    @blueprint.errors(404, 409)
    def post(self, body, token_id):
        """A new token in the place of this one"""
        with recorded("token.rotate", "token", token_id, **body) as entry:
            made = tokens.rotate(tokens.get(token_id), g.token.name, body["grace_seconds"] * 1000)
            entry.detail["new_id"] = made[0].id
        return created(*made)


def created(token: Token, secret: str) -> Any:
    return token.as_dict() | {"token": secret}, {"Location": f"/v1/auth/tokens/{token.id}"}


def answered(token: Token) -> Any:
    return etags.answer(token.as_dict(), etags.of(token.as_dict(), CHANGES_BY_ITSELF))


def matching(token_id: str) -> Token:
    """Raises NotFound, PreconditionFailed."""
    token = tokens.get(token_id)
    etags.check(etags.of(token.as_dict(), CHANGES_BY_ITSELF))
    return token
