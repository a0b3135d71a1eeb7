"""Secrets: what agents may know and nobody may read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import g
from flask.views import MethodView

from api import etags
from api.audited import Entry, recorded
from api.blueprint import Blueprint, needs
from api.paging import decode, link
from api.resources import secret_schemas as schemas
from api.resources.control_schemas import NothingSchema
from models import database, events, secret_views, secrets
from models.errors import NotFound
from models.events import Event
from models.secrets import Secret
from workers import maintenance

blueprint = Blueprint("secrets", "secrets", url_prefix="/v1", description="What agents may know and nobody may read")
CHANGES_BY_ITSELF = ("last_used_at", "last_used_by")


@blueprint.route("/secrets")
class Secrets(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.SecretFilterSchema, location="query")
    @blueprint.response(200, schemas.SecretSchema(many=True))
    def get(self, query):
        """Secrets by name, without their values"""
        cursor, limit = decode(query.pop("cursor")), query.pop("limit")
        return link(secret_views.page(limit + 1, cursor, **query), limit, lambda secret: secret["name"].lower())

    @needs("admin")
    @blueprint.arguments(schemas.CreateSecretSchema, example=schemas.EXAMPLE)
    @blueprint.response(201, schemas.SecretSchema)
    @blueprint.errors(409)
    def post(self, body):
        """Store a secret, encrypted"""
        body.pop("scope", None)
        with recorded("secret.create", "secret") as entry:
            secret = secrets.create(**body, by=g.token.name)
            entry.object_id, entry.detail = secret.id, {name: body[name] for name in body if name != "value"}
            written(secret)
            shown, headers = answered(secret)
        return shown, headers | {"Location": f"/v1/secrets/{secret.id}"}


@blueprint.route("/secrets/types")
class SecretTypes(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.TypeSchema(many=True))
    def get(self):
        """The kinds of secrets"""
        return [{"value": value, "label": label} for value, label in secrets.TYPES.items()]


@blueprint.route("/secrets/rekey")
class SecretsRekey(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(202, schemas.RekeySchema)
    def post(self, _):
        """Re-encrypt everything under the newest key; ask again until `total` is 0"""
        with recorded("secret.rekey", "key") as entry:
            job = maintenance.rekey()
            entry.object_id, entry.detail = job["to"], job
        return job


@blueprint.route("/secrets/<name:name>")
class SecretByName(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.SecretSchema)
    @blueprint.errors(404)
    def get(self, name):
        """One secret, by name or id"""
        return answered(secrets.find(name))

    @needs("admin")
    @blueprint.arguments(schemas.UpdateSecretSchema, example={"value": "ghp_abcdefghij0123456789"})
    @blueprint.response(200, schemas.SecretSchema)
    @blueprint.errors(404, 409, 412)
    def put(self, body, name):
        """Change a secret; a new value is a new version"""
        with changing(name, "secret.update") as (secret, entry):
            entry.detail["fields"] = secrets.update(secret, body, g.token.name)
            entry.changed = bool(entry.detail["fields"])
            if entry.changed:
                written(secret)
        return answered(secret)

    @needs("admin")
    @blueprint.response(204)
    @blueprint.errors(404, 412)
    def delete(self, name):
        """Destroy a secret with its versions and grants"""
        with changing(name, "secret.delete") as (secret, _):
            secrets.delete(secret)
            told(secret, "secret_deleted")


@blueprint.route("/secrets/<name:name>/versions")
class SecretVersions(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.VersionSchema(many=True))
    @blueprint.errors(404)
    def get(self, name):
        """The versions that are kept, newest first; never their values"""
        secret = secrets.find(name)
        return [secret_views.version(secret, kept) for kept in secrets.versions(secret)]


@blueprint.route("/secrets/<name:name>/versions/<int(max=2147483647):number>/restore")
class SecretVersionRestore(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, schemas.SecretSchema)
    @blueprint.errors(404, 409, 412)
    def post(self, _, name, number):
        """Make an older value the current one, as a new version"""
        with changing(name, "secret.restore", version=number) as (secret, _):
            secrets.restore(secret, number, g.token.name)
            written(secret)
        return answered(secret)


@blueprint.route("/secrets/<name:name>/grant/<id:agent_id>")
class SecretGrant(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, schemas.GrantSchema)
    @blueprint.errors(404, 409)
    def post(self, _, name, agent_id):
        """Let an agent's steps have the secret in their environment"""
        with changing(name, "secret.grant", agent_id=agent(agent_id)) as (secret, _):
            return secret_views.grant(secrets.grant(secret, agent_id, g.token.name))

    @needs("admin")
    @blueprint.response(204)
    @blueprint.errors(404)
    def delete(self, name, agent_id):
        """Take the secret from an agent"""
        with changing(name, "secret.revoke", agent_id=agent(agent_id)) as (secret, _):
            secrets.revoke(secret, agent_id)


@blueprint.route("/secrets/agents/<id:agent_id>")
class SecretsOfAgent(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.SecretSchema(many=True))
    @blueprint.errors(404)
    def get(self, agent_id):
        """What an agent has been granted, without values"""
        return secret_views.page(1000, None, agent_id=agent(agent_id))


@blueprint.route("/secrets/agents/<id:agent_id>/env")
class SecretEnvironment(MethodView):
    @needs("worker")
    @blueprint.response(200, schemas.EnvironmentSchema)
    @blueprint.errors(404, 409)
    def get(self, agent_id):
        """The values that an agent has been granted, by variable"""
        with recorded("secret.read", "agent", agent(agent_id)) as entry:
            database.serialize()
            rows = secrets.granted([agent_id])
            secrets.used([row["secret_id"] for row in rows], g.token.name)
            entry.detail["names"] = [row["name"] for row in rows]
        return {"agent_id": agent_id, "env": {row["env_key"]: value_of(row) for row in rows}}


def value_of(row: dict[str, Any]) -> str:
    return secrets.decrypted(row["secret_id"], row["version"], row["value"])


@contextmanager
def changing(name: str, action: str, **detail: Any) -> Iterator[tuple[Secret, Entry]]:
    """The secret and its entry for the audit log: one transaction, in which nobody else changes secrets.

    Raises NotFound, PreconditionFailed.
    """
    with recorded(action, "secret", **detail) as entry:
        database.serialize()
        secret = secrets.find(name)
        etags.check(etags.of(secret_views.one(secret), CHANGES_BY_ITSELF))
        entry.object_id, entry.detail = secret.id, {"name": secret.name, **detail}
        yield secret, entry


def answered(secret: Secret) -> Any:
    shown = secret_views.one(secret)
    return etags.answer(shown, etags.of(shown, CHANGES_BY_ITSELF))


def written(secret: Secret) -> None:
    told(secret, "secret_written")


def told(secret: Secret, type: str) -> None:
    events.note(Event(type, payload={"secret_id": secret.id, "name": secret.name}))


def agent(agent_id: str) -> str:
    """Raises NotFound for what cannot be an agent's id."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", agent_id):
        raise NotFound(f"Agent {agent_id} not found", "agent_not_found")
    return agent_id
