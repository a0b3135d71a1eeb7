"""Agents: who they are, how they work, what they are at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView

from api import agent_views, etags
from api.audited import Entry, recorded
from api.blueprint import Blueprint, needs
from api.compat import ignored
from api.paging import decode, link
from api.resources import agent_schemas as schemas
from api.resources.control_schemas import NothingSchema
from models import agents, database, memories, run_list
from models.errors import Invalid, NotFound
from pipelines import agent_config, personas
from pipelines.personas import CONFIG_FILE, PERSONA_FILES
from workers import agents as commands
from workers.agents import Folder

blueprint = Blueprint("agents", "agents", url_prefix="/v1", description="Who does the work")


@blueprint.route("/agents")
class Agents(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.AgentFilterSchema, location="query")
    @blueprint.response(200, schemas.AgentSchema(many=True))
    def get(self, query):
        """Agents by id, broken ones too"""
        after, wanted = decode(query["cursor"]) or "", (query["q"] or "").lower()
        found = [agent for agent in agent_views.installed() if agent.id > after and wanted in _searched(agent)]
        page, headers = link(found[: query["limit"] + 1], query["limit"], lambda agent: agent.id)
        working, counts = agents.at_work(), memories.counts()
        return [agent_views.one(agent, agent.id in working, counts.get(agent.id, 0)) for agent in page], headers

    @needs("admin")
    @blueprint.arguments(schemas.CreateAgentSchema, example=schemas.CREATE_EXAMPLE)
    @blueprint.response(201, schemas.AgentDetailSchema)
    @blueprint.errors(404, 409)
    def post(self, body):
        """Install a new agent"""
        agent_id = body["id"]
        if not personas.may_be_id(agent_id):
            raise Invalid(f"{agent_id} is reserved", errors={"id": ["reserved"]})
        files = files_of(body)
        with commands.locked(agent_id) as folder, recorded("agent.create", "agent", agent_id, files=sorted(files)):
            commands.create(folder, files, g.token.name)
        shown, headers = answered(agent_id)
        return shown, headers | {"Location": f"/v1/agents/{agent_id}"}


def _searched(agent: personas.Agent) -> str:
    return f"{agent.id}\n{agent.name}\n{agent.role or ''}".lower()


def files_of(body: dict[str, Any]) -> dict[str, str]:
    """The files of a new agent. Raises NotFound, Invalid."""
    files = commands.copied(body["copy_from"]) if body["copy_from"] else {}
    files |= body["files"]
    given = [body[name] for name in ("name", "emoji", "role", "description")]
    if "IDENTITY.md" not in body["files"] and (any(given) or "IDENTITY.md" not in files):
        files["IDENTITY.md"] = commands.identity(given[0] or body["id"], *given[1:])
    files[CONFIG_FILE] = commands.reconfigured(
        files.get(CONFIG_FILE, ""), ignored.without(body["config"], ignored.AGENT)
    )
    return files


@blueprint.route("/agents/status")
class AgentStatuses(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.StatusesSchema)
    def get(self):
        """What all agents are at"""
        return agent_views.statuses()


@blueprint.route("/agents/<id:agent_id>")
class AgentById(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.AgentDetailSchema)
    @blueprint.errors(404)
    def get(self, agent_id):
        """One agent with its files"""
        return answered(agent_id)

    @needs("admin")
    @blueprint.response(204)
    @blueprint.errors(404, 409, 412)
    def delete(self, agent_id):
        """Uninstall an agent; its folder goes to the trash"""
        with changing(agent_id, "agent.delete") as (folder, _):
            commands.remove(folder)


@blueprint.route("/agents/<id:agent_id>/status")
class AgentStatus(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.AgentStatusSchema)
    @blueprint.errors(404)
    def get(self, agent_id):
        """What an agent is at"""
        return agent_views.status(agent_views.find(agent_id))


@blueprint.route("/agents/<id:agent_id>/runs")
class AgentRuns(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.AgentRunFilterSchema, location="query")
    @blueprint.response(200, schemas.AgentRunSchema(many=True))
    @blueprint.errors(404)
    def get(self, query, agent_id):
        """The runs in which an agent owns a step, newest first"""
        agent_views.find(agent_id)
        filters = run_list.Filters(agent_id=agent_id, status=query["status"])
        found = run_list.page(filters, query["limit"] + 1, decode(query["cursor"]))
        page, headers = link(found, query["limit"], lambda row: row["id"])
        return [agent_views.run(row, agent_id) for row in page], headers


@blueprint.route("/agents/<id:agent_id>/config")
class AgentConfig(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.ConfigSchema)
    @blueprint.errors(404)
    def get(self, agent_id):
        """How an agent works, with the defaults filled in"""
        agent = agent_views.find(agent_id)
        return etags.answer(agent_config.shown(agent.config), agent.version)

    @needs("admin")
    @blueprint.arguments(
        schemas.ConfigChangesSchema, unknown=ma.INCLUDE, example={"executorModel": "openai/gpt-5", "max_turns": None}
    )
    @blueprint.response(200, schemas.ConfiguredSchema)
    @blueprint.errors(404, 409, 412)
    def put(self, body, agent_id):
        """Change keys of an agent's configuration; the rest of its file stays as it is"""
        given = ignored.without(flat(body), ignored.AGENT)
        with changing(agent_id, "agent.configure", keys=sorted(given)) as (folder, entry):
            entry.changed = commands.configure(folder, given, g.token.name)
        agent = agent_views.find(agent_id)
        shown = {"status": "updated", "agent_id": agent_id, "version": agent.version}
        return shown | {"config": agent_config.shown(agent.config)}, {"ETag": f'"{agent.version}"'}


