"""Skills from elsewhere: fetched and checked by a worker, installed when an admin approves."""

from __future__ import annotations

from contextlib import ExitStack

from flask import g
from flask.views import MethodView

from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.resources import skill_schemas as schemas
from api.resources.control_schemas import NothingSchema
from models import skill_imports
from workers import skill_imports as commands
from workers import skills

blueprint = Blueprint("skill_imports", "skill_imports", url_prefix="/v1", description="Skills from elsewhere")


@blueprint.route("/skills/import")
class SkillImports(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.ImportSchema, example=schemas.IMPORT_EXAMPLE)
    @blueprint.response(202, schemas.SkillImportSchema)
    @blueprint.errors(403)
    def post(self, body):
        """Fetch an archive of skills and propose what is in it"""
        with recorded("skill.import", "skill_import", url=body["url"]) as entry:
            made = commands.request(body, g.token.name)
            entry.object_id = made.id
        return skill_imports.view(made), {"Location": f"/v1/skills/import/{made.id}"}


@blueprint.route("/skills/import/<id:import_id>")
class SkillImportById(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.SkillImportSchema)
    @blueprint.errors(404)
    def get(self, import_id):
        """What an import has found"""
        return skill_imports.view(skill_imports.find(import_id))


@blueprint.route("/skills/import/<id:import_id>/approve")
class SkillImportApprove(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, schemas.SkillImportSchema)
    @blueprint.errors(404, 409)
    def post(self, _, import_id):
        """Install what an import proposes"""
        names = commands.names(skill_imports.find(import_id))
        with ExitStack() as held:
            for name in names:
                held.enter_context(skills.changing(name))
            with recorded("skill.import.approve", "skill_import", import_id, names=names):
                made = commands.approve(import_id, g.token.name)
        return skill_imports.view(made)
