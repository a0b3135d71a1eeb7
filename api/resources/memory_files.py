"""Notes of vaults, addressed by their path."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView

from api import etags, vault_access
from api.blueprint import Blueprint, needs
from api.memory_changes import author, expected
from api.resources import memory_schemas as schemas
from models import memories, memory_notes, memory_views
from models.memories import Memory
from models.memory_views import SHARED
from pipelines import notes
from workers import memories as commands
from workers.memories import New

blueprint = Blueprint("memory_files", "memory", url_prefix="/v1")
NOTE = "<note:path>"


@blueprint.route("/memory")
class Memories(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.CreateMemorySchema, example=schemas.CREATE_EXAMPLE)
    @blueprint.response(201, schemas.RememberedSchema)
    @blueprint.errors(404, 409)
    def post(self, body):
        """Remember something: a new note in a vault"""
        return created(body.pop("agent_id"), body)


@blueprint.route("/memory/vaults/shared/store")
class SharedStore(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.StoreSchema, example=schemas.STORE_EXAMPLE)
    @blueprint.response(201, schemas.RememberedSchema)
    @blueprint.errors(404, 409)
    def post(self, body):
        """The same for the shared vault"""
        body["author"], body["metadata"] = body.pop("agent_id"), body.pop("frontmatter")
        return created(SHARED, body | {"on_duplicate": "warn"})


def created(vault: str, body: dict[str, Any]) -> Any:
    vault_access.check(vault)
    commands.check_vault(vault)
    given, metadata = commands.front_of(body), body.get("metadata", {})
    note = notes.parse(body["content"], "x.md")
    new = New(vault, note.body, note.front | metadata | given, body.get("filename"), body["on_duplicate"])
    memory, duplicates = commands.create(new, author())
    shown = memory_views.shown(memory) | {"duplicates": duplicates}
    return shown, {"Location": f"/v1/memory/vaults/{vault}/{memory.path}", "ETag": f'"{memory.version}"'}


@blueprint.route("/memory/vaults/<id:vault>/files")
class VaultFiles(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.NewFileSchema, example={"content": "We ship on Thursdays.", "filename": "release.md"})
    @blueprint.response(201, schemas.NewFileAnswerSchema)
    @blueprint.errors(404, 409)
    def post(self, body, vault):
        """A new note as it is written"""
        vault_access.check(vault)
        commands.check_vault(vault)
        note = notes.parse(body["content"], "x.md")
        path = body.get("filename") or commands.inbox_path()
        memory, _ = commands.create(New(vault, note.body, note.front, path), author())
        shown = memory_views.shown(memory) | {"size": memory.size_bytes, "created": True}
        return shown, {"Location": f"/v1/memory/vaults/{vault}/{memory.path}"}


@blueprint.route(f"/memory/vaults/<id:vault>/{NOTE}")
class NoteByPath(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.MemoryNoteSchema)
    @blueprint.errors(404)
    def get(self, vault, path):
        """A note with its text and links"""
        return note_shown(memories.get(vault_access.check(vault), path))

    @needs("run")
    @blueprint.arguments(schemas.WriteQuerySchema, location="query")
    @blueprint.arguments(schemas.WriteNoteSchema, example={"content": "We ship on Fridays."})
    @blueprint.response(200, schemas.WrittenNoteSchema)
    @blueprint.errors(404, 412)
    def put(self, query, body, vault, path):
        """Write a note: with front matter all of it, without it the text alone"""
        vault_access.check(vault)
        if query["create"]:
            commands.check_vault(vault)
        memory = commands.update(vault, path, body["content"], author(), expected(), query["create"])
        shown = memory_views.shown(memory) | {"size": memory.size_bytes, "updated": True}
        return shown, {"ETag": f'"{memory.version}"'}

    @needs("run")
    @blueprint.response(204)
    @blueprint.errors(404, 412)
    def delete(self, vault, path):
        """Delete a note; its texts stay in the history"""
        vault_access.check(vault)
        commands.remove(vault, path, author(), expected())


def note_shown(memory: Memory) -> Any:
    note = notes.parse(memories.text(memory), memory.path)
    shown = memory_notes.detail(memory, note.body, note.front, vault_access.readable())
    return etags.answer(shown, memory.version)
