"""Looking after memory: its index, its graph, questions it could not answer, proposals, recall tests."""

from __future__ import annotations

from typing import Any

from flask import g
from flask.views import MethodView

from api import vault_access
from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.memory_changes import author
from api.paging import decode, link
from api.resources import memory_life_schemas as schemas
from api.resources.control_schemas import NothingSchema
from models import cursors, database, memory_graph, memory_life, memory_views
from models.errors import NotFound
from models.memory_life import Changeset, MemoryGap
from models.memory_views import SHARED
from workers import consolidation, memory_context, memory_gaps, memory_index, memory_search, memory_status, recall_tests
from workers.memory_search import Query

blueprint = Blueprint("memory_care", "memory", url_prefix="/v1")
VAULT = "/memory/vaults/<id:vault>"


@blueprint.route("/memory/context")
class MemoryContext(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.ContextSchema, example=schemas.CONTEXT_EXAMPLE)
    @blueprint.response(200, schemas.MemoryContextSchema)
    def post(self, body):
        """What a model should be reminded of for a task, within a number of tokens"""
        agent_id, shared = body.get("agent_id"), body["include_shared"]
        return context(None if agent_id is None else [agent_id, *([SHARED] if shared else [])], body)


@blueprint.route("/memory/vaults/shared/context")
class SharedContext(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.ContextSchema, example=schemas.CONTEXT_EXAMPLE)
    @blueprint.response(200, schemas.MemoryContextSchema)
    def post(self, body):
        """The same; without an agent of the shared vault alone"""
        agent_id = body.get("agent_id")
        return context([SHARED] if agent_id is None else [agent_id, SHARED], body)


def context(wanted: list[str] | None, body: dict[str, Any]) -> dict[str, Any]:
    found = memory_search.search(Query(body["task"], vault_access.narrowed(wanted), body["limit"]))
    told = memory_context.tell(found, body["budget"])
    names = ("id", "agent_id", "filename", "title", "score", "passage")
    items = [{name: item[name] for name in names} for item in told.items]
    return {"context": told.text, "entries": len(items), "tokens": told.tokens, "items": items}


# --- questions without an answer ---


@blueprint.route("/memory/gaps")
class MemoryGaps(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.GapFilterSchema, location="query")
    @blueprint.response(200, schemas.GapSchema(many=True))
    def get(self, query):
        """Questions that memory could not answer, the latest first"""
        cursor, limit, agent_id = decode(query["cursor"]), query["limit"], query["agent_id"]
        place = cursors.moment_and_id(cursor, memory_life.GAP) if cursor else None
        rows = memory_life.gaps(limit + 1, place, vault_access.narrowed([agent_id] if agent_id else None))
        page, headers = link(rows, limit, lambda row: f"{row.last_at}.{row.id}")
        return [memory_life.gap_shown(row) for row in page], headers


@blueprint.route("/memory/gaps/<id:gap_id>/resolve")
class MemoryGapResolution(MethodView):
    @needs("run")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, schemas.GapSchema)
    @blueprint.errors(404)
    def post(self, _, gap_id):
        """The question is answered by now"""
        with database.transaction():
            memory_life.resolve(seen_gap(gap_id))
        return memory_life.gap_shown(memory_life.gap(gap_id))


@blueprint.route("/memory/gaps/<id:gap_id>/task")
class MemoryGapTask(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.GapTaskSchema, example={"project_id": "proj_01h0000000000000000000000a"})
    @blueprint.response(201, schemas.GapSchema)
    @blueprint.errors(404, 409)
    def post(self, body, gap_id):
        """Make a task of it: somebody finds out"""
        memory_gaps.make_task(seen_gap(gap_id), body["project_id"], g.token.name)
        return memory_life.gap_shown(memory_life.gap(gap_id))


def seen_gap(gap_id: str) -> MemoryGap:
    """Raises NotFound."""
    row = memory_life.gap(gap_id)
    if not vault_access.may_see(row.vault):
        raise NotFound(f"Gap {gap_id} not found", "gap_not_found")
    return row


# --- the index ---


@blueprint.route("/memory/reindex")
class MemoryReindex(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.ReindexSchema, required=False, example={"full": False})
    @blueprint.response(202, schemas.MemoryStatusSchema)
    @blueprint.errors(404)
    def post(self, body):
        """Bring the index up to the files, or make it anew"""
        agent_id, full = (body or {}).get("agent_id"), (body or {}).get("full", False)
        names = [vault_access.check(agent_id)] if agent_id else vault_access.all_seen()
        with recorded("memory.reindex", "memory", agent_id or "", full=full):
            for name in names:
                memory_index.reindex(name, full)
        return memory_status.shown(vault_access.readable())