def flat(body: dict[str, Any]) -> dict[str, Any]:
    """The keys, those inside `config` too. Raises Invalid."""
    inner = body.pop("config", None) or {}
    if not isinstance(inner, dict):
        raise Invalid("config must be an object", errors={"config": ["not an object"]})
    if both := sorted(name for name in inner.keys() & body.keys() if inner[name] != body[name]):
        reasons = {name: ["given twice with different values"] for name in both}
        raise Invalid(f"{', '.join(both)}: given twice", "conflicting_fields", reasons)
    return body | inner


@blueprint.route("/agents/<id:agent_id>/files/<name:file>")
class AgentFile(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.FileSchema, example={"content": "Name: Reviewer\nRole: Reviews code\n"})
    @blueprint.response(200, schemas.WrittenSchema)
    @blueprint.errors(404, 412)
    def put(self, body, agent_id, file):
        """Write one of the four persona files"""
        if file not in PERSONA_FILES:
            raise Invalid(f"Only {', '.join(PERSONA_FILES)} can be written", errors={"name": ["no persona file"]})
        with changing(agent_id, "agent.write", file=file) as (folder, entry):
            entry.changed = commands.save(folder, {file: body["content"]}, g.token.name)
        version = agent_views.find(agent_id).version
        size = len(body["content"].encode())
        return {"status": "updated", "filename": file, "size": size, "version": version}, {"ETag": f'"{version}"'}


@blueprint.route("/agents/<id:agent_id>/versions")
class AgentVersions(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.AgentVersionSchema(many=True))
    @blueprint.errors(404)
    def get(self, agent_id):
        """The versions of an agent's files that are kept, newest first; changes by hand too"""
        remembered(agent_id)
        return [agent_views.version(kept) for kept in agents.versions(agent_id)]


@blueprint.route("/agents/<id:agent_id>/versions/<int(max=2147483647):number>")
class AgentVersionByNumber(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.AgentVersionDetailSchema)
    @blueprint.errors(404)
    def get(self, agent_id, number):
        """The files of a version, and what changed with it"""
        remembered(agent_id)
        return agent_views.version_detail(*agents.version(agent_id, number))


@blueprint.route("/agents/<id:agent_id>/versions/<int(max=2147483647):number>/restore")
class AgentVersionRestore(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, schemas.AgentDetailSchema)
    @blueprint.errors(404, 412)
    def post(self, _, agent_id, number):
        """Make the files what they were, as a new version"""
        with changing(agent_id, "agent.restore", number=number) as (folder, entry):
            entry.changed = commands.restore(folder, number, g.token.name)
        return answered(agent_id)


@blueprint.route("/agents/<id:agent_id>/validate")
class AgentValidate(MethodView):
    @needs("read")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, schemas.AgentValidationSchema)
    @blueprint.errors(404)
    def post(self, _, agent_id):
        """What is wrong with an agent's folder; nothing is started"""
        agent = agent_views.find(agent_id)
        return {"valid": agent.valid, "problems": list(agent.problems), "warnings": commands.warnings(agent)}


def answered(agent_id: str) -> Any:
    agent = agent_views.find(agent_id)
    return etags.answer(agent_views.detail(agent), agent.version)


@contextmanager
def changing(agent_id: str, action: str, **detail: Any) -> Iterator[tuple[Folder, Entry]]:
    """The agent's folder and its entry for the audit log: one transaction under the writer's lock.

    Raises NotFound, PreconditionFailed.
    """
    agent_views.find(agent_id)
    with commands.locked(agent_id) as folder:
        if not folder.exists:
            raise NotFound(f"Agent {agent_id} not found", "agent_not_found")
        etags.check(folder.version)
        with recorded(action, "agent", agent_id, **detail) as entry:
            yield folder, entry


def remembered(agent_id: str) -> None:
    """Versions made by hand are kept when somebody looks."""
    agent_views.find(agent_id)
    with commands.locked(agent_id) as folder, database.transaction():
        commands.remember(folder)
