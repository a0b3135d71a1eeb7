"""What happens to a memory besides its text: it is superseded, rated, let out of quarantine; questions are noted."""

from __future__ import annotations

from typing import Any

from models import database, memories, memory_life
from models.base import now_ms
from models.errors import Conflict, NotFound
from models.memories import Memory
from pipelines import notes
from pipelines.notes import QUARANTINED
from workers import memories as commands
from workers import vaults
from workers.memories import Author, New
from workers.memory_search import Found

ANSWERED = 0.25  # a score over this answers a question


def supersede(old: Memory, author: Author, given: dict[str, Any]) -> Memory:
    """Ends the old memory's time and links both ways; the new one is `content`, or the memory `by`.

    Raises Conflict, NotFound.
    """
    if old.superseded_by:
        raise Conflict(f"{old.path} is superseded by {old.superseded_by} already", "already_superseded")
    if given.get("by"):
        return _by_another(old, memories.by_id(given["by"]), author, given)
    note = notes.parse(given["content"], "x.md")
    with database.connection():
        before = notes.parse(memories.text(old), old.path)
    kept = {name: before.front[name] for name in ("type", "category", "tags") if name in before.front}
    title = {"title": note.front.get("title") or old.title}
    front = title | kept | note.front | {"supersedes": [old.path]} | _since(given)
    return commands.create(New(old.vault, note.body, front), author)[0]


def _since(given: dict[str, Any]) -> dict[str, Any]:
    moment = given.get("valid_from")
    why = {"superseded_because": given["note"]} if given.get("note") else {}
    return {"valid_from": notes.iso(moment if moment is not None else now_ms())} | why


def _by_another(old: Memory, new: Memory, author: Author, given: dict[str, Any]) -> Memory:
    if new.vault != old.vault or new.key == old.key:
        raise NotFound(f"Memory {given['by']} not found in {old.vault}", "memory_not_found")
    since = _since(given)
    with vaults.locked(old.vault) as root:
        old, new = (_settled(root, memory) for memory in (old, new))
        ended = commands.with_front(old, valid_to=since["valid_from"], superseded_by=new.id)
        with database.connection():
            replaces = notes.parse(memories.text(new), new.path).front.get("supersedes") or []
        listed = [*(replaces if isinstance(replaces, list) else [replaces]), old.path]
        begun = commands.with_front(new, supersedes=listed, **since)
        return commands.write(old.vault, [begun, ended], author)[0]


def _settled(root: Any, memory: Memory) -> Memory:
    """As it stands on disk. Raises NotFound if it is gone."""
    found = commands.current(root, memory.vault, memory.path)
    if found is None:
        raise NotFound(f"There is no memory {memory.path} in {memory.vault}", "memory_not_found")
    return found


def rate(memory: Memory, useful: bool, voter: str) -> Memory:
    """One vote of that voter."""
    with database.transaction():
        memory_life.vote(memory, voter, useful)
        return memories.some([memory.key])[memory.key]


def decide(memory: Memory, approve: bool, author: Author) -> Memory | None:
    """Lets a memory out of quarantine, in the place of what it supersedes, or deletes it.

    Raises Conflict unless it is in it, or if it supersedes what another one has superseded; NotFound if that is gone.
    """
    if memory.status != QUARANTINED:
        raise Conflict(f"{memory.path} is not in quarantine", "not_quarantined")
    if not approve:
        commands.remove(memory.vault, memory.path, author)
        return None
    with vaults.locked(memory.vault) as root:
        memory = _settled(root, memory)
        with database.connection():
            front = notes.parse(memories.text(memory), memory.path).front
            known = {"id": memory.id or memory.path, "created": notes.iso(memory.created_at)}
            ended = commands.superseded(root, memory.vault, known | front | {"status": None})
        return commands.write(memory.vault, [commands.with_front(memory, status=None), *ended], author)[0]


def note_gap(found: Found, vault: str | None, question: str) -> None:
    """Notes a question that nothing answers."""
    if not any(hit.evident and hit.score > ANSWERED for hit in found.hits):
        with database.transaction():
            memory_life.note_gap(vault or memory_life.EVERYWHERE, notes.normalised(question), question)