@blueprint.route("/memory/status")
class MemoryStatus(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.MemoryStatusSchema)
    def get(self):
        """How far the index is"""
        return memory_status.shown(vault_access.readable())


# --- the graph ---


@blueprint.route(f"{VAULT}/graph")
class MemoryGraph(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.MemoryGraphQuerySchema, location="query")
    @blueprint.response(200, schemas.MemoryGraphSchema)
    @blueprint.errors(404)
    def get(self, query, vault):
        """Notes, tags and links of a vault"""
        graph = memory_graph.of(known(vault))
        return graph.shown(graph.around(query["center"], query["hops"]) if query["center"] else None)


@blueprint.route(f"{VAULT}/graph/neighbors/<path:node>")
class MemoryNeighbors(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.NeighborsQuerySchema, location="query")
    @blueprint.response(200, schemas.MemoryGraphSchema)
    @blueprint.errors(404)
    def get(self, query, vault, node):
        """What is few links away from a node"""
        graph = memory_graph.of(known(vault))
        return graph.shown(graph.around(node, query["max_hops"]))


@blueprint.route(f"{VAULT}/graph/rebuild")
class MemoryGraphRebuild(MethodView):
    @needs("run")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(202, schemas.MemoryStatusSchema)
    @blueprint.errors(404)
    def post(self, _, vault):
        """Read links from the files again"""
        with database.transaction():
            memory_index.reindex(known(vault), True)
        return memory_status.shown(vault_access.readable())


def known(vault: str) -> str:
    """The vault's name. Raises NotFound."""
    if not memory_views.has_vault(vault_access.check(vault)):
        raise NotFound(f"Vault {vault} not found", "vault_not_found")
    return vault


# --- proposals ---


@blueprint.route(f"{VAULT}/consolidate")
class MemoryConsolidation(MethodView):
    @needs("run")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(202, schemas.ChangesetSchema)
    @blueprint.errors(404)
    def post(self, _, vault):
        """Ask for a proposal that makes one note of those that say the same"""
        with database.transaction():
            return consolidation.shown(consolidation.propose(known(vault), g.token.name))


@blueprint.route("/memory/changesets/<id:changeset_id>")
class MemoryChangeset(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.ChangesetSchema)
    @blueprint.errors(404)
    def get(self, changeset_id):
        """A proposal with its differences"""
        return consolidation.shown(seen_changeset(changeset_id))


@blueprint.route("/memory/changesets/<id:changeset_id>/apply")
class MemoryChangesetApplication(MethodView):
    @needs("run")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, schemas.ChangesetSchema)
    @blueprint.errors(404, 409, 412)
    def post(self, _, changeset_id):
        """Make all changes of a proposal, or none if a note has moved on"""
        return consolidation.shown(consolidation.apply(seen_changeset(changeset_id), author()))


def seen_changeset(changeset_id: str) -> Changeset:
    """Raises NotFound."""
    row = memory_life.changeset(changeset_id)
    if not vault_access.may_see(row.vault):
        raise NotFound(f"Change set {changeset_id} not found", "changeset_not_found")
    return row


# --- recall tests ---


@blueprint.route(f"{VAULT}/recall-tests")
class RecallTests(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.RecallTestSchema(many=True))
    @blueprint.errors(404)
    def get(self, vault):
        """Questions with the notes that must be found"""
        return memory_life.recall_tests(known(vault))

    @needs("run")
    @blueprint.arguments(schemas.RecallTestSchema(many=True), example=schemas.TESTS_EXAMPLE)
    @blueprint.response(200, schemas.RecallTestSchema(many=True))
    @blueprint.errors(404)
    def put(self, body, vault):
        """Set them, all at once"""
        with database.transaction():
            memory_life.set_recall_tests(known(vault), schemas.few(body))
        return memory_life.recall_tests(vault)


@blueprint.route(f"{VAULT}/recall-tests/run")
class RecallTestsRun(MethodView):
    @needs("read")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, schemas.RecallResultSchema)
    @blueprint.errors(404)
    def post(self, _, vault):
        """How much of what must be found is found"""
        return recall_tests.run(vault, memory_life.recall_tests(known(vault)))
