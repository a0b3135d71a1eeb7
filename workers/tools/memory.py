"""The tools `recall`, `remember` and `rate_memories`: an agent's own vault and the shared one, and no other."""

from __future__ import annotations

import json
from typing import Any

from models import database, memories, memory_life, taint
from models.errors import Invalid
from pipelines import notes
from pipelines.notes import SHARED
from workers import memories as commands
from workers import memory_life as life
from workers.memories import Author, New
from workers.memory_context import NOTICE, tell
from workers.memory_rows import AGENT
from workers.memory_search import Query, search
from workers.tools.base import Context, Tool, ToolError, parameters

NAMES = ("recall", "remember", "rate_memories")
PROFILES: dict[str, dict[str, tuple[str, ...]]] = {
    "all": {},
    "decisions": {"type": ("decision", "commitment")},
    "lessons": {"type": ("lesson",)},
    "people": {"type": ("preference", "relationship", "feeling")},
    "projects": {"type": ("project", "fact")},
}
BUDGET = 3000  # tokens of one answer
MOST = 20


def _vaults(context: Context) -> tuple[str, str]:
    if not notes.may_be_vault(context.agent_id):
        raise ToolError("This work belongs to no agent, so there is no memory")
    return context.agent_id, SHARED


def recall(context: Context, arguments: dict[str, Any]) -> str:
    own, question = _vaults(context), arguments["query"].strip()
    if not question:
        raise ToolError("Say what you want to know")
    filters = PROFILES[arguments.get("profile", "all")]
    found = search(Query(question, own, arguments.get("limit", 5), filters=filters))
    life.note_gap(found, context.agent_id, question)
    told = tell(found, BUDGET)
    if not told.items:
        return "Nothing is remembered about that."
    with database.transaction():
        rows = [(item["key"], item["score"], item["passage"]) for item in told.items]
        memory_life.recalled(context.holder, context.key, "tool", rows)
    ids = ", ".join(f"{item['filename']} = {_name(item)}" for item in told.items)
    return f"{NOTICE}\n\n{told.text}\n\nTo rate them: {ids}"


def _name(item: dict[str, Any]) -> str:
    return item["id"] or f"{item['agent_id']}/{item['filename']}"


def remember(context: Context, arguments: dict[str, Any]) -> str:
    own, _ = _vaults(context)
    vault = SHARED if arguments.get("shared") else own
    made = _made_before(vault, context.key)
    if made is None:
        front = _cleaned(context, commands.front_of(arguments)) | ({"call": context.key} if context.key else {})
        body = context.clean(arguments["content"])
        author = Author(own, AGENT, _tainted(context))
        made, duplicates = commands.create(New(vault, body, front, on_duplicate="warn"), author)
    else:
        duplicates = []
    facts = {"id": made.id, "vault": vault, "filename": made.path, "status": made.status}
    return json.dumps(facts | {"duplicates": duplicates}, ensure_ascii=False)


def _cleaned(context: Context, front: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [context.clean(item) for item in value] if isinstance(value, list) else context.clean(value)
        for name, value in front.items()
    }


def _made_before(vault: str, key: str) -> memories.Memory | None:
    """The memory that an earlier try of this very call has made."""
    with database.connection():
        rows = memories.newest(vault, MOST) if key else []
        texts = memories.texts(rows)
    return next((row for row in rows if notes.parse(texts[row.key], row.path).front.get("call") == key), None)


def _tainted(context: Context) -> bool:
    with database.connection():
        return taint.reason(context.holder) is not None


def rate_memories(context: Context, arguments: dict[str, Any]) -> str:
    own, voter = _vaults(context), f"{context.holder}:{context.agent_id}"
    with database.connection():
        found = [_rated(own, name) for name in arguments["memories"]]
    if any(memory.vault == SHARED for memory in found) and _tainted(context):
        raise ToolError("This run has read something from outside, so it does not rate what all agents share")
    for memory in found:
        life.rate(memory, arguments["useful"], voter)
    return f"Rated {len(found)}."


def _rated(own: tuple[str, str], name: str) -> memories.Memory:
    vault, _, path = name.partition("/")
    memory = memories.by_id(name) if notes.may_be_id(name) else memories.get(vault, path)
    if memory.vault not in own:
        raise Invalid(f"Memory {name} not found")
    return memory


TEXT = {"type": "string", "minLength": 1}
RECALL = Tool(
    "recall",
    "Search your memory and the shared one. `profile` narrows it down to one kind of memories.",
    parameters(
        ("query",),
        query=TEXT | {"maxLength": 2000, "description": "what you want to know, as a question or as words"},
        profile={"type": "string", "enum": list(PROFILES)},
        limit={"type": "integer", "minimum": 1, "maximum": MOST},
    ),
    recall,
    "idempotent",
)
REMEMBER = Tool(
    "remember",
    "Write down what will be worth knowing later: one thing per memory, complete in itself.",
    parameters(
        ("content", "title"),
        content=TEXT | {"maxLength": 100_000},
        title=TEXT | {"maxLength": notes.MAX_TITLE},
        type={"type": "string", "enum": list(notes.TYPES)},
        tags={"type": "array", "items": TEXT | {"maxLength": notes.MAX_TAG}, "maxItems": 20},
        shared={"type": "boolean", "description": "for every agent, not only for you"},
        supersedes={"type": "array", "items": TEXT | {"maxLength": 255}, "maxItems": 5},
    ),
    remember,
    "idempotent",  # a repeat finds the memory of its key
)
RATE = Tool(
    "rate_memories",
    "Say whether memories that you were shown helped; what helps is found more easily.",
    parameters(
        ("memories", "useful"),
        memories={"type": "array", "items": TEXT | {"maxLength": 320}, "minItems": 1, "maxItems": MOST},
        useful={"type": "boolean"},
    ),
    rate_memories,
    "idempotent",
)


def tools() -> list[Tool]:
    return [RECALL, REMEMBER, RATE]
