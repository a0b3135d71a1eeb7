"""Memory: vaults of notes, and the search over them."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView

from api import vault_access
from api.blueprint import Blueprint, needs
from api.paging import decode, link
from api.resources import memory_schemas as schemas
from models import config, memory_views
from models.errors import NotFound
from models.memory_views import SHARED
from pipelines import personas
from workers import memory_answers, memory_life, memory_search
from workers.memory_search import Query

blueprint = Blueprint("memory", "memory", url_prefix="/v1", description="What agents remember")
FILTERS = ("category", "type", "tag")


@blueprint.route("/memory/vaults")
class Vaults(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.MemoryVaultSchema(many=True))
    def get(self):
        """Vaults by name"""
        return memory_views.vault_list(vault_access.readable())


@blueprint.route("/memory/vaults/<id:vault>")
class VaultMemories(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.MemoryFilterSchema, location="query")
    @blueprint.response(200, schemas.MemorySchema(many=True))
    @blueprint.errors(404)
    def get(self, query, vault):
        """The memories of a vault, newest update first"""
        return listed(vault, query)


def listed(vault: str, query: dict[str, Any]) -> Any:
    """A page of a vault. Raises NotFound if there is neither a vault nor an agent of that name."""
    if not vault_access.exists(vault):
        if not vault_access.may_see(vault) or not personas.is_agent(config.get().agents_dir / vault):
            raise NotFound(f"Vault {vault} not found", "vault_not_found")
        return []
    cursor, limit, sort = decode(query.pop("cursor")), query.pop("limit"), query["sort"]
    rows = memory_views.page(vault, limit + 1, cursor, **query)
    page, headers = link(rows, limit, lambda memory: memory_views.place(memory, sort))
    return [memory_views.shown(memory) for memory in page], headers


@blueprint.route("/memory/search")
class MemorySearch(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.SearchSchema, location="query")
    @blueprint.response(200, schemas.HitSchema(many=True))
    def get(self, query):
        """The memories that answer a question, best first"""
        agent_id, shared = query.pop("agent_id"), query.pop("include_shared")
        wanted = None if agent_id is None else [agent_id, *([SHARED] if shared else [])]
        return searched(wanted, query)


@blueprint.route("/memory/shared")
class SharedMemory(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.SharedSearchSchema, location="query")
    @blueprint.response(200, schemas.HitSchema(many=True))
    def get(self, query):
        """The same over the shared vault; without a question its newest memories"""
        vault_access.check(SHARED)
        if query["query"] is None:
            return memory_answers.unscored(memory_views.newest(SHARED, query["limit"]))
        return searched([SHARED], query)


@blueprint.route("/memory/vaults/<id:vault>/search")
class VaultSearch(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.VaultSearchSchema, location="query")
    @blueprint.response(200, schemas.HitSchema(many=True))
    @blueprint.errors(404)
    def get(self, query, vault):
        """The same over one vault"""
        vault_access.check(vault)
        return searched([vault], query)


def searched(wanted: list[str] | None, query: dict[str, Any]) -> Any:
    """The answer with its headers; of `wanted` vaults (None: all) those that the caller may see."""
    seen = vault_access.narrowed(wanted)
    question, explain, log_gap = query.pop("query"), query.pop("explain"), query.pop("log_gap")
    filters = {name: values for name in FILTERS if (values := query.pop(name))}
    found = memory_search.search(Query(question, seen, filters=filters, **query))
    if log_gap:
        memory_life.note_gap(found, seen[0] if seen and len(seen) == 1 else None, question)
    shown = memory_answers.shown(found, explain)
    return shown, {"X-Search-Mode": found.mode, "X-Search-Ms": f"{found.ms:.1f}"}
