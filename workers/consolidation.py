"""Consolidation: notes that say the same are proposed to become one; a person looks, and applies it or does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from models import database, memories, memory_life, outbox
from models.base import new_id, now_ms
from models.errors import Conflict, PreconditionFailed
from models.memories import LIVE, Memory
from models.memory_life import CHANGESET, Changeset
from models.memory_notes import diff
from pipelines import notes
from pipelines.notes import Note
from workers import memories as commands
from workers import near_duplicates, vaults
from workers.broker import actor, doorbell
from workers.memories import Author, Text

QUEUED, PROPOSED, APPLIED, EMPTY = "queued", "proposed", "applied", "empty"
MOST_GROUPS = 50
PAGE = 500


def propose(vault: str, by: str) -> Changeset:
    """Rings for a proposal, in the enclosing transaction."""
    id = new_id(CHANGESET)
    row = {"id": id, "vault": vault, "status": QUEUED, "created_by": by, "created_at": now_ms()}
    Changeset.add(row)
    doorbell("memory_consolidate", id)
    return memory_life.changeset(id)


@actor
def memory_consolidate(id: str) -> None:
    """Looks for notes that say the same, and writes down what could become of them."""
    with database.connection():
        row = memory_life.changeset(id)
    if row.status == QUEUED:
        changes = [change for group in groups(row.vault) for change in _changes(group)]
        with database.transaction():
            found = {Changeset.changes: changes, Changeset.status: PROPOSED if changes else EMPTY}
            Changeset.update(found).where(Changeset.id == id, Changeset.status == QUEUED).execute()
            outbox.answered(id, "")
        return
    with database.transaction():
        outbox.answered(id, "")


def groups(vault: str) -> list[list[Memory]]:
    """Notes that say nearly the same, each in one group, the oldest first."""
    found: list[list[Memory]] = []
    taken: set[int] = set()
    for memory in _active(vault):
        if memory.key in taken or len(found) >= MOST_GROUPS:
            continue
        with database.connection():
            body = notes.parse(memories.text(memory), memory.path).body
            near = [row["filename"] for row in near_duplicates.of(vault, body, memory.key)]
            others = [memories.get(vault, path) for path in near]
        group = [memory, *(other for other in others if other.key not in taken and other.status == notes.ACTIVE)]
        if len(group) > 1:
            taken |= {row.key for row in group}
            found.append(sorted(group, key=lambda row: (row.created_at, row.key)))
    return found


def _active(vault: str) -> Iterable[Memory]:
    key = 0
    while True:
        condition = f"vault = ? AND {LIVE} AND status = 'active' AND key > ? ORDER BY key LIMIT ?"
        with database.connection():
            page = Memory.fetch(condition, (vault, key, PAGE))
        yield from page
        if len(page) < PAGE:
            return
        key = page[-1].key


def _changes(group: Sequence[Memory]) -> list[dict[str, Any]]:
    """The newest is kept with the others' tags, links and lines that it lacks; they are superseded by it."""
    keep, others = group[-1], group[:-1]
    with database.connection():
        texts = memories.texts(group)
    read = {row.key: notes.parse(texts[row.key], row.path) for row in group}
    id = keep.id or new_id(memories.PREFIX)
    merged = _merged(id, read[keep.key], [(row, read[row.key]) for row in others])
    changes = [_change(keep, texts[keep.key], merged, f"takes in {', '.join(row.path for row in others)}")]
    for row in others:
        ended = {"valid_to": notes.iso(now_ms()), "superseded_by": id}
        text = notes.write({"id": row.id or new_id(memories.PREFIX)} | read[row.key].front | ended, read[row.key].body)
        changes.append(_change(row, texts[row.key], text, f"says nearly the same as {keep.path}"))
    return changes


def _merged(id: str, keep: Note, others: Sequence[tuple[Memory, Note]]) -> str:
    tags = list(dict.fromkeys([*keep.tags, *(tag for _, note in others for tag in note.tags)]))
    given = keep.front.get("supersedes") or []
    replaced = [*(given if isinstance(given, list) else [given]), *(row.path for row, _ in others)]
    known = {notes.folded(line) for line in keep.body.splitlines()}
    lines = [line for _, note in others for line in note.body.splitlines() if line.strip()]
    more = [line for line in dict.fromkeys(lines) if notes.folded(line) not in known]
    body = keep.body.rstrip() + "".join(f"\n\n{line}" for line in more) + "\n"
    return notes.write({"id": id} | keep.front | {"tags": tags, "supersedes": replaced}, body)


def _change(row: Memory, before: str, after: str, reason: str) -> dict[str, Any]:
    facts = {"path": row.path, "version": row.version, "reason": reason, "content": after}
    return facts | {"diff": diff(row.path, before, after)}


def shown(row: Changeset) -> dict[str, Any]:
    facts = ("id", "status", "changes", "created_by", "created_at", "applied_at")
    return {"agent_id": row.vault} | {name: getattr(row, name) for name in facts}


def apply(row: Changeset, author: Author) -> Changeset:
    """Makes every change of the proposal, or none. Raises Conflict, PreconditionFailed if a note has moved on."""
    if row.status != PROPOSED:
        raise Conflict(f"Change set {row.id} is {row.status}", "changeset_not_open")
    with vaults.locked(row.vault) as root:
        texts = []
        for change in row.changes:
            memory = commands.current(root, row.vault, change["path"])
            if memory is None or memory.version != change["version"]:
                raise PreconditionFailed(f"{change['path']} was changed meanwhile: ask for another proposal")
            texts.append(Text(change["path"], change["content"], memory))
        with database.transaction():
            done = {Changeset.status: APPLIED, Changeset.applied_at: now_ms()}
            if not Changeset.update(done).where(Changeset.id == row.id, Changeset.status == PROPOSED).execute():
                raise Conflict(f"Change set {row.id} is applied already", "changeset_not_open")
            commands.write(row.vault, texts, author)
    with database.connection():
        return memory_life.changeset(row.id)
