"""What this platform offers as an MCP server: pipelines, and what agents remember, as tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import g

from api import definitions, details, vault_access
from api.auth import demand
from api.resources.run_schemas import MEGABYTE
from models import run_views
from models.errors import DjinnBotError, Invalid
from pipelines import arguments
from workers import memory_answers, memory_search
from workers import runs as commands
from workers.memory_search import Query

LONGEST_WAIT = 60  # seconds
SHOWN = ("id", "pipeline_id", "status", "status_reason", "current_step", "progress", "outputs", "error", "created_at")


@dataclass(frozen=True, slots=True)
class Tool:
    """`scope`: the least that the caller's token needs."""

    name: str
    scope: str
    description: str
    properties: dict[str, Any]
    required: tuple[str, ...]
    call: Callable[..., Any]
    hints: dict[str, bool]

    @property
    def schema(self) -> dict[str, Any]:
        shape = {"type": "object", "properties": self.properties, "additionalProperties": False}
        return shape | {"required": list(self.required)}

    def as_dict(self) -> dict[str, Any]:
        told = {"name": self.name, "description": self.description, "inputSchema": self.schema}
        return told | {"annotations": self.hints}


def run_pipeline(pipeline_id: str, task: str, context: str | None = None, wait_seconds: int = 0) -> Any:
    entry = definitions.startable(pipeline_id)
    run_id = commands.start(entry, task_description=task, human_context=context, created_by=g.token.name)
    return run_status(run_id, wait_seconds)


def run_status(run_id: str, wait_seconds: int = 0) -> Any:
    shown = details.run_detail(details.settled(run_id, wait_seconds, g.holder))
    return {name: shown[name] for name in SHOWN}


def list_pipelines() -> Any:
    entries = definitions.catalog().list()
    shown = ({"id": e.id, "name": e.name, "description": e.description} for e in entries if e.valid)
    return {"pipelines": list(shown)}


def search_memory(query: str, vault: str | None = None, limit: int = 5) -> Any:
    seen = vault_access.narrowed([vault_access.check(vault)] if vault else None)
    found = memory_search.search(Query(query, seen, limit=limit))
    return {"memories": memory_answers.shown(found, False)}


def cancel_run(run_id: str, reason: str | None = None) -> Any:
    commands.cancel(run_id, reason=reason, by=g.token.name)
    return {"id": run_id, "status": run_views.fetch(run_id)["status"]}


RUN = {"type": "string", "description": "id of the run"}
WAIT = {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT, "description": "seconds to wait for its end"}
READS = {"readOnlyHint": True, "openWorldHint": False}
STARTS = {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False}
DECLARED = (
    Tool("list_pipelines", "read", "Which pipelines can be run.", {}, (), list_pipelines, READS),
    Tool(
        "run_pipeline",
        "run",
        "Start a run of a pipeline: a team of agents works on the task. Ask run_status how it goes.",
        {
            "pipeline_id": {"type": "string", "description": "as list_pipelines has it"},
            "task": {"type": "string", "minLength": 1, "maxLength": MEGABYTE},
            "context": {"type": "string", "maxLength": MEGABYTE, "description": "what the agents should know"},
            "wait_seconds": WAIT,
        },
        ("pipeline_id", "task"),
        run_pipeline,
        STARTS,
    ),
    Tool(
        "run_status",
        "read",
        "How a run goes, and its outputs.",
        {"run_id": RUN, "wait_seconds": WAIT},
        ("run_id",),
        run_status,
        READS,
    ),
    Tool(
        "search_memory",
        "read",
        "What the agents remember of a matter, best first.",
        {
            "query": {"type": "string", "minLength": 1, "maxLength": 2000},
            "vault": {"type": "string", "description": "only of this one: the id of an agent, or shared"},
            "limit": {"type": "integer", "minimum": 1, "maximum": 20},
        },
        ("query",),
        search_memory,
        READS,
    ),
    Tool(
        "cancel_run",
        "run",
        "End a run now.",
        {"run_id": RUN, "reason": {"type": "string", "maxLength": 500}},
        ("run_id",),
        cancel_run,
        STARTS | {"idempotentHint": True},
    ),
)
TOOLS = {tool.name: tool for tool in DECLARED}


def called(name: str, given: dict[str, Any]) -> tuple[Any, bool]:
    """(the result, whether it is an error that the caller can do something about). Raises KeyError."""
    tool = TOOLS[name]
    try:
        demand(tool.scope)
        if found := arguments.problems(tool.schema, given):
            raise Invalid("; ".join(found))
        return tool.call(**given), False
    except DjinnBotError as error:
        return {"code": error.code, "detail": error.message}, True
