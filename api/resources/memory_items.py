"""Memories addressed by their stable id: history, links, votes, what takes their place."""

from __future__ import annotations

from typing import Any

from flask import g
from flask.views import MethodView

from api import vault_access
from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.memory_changes import author, expected
from api.paging import CatalogueSchema, decode, link
from api.resources import memory_life_schemas as schemas
from api.resources.control_schemas import NothingSchema
from api.resources.memory_files import note_shown
from api.resources.memory_schemas import BacklinkSchema, MemoryNoteSchema, MemorySchema
from models import memory_notes, memory_views
from models.memories import Memory
from workers import memories as commands
from workers import memory_life as life

blueprint = Blueprint("memory_items", "memory", url_prefix="/v1")
ITEM = "/memory/items/<id:item>"
NUMBER = "<int(max=2147483647):number>"


@blueprint.route(ITEM)
class MemoryById(MethodView):
    @needs("read")
    @blueprint.response(200, MemoryNoteSchema)
    @blueprint.errors(404)
    def get(self, item):
        """A note with its text and links, wherever it stands now"""
        return note_shown(vault_access.item(item))


@blueprint.route(f"{ITEM}/backlinks")
class MemoryBacklinks(MethodView):
    @needs("read")
    @blueprint.response(200, BacklinkSchema(many=True))
    @blueprint.errors(404)
    def get(self, item):
        """The notes that link to it"""
        return memory_notes.backlinks(vault_access.item(item), vault_access.readable())


@blueprint.route(f"{ITEM}/history")
class MemoryHistory(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.MemoryVersionSchema(many=True))
    @blueprint.errors(404)
    def get(self, item):
        """Its versions, newest first; a deleted memory's, too"""
        return memory_notes.history(vault_access.item(item, deleted=True))


@blueprint.route(f"{ITEM}/history/{NUMBER}")
class MemoryVersionByNumber(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.MemoryVersionDetailSchema)
    @blueprint.errors(404)
    def get(self, item, number):
        """A version with its text and what it changed"""
        return memory_notes.version_detail(vault_access.item(item, deleted=True), number)


@blueprint.route(f"{ITEM}/history/{NUMBER}/restore")
class MemoryVersionRestore(MethodView):
    @needs("run")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, MemorySchema)
    @blueprint.errors(404, 409, 412)
    def post(self, _, item, number):
        """Make an older text the newest one; a deleted memory is back"""
        memory = vault_access.item(item, deleted=True)
        return tagged(commands.restore(memory, memory_notes.version(memory, number).content, author(), expected()))


@blueprint.route(f"{ITEM}/supersede")
class MemorySupersede(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.SupersedeSchema, example=schemas.SUPERSEDE_EXAMPLE)
    @blueprint.response(201, MemorySchema)
    @blueprint.errors(404, 409)
    def post(self, body, item):
        """End a memory's time and put another one in its place"""
        old = vault_access.item(item)
        new = life.supersede(old, author(), body)
        shown, headers = tagged(new)
        return shown, headers | {"Location": f"/v1/memory/items/{new.id}"}


@blueprint.route(f"{ITEM}/rate")
class MemoryRating(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.RateSchema, example={"useful": True})
    @blueprint.response(200, MemorySchema)
    @blueprint.errors(404)
    def post(self, body, item):
        """Say whether a memory helped: one vote per run and agent"""
        parts = [body.get("run_id"), body.get("agent_id")]
        voter = ":".join(part or "" for part in parts) if any(parts) else g.token.id
        return memory_views.shown(life.rate(vault_access.item(item), body["useful"], voter))


@blueprint.route("/memory/quarantine")
class MemoryQuarantine(MethodView):
    @needs("admin")
    @blueprint.arguments(CatalogueSchema, location="query")
    @blueprint.response(200, MemorySchema(many=True))
    def get(self, query):
        """What tainted runs want to tell all agents, newest first"""
        cursor, limit = decode(query["cursor"]), query["limit"]
        rows = memory_views.quarantine(limit + 1, cursor, vault_access.readable())
        page, headers = link(rows, limit, lambda memory: memory.key)
        return [memory_views.shown(memory) for memory in page], headers


@blueprint.route(f"{ITEM}/approve")
class MemoryApproval(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, MemorySchema)
    @blueprint.errors(404, 409)
    def post(self, _, item):
        """Let a memory out of quarantine"""
        memory = life.decide(vault_access.item(item), True, author())
        with recorded("memory.approve", "memory", item):
            return memory_views.shown(memory)


@blueprint.route(f"{ITEM}/reject")
class MemoryRejection(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(204)
    @blueprint.errors(404, 409)
    def post(self, _, item):
        """Delete a memory that is in quarantine"""
        life.decide(vault_access.item(item), False, author())
        with recorded("memory.reject", "memory", item):
            pass


def tagged(memory: Memory) -> tuple[dict[str, Any], dict[str, str]]:
    return memory_views.shown(memory), {"ETag": f'"{memory.version}"'}
