"""Aliases of the routes of memory, below the agent whose vault it is."""

from __future__ import annotations

from flask.views import MethodView

from api import vault_access
from api.blueprint import needs
from api.compat.blueprint import Aliases
from api.memory_changes import author, expected
from api.resources.memories import listed
from api.resources.memory_files import note_shown
from api.resources.memory_schemas import MemoryFilterSchema, MemoryNoteSchema, MemorySchema
from models import memories
from workers import memories as commands

blueprint = Aliases("alias_memory", "alias_memory", url_prefix="/v1/agents", description="Aliases: an agent's memory")


@blueprint.route("/<id:agent_id>/memory")
class AliasMemories(MethodView):
    @needs("read")
    @blueprint.arguments(MemoryFilterSchema, location="query")
    @blueprint.response(200, MemorySchema(many=True))
    @blueprint.errors(404)
    def get(self, query, agent_id):
        """As GET /memory/vaults/{agent_id}"""
        return listed(agent_id, query)


@blueprint.route("/<id:agent_id>/memory/<note:path>")
class AliasMemory(MethodView):
    @needs("read")
    @blueprint.response(200, MemoryNoteSchema)
    @blueprint.errors(404)
    def get(self, agent_id, path):
        """As GET /memory/vaults/{agent_id}/{path}"""
        return note_shown(memories.get(vault_access.check(agent_id), path))

    @needs("run")
    @blueprint.response(204)
    @blueprint.errors(404, 412)
    def delete(self, agent_id, path):
        """As DELETE /memory/vaults/{agent_id}/{path}"""
        commands.remove(vault_access.check(agent_id), path, author(), expected())
