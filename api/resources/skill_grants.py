"""Which agents have which skills, and what they read of them."""

from __future__ import annotations

import base64
from typing import Any

from flask import g
from flask.views import MethodView

from api import agent_views
from api.blueprint import Blueprint, needs
from api.resources import skill_schemas as schemas
from api.resources.control_schemas import NothingSchema
from api.resources.skills import changing
from models import skill_grants, skill_views, skills
from models.errors import Conflict, Forbidden
from models.skills import SkillVersion
from workers import skills as commands

blueprint = Blueprint("skill_grants", "skill_grants", url_prefix="/v1", description="Which agents have which skills")


@blueprint.route("/skills/agents/<id:agent_id>")
class SkillsOfAgent(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.AgentSkillSchema(many=True))
    @blueprint.errors(404)
    def get(self, agent_id):
        """What an agent has been granted, disabled skills too"""
        return skill_views.of_agent(agent_views.find(agent_id).id)


@blueprint.route("/skills/agents/<id:agent_id>/manifest")
class SkillManifest(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.ManifestSchema)
    @blueprint.errors(404)
    def get(self, agent_id):
        """What an agent's prompt says of its skills"""
        return skill_views.manifest(agent_views.find(agent_id).id)


@blueprint.route("/skills/agents/<id:agent_id>/<id:name>/grant")
class SkillGrant(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, schemas.AgentSkillSchema)
    @blueprint.errors(404, 409)
    def post(self, _, agent_id, name):
        """Let an agent load the skill"""
        with changing(name, "skill.grant", agent_id=agent_id) as (skill, entry):
            entry.changed = commands.grant(skill, agent_id, g.token.name)
        return next(shown for shown in skill_views.of_agent(agent_id) if shown["id"] == name)


@blueprint.route("/skills/agents/<id:agent_id>/<id:name>")
class SkillOfAgent(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.RevokeQuerySchema, location="query")
    @blueprint.response(204)
    @blueprint.alt_response(200, schema=schemas.RevokedSchema)
    @blueprint.errors(404)
    def delete(self, query, agent_id, name):
        """Take the skill from an agent, one that every agent has too"""
        with changing(name, "skill.revoke", agent_id=agent_id) as (skill, _):
            commands.revoke(skill, agent_id, g.token.name)
        return ({"revoked": name, "agent_id": agent_id}, 200) if query["legacy"] else None


@blueprint.route("/skills/agents/<id:agent_id>/<id:name>/content")
class SkillContent(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.FileQuerySchema, location="query")
    @blueprint.response(200, schemas.ContentSchema)
    @blueprint.errors(404, 403, 409)
    def get(self, query, agent_id, name):
        """The instructions of a skill that an agent has, or one of its files"""
        return content_of(readable(agent_id, name), query["file"])


@blueprint.route("/skills/agents/<id:agent_id>/<id:name>/files")
class SkillFilesOfAgent(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.ListedFileSchema(many=True))
    @blueprint.errors(404, 403, 409)
    def get(self, agent_id, name):
        """The files of a skill that an agent has"""
        return readable(agent_id, name).files


def readable(agent_id: str, name: str) -> SkillVersion:
    """Raises NotFound, Forbidden, Conflict, in this order."""
    agent_views.find(agent_id)
    skill = skills.find(name)
    if not skill_grants.has(name, agent_id):
        raise Forbidden(f"{agent_id} has not been granted {name}", "not_granted")
    if not skill.enabled:
        raise Conflict(f"Skill {name} is disabled", "skill_disabled", allowed=["enable"])
    return skills.version(name, skill.version)


def content_of(kept: SkillVersion, path: str | None) -> dict[str, Any]:
    """The text, or a file's bytes as text if they are."""
    shown = {"id": kept.name, "version": kept.version, "file": path, "content": kept.content, "content_base64": None}
    if path is None:
        return shown
    data = skills.file(kept, path)
    try:
        return shown | {"content": data.decode()}
    except UnicodeError:
        return shown | {"content": None, "content_base64": base64.b64encode(data).decode()}
