"""Skills: instructions that agents load when they need them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Response, g
from flask.views import MethodView

from api import etags, skill_diffs
from api.audited import Entry, recorded
from api.blueprint import Blueprint, needs
from api.paging import decode, link
from api.resources import skill_schemas as schemas
from api.resources.control_schemas import NothingSchema
from models import database, skill_views, skills
from models.errors import Invalid
from models.skills import Skill
from pipelines import skills as pages
from workers import skills as commands

blueprint = Blueprint("skills", "skills", url_prefix="/v1", description="Instructions that agents load when needed")
CHANGES_BY_ITSELF = ("uses", "last_used_at")


@blueprint.route("/skills")
class Skills(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.SkillFilterSchema, location="query")
    @blueprint.response(200, schemas.SkillSchema(many=True))
    def get(self, query):
        """Skills by name, broken ones too"""
        cursor, limit = decode(query.pop("cursor")), query.pop("limit")
        return link(skill_views.page(limit + 1, cursor, **query), limit, lambda skill: skill["name"])

    @needs("admin")
    @blueprint.arguments(schemas.CreatorSchema, location="query")
    @blueprint.arguments(schemas.CreateSkillSchema, example=schemas.CREATE_EXAMPLE)
    @blueprint.response(201, schemas.SkillSchema)
    @blueprint.errors(409)
    def post(self, _, body):
        """Add a skill"""
        name = commands.checked_name(body.pop("name"))
        with commands.changing(name), recorded("skill.create", "skill", name, fields=sorted(body)):
            commands.create(name, body, g.token.name)
        shown, headers = answered(name)
        return shown, headers | {"Location": f"/v1/skills/{name}"}


@blueprint.route("/skills/parse")
class SkillsParse(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.ParseSchema, example=schemas.PARSE_EXAMPLE)
    @blueprint.response(200, schemas.ParsedSchema)
    def post(self, body):
        """What a SKILL.md says, and what is wrong with it; nothing is stored"""
        found = pages.parse(body["content"])
        skill = found.skill
        shown = {name: getattr(skill, name) for name in ("name", "description", "enabled", "content", "frontmatter")}
        tags = skill.tags if isinstance(skill.tags, list) else []
        return shown | {"tags": tags, "valid": not found.problems, "problems": list(found.problems)}


@blueprint.route("/skills/<id:name>")
class SkillByName(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.SkillQuerySchema, location="query")
    @blueprint.response(200, schemas.SkillSchema)
    @blueprint.errors(404)
    def get(self, query, name):
        """One skill, as it is or as a version was"""
        return answered(name, query["version"])

    @needs("admin")
    @blueprint.arguments(schemas.UpdateSkillSchema, example={"description": "Write release notes.", "files": []})
    @blueprint.response(200, schemas.SkillSchema)
    @blueprint.errors(404, 412)
    def put(self, body, name):
        """Change a skill; another text or file is a new version"""
        with changing(name, "skill.update", fields=sorted(body)) as (skill, entry):
            entry.changed = commands.update(skill, body, g.token.name)
        return answered(name)

    @needs("admin")
    @blueprint.response(204)
    @blueprint.errors(404, 412)
    def delete(self, name):
        """Delete a skill; its folder goes to the trash, and runs that have it keep it"""
        with changing(name, "skill.delete") as (skill, _):
            commands.remove(skill, g.token.name)


@blueprint.route("/skills/<id:name>/enabled")
class SkillEnabled(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.EnabledQuerySchema, location="query")
    @blueprint.arguments(schemas.EnabledSchema, required=False, example={"enabled": False})
    @blueprint.response(200, schemas.SkillSchema)
    @blueprint.errors(404, 412)
    def patch(self, query, body, name):
        """Let agents have the skill, or not"""
        enabled = one_of(query["enabled"], (body or {}).get("enabled"))
        with changing(name, "skill.enable", enabled=enabled) as (skill, entry):
            entry.changed = commands.enable(skill, enabled, g.token.name)
        return answered(name)


def one_of(in_query: str | None, in_body: bool | None) -> bool:
    """Raises Invalid unless at least one is given and they agree."""
    given = {value for value in (in_body, {"true": True, "false": False}.get(in_query)) if value is not None}
    if len(given) != 1:
        raise Invalid("Say once whether it is enabled, in the body or the query", errors={"enabled": ["needed, once"]})
    return given.pop()


@blueprint.route("/skills/<id:name>/versions")
class SkillVersions(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.SkillVersionSchema(many=True))
    @blueprint.errors(404)
    def get(self, name):
        """The versions of a skill, newest first"""
        skill = skills.find(name)
        return [skill_views.version(kept, skill.version) for kept in skills.versions(name)]


@blueprint.route("/skills/<id:name>/versions/<int(max=2147483647):number>")
class SkillVersionByNumber(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.SkillVersionDetailSchema)
    @blueprint.errors(404)
    def get(self, name, number):
        """A version with its text"""
        return skill_views.version_detail(skills.version(name, number), skills.find(name).version)


@blueprint.route("/skills/<id:name>/versions/<int(max=2147483647):number>/diff")
class SkillVersionDiff(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.DiffQuerySchema, location="query")
    @blueprint.response(200, schemas.SkillDiffSchema)
    @blueprint.errors(404)
    def get(self, query, name, number):
        """What differs between a version and another, by default the current one"""
        to = query["to"] or skills.find(name).version
        return skill_diffs.between(skills.version(name, number), skills.version(name, to))


@blueprint.route("/skills/<id:name>/versions/<int(max=2147483647):number>/restore")
class SkillVersionRestore(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, schemas.SkillSchema)
    @blueprint.errors(404, 412)
    def post(self, _, name, number):
        """Make an older text the current one, as a new version"""
        with changing(name, "skill.restore", number=number) as (skill, entry):
            entry.changed = commands.restore(skill, number, g.token.name)
        return answered(name)


@blueprint.route("/skills/<id:name>/files/<path:rest>")
class SkillFile(MethodView):
    @needs("read")
    @blueprint.response(200, content_type="application/octet-stream")
    @blueprint.errors(404)
    def get(self, name, rest):
        """A companion file, as it is"""
        skill = skills.find(name)
        data = skills.file(skills.version(name, skill.version), rest)
        return Response(data, content_type="application/octet-stream", headers={"Content-Disposition": "attachment"})


@contextmanager
def changing(name: str, action: str, **detail: Any) -> Iterator[tuple[Skill, Entry]]:
    """The skill and its entry for the audit log: one transaction, in which nobody else changes it.

    Raises NotFound, PreconditionFailed.
    """
    skills.find(name)
    with commands.changing(name), recorded(action, "skill", name, **detail) as entry:
        database.serialize()
        skill = skills.find(name)
        etags.check(etags.of(skill_views.one(name), CHANGES_BY_ITSELF))
        yield skill, entry


def answered(name: str, number: int | None = None) -> Any:
    shown = skill_views.one(name, number)
    return etags.answer(shown, etags.of(shown, CHANGES_BY_ITSELF))
