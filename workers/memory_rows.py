"""Notes as rows: what is stored of a text, many notes in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog

from models import database, memories, memory_vaults
from models.base import Model, dumps, now_ms
from models.errors import DjinnBotError
from models.memories import (
    Memory,
    MemoryChunk,
    MemoryLink,
    MemoryName,
    MemoryVersion,
    MemoryWords,
)
from models.settings import get as setting
from pipelines import note_chunks, note_links, notes, words
from pipelines.notes import Note
from workers.clients import embeddings

log = structlog.get_logger(__name__)

API, AGENT, DISK = "api", "agent", "disk"


@dataclass(frozen=True, slots=True)
class Draft:
    """A note as it is to be stored. `mark`: how its file looks; `key`: of the memory that it is the next text of."""

    path: str
    document: str
    note: Note
    modified: int  # ms, of the file
    mark: str
    key: int | None = None


def mark_of(size: int, mtime_ns: int) -> str:
    """Differs whenever a file may have changed."""
    return f"{size}.{mtime_ns}"


def store(
    vault: str, drafts: Sequence[Draft], source: str, by: str | None = None, embed: bool = False
) -> Callable[[], dict[str, int]]:
    """Prepares rows, passages and, if `embed`, vectors; returns the call that writes them in a transaction.

    It answers {path: key}.
    """
    cut = [note_chunks.chunks(draft.note.body) for draft in drafts]
    vectors = _vectors(drafts, cut) if embed else None
    weights = [words.weighted(draft.note.title, draft.note.tags, draft.note.body) for draft in drafts]

    def write() -> dict[str, int]:
        common = {"vault": vault, "changed": memories.next_number(), "indexed": vectors is not None}
        common["generation"] = memory_vaults.begin(vault)
        known = _owners(drafts)
        keys = _save_rows(drafts, known, common)
        before = {memory.key: memory for memory in known if memory is not None}
        memories.clear_parts(list(before))
        _save_versions(drafts, keys, before, source, by)
        _insert(MemoryWords, [_words(key, found) for key, found in zip(keys, weights, strict=True)])
        _insert(MemoryChunk, _chunk_rows(keys, cut, vectors))
        _save_links(vault, drafts, keys)
        return dict(zip((draft.path for draft in drafts), keys, strict=True))

    return write


def _insert(table: type[Model], rows: Sequence[tuple], names: Sequence[str] | None = None) -> None:
    """In the order of the table's columns, or of `names`."""
    database.insert(table._meta.table_name, names or list(table._meta.fields), rows)


def passages(title: str, body: str, cut: Sequence[tuple[int, int]]) -> list[str]:
    """What is embedded of each passage: it and what the note is about."""
    return [f"{title}. {body[start:stop]}" for start, stop in cut] or [title]


def packed(vector: np.ndarray) -> bytes:
    return vector.astype(np.float16).tobytes()


def _vectors(drafts: Sequence[Draft], cut: Sequence[list[tuple[int, int]]]) -> list[bytes] | None:
    embedder = embeddings.current()
    if embedder is None:
        return None
    texts = [
        text
        for draft, parts in zip(drafts, cut, strict=True)
        for text in passages(draft.note.title, draft.note.body, parts)
    ]
    try:
        return [packed(vector) for vector in embedder.embed(texts)]
    except DjinnBotError as error:  # they are found by their words, and wait for their vectors
        log.warning("not_embedded", notes=len(drafts), error=str(error))
        return None


def _chunk_rows(keys: Sequence[int], cut: Sequence[list[tuple[int, int]]], vectors: list[bytes] | None) -> list[tuple]:
    places = [
        (key, no, *part) for key, parts in zip(keys, cut, strict=True) for no, part in enumerate(parts or [(0, 0)])
    ]
    return [(*place, vector) for place, vector in zip(places, vectors or [None] * len(places), strict=True)]


def _words(key: int, found: dict[str, int]) -> tuple[int, str, bytes]:
    return key, " ".join(found), np.fromiter(found.values(), np.uint16, len(found)).tobytes()


# --- rows ---


def _owners(drafts: Sequence[Draft]) -> list[Memory | None]:
    """The memory that each draft is the next text of: the one it was read for, or a deleted one with its id."""
    by_key = memories.some([draft.key for draft in drafts if draft.key is not None])
    by_id = memories.of_ids([draft.note.id for draft in drafts if draft.note.id])
    found = []
    for draft in drafts:
        same_id = by_id.get(draft.note.id)
        revived = same_id if same_id is not None and same_id.deleted_at else None
        found.append(by_key.get(draft.key, revived))
    return found


def _save_rows(drafts: Sequence[Draft], known: Sequence[Memory | None], common: dict[str, Any]) -> list[int]:
    """The key of each."""
    highest = database.execute("SELECT coalesce(max(key), 0) FROM memories").fetchone()[0]
    taken = {id: row.key for id, row in memories.of_ids([draft.note.id for draft in drafts if draft.note.id]).items()}
    keys, fresh = [], []
    for draft, before in zip(drafts, known, strict=True):
        row = _columns(draft, before) | common
        highest += before is None
        key = before.key if before else highest
        if row["id"] and taken.setdefault(row["id"], key) != key:  # a copy of the file: the first one keeps it
            row |= {"id": None, "problems": dumps([*draft.note.problems, f"id: {row['id']} is another note's"])}
        keys.append(key)
        if before is None:
            fresh.append((key, *(row[name] for name in memories.COLUMNS)))
        else:
            _update(key, row)
    _insert(Memory, fresh, ("key", *memories.COLUMNS))
    return keys


def _update(key: int, row: dict[str, Any]) -> None:
    assigned = ", ".join(f"{name} = ?" for name in row)
    database.execute(f"UPDATE memories SET {assigned} WHERE key = ?", (*row.values(), key))


def _columns(draft: Draft, before: Memory | None) -> dict[str, Any]:
    note, path = draft.note, draft.path
    version = notes.digest(draft.document)
    created = note.created_at or (before.created_at if before else draft.modified)
    same_text = before is not None and before.version == version
    return {
        "id": note.id,
        "path": path,
        "directory": path.rpartition("/")[0] or None,
        "title": note.title,
        "type": note.type,
        "category": note.category,
        "tags": dumps(list(note.tags)),
        "author": note.author,
        "created_at": created,
        "updated_at": note.updated_at or draft.modified,
        "valid_from": note.valid_from,
        "valid_to": note.valid_to,
        "superseded_by": note.superseded_by,
        "status": note.status,
        "size_bytes": len(draft.document.encode()),
        "preview": notes.preview(note.body),
        "version": version,
        "same": notes.normalised(note.body),
        "mark": draft.mark,
        "n": (before.n + (not same_text)) if before else 1,
        "usefulness": before.usefulness if before else 0.0,
        "recalls": before.recalls if before else 0,
        "problems": dumps(list(note.problems)),
        "deleted_at": None,
    }


def _save_versions(
    drafts: Sequence[Draft], keys: Sequence[int], known: dict[int, Memory], source: str, by: str | None
) -> None:
    """The texts that are new; the oldest ones beyond the limit go."""
    rows, kept = [], setting("memoryHistoryPerNote")
    for draft, key in zip(drafts, keys, strict=True):
        before, version = known.get(key), notes.digest(draft.document)
        if before is not None and before.version == version:
            continue
        n = before.n + 1 if before else 1
        rows.append((key, n, version, draft.document, source, by or draft.note.author, now_ms()))
        if n > kept:
            database.execute("DELETE FROM memory_versions WHERE key = ? AND n <= ?", (key, n - kept))
    _insert(MemoryVersion, rows)


def _save_links(vault: str, drafts: Sequence[Draft], keys: Sequence[int]) -> None:
    names, links = [], []
    for draft, key in zip(drafts, keys, strict=True):
        names += [(vault, name, kind, key) for kind, name in note_links.names(draft.path, draft.note)]
        for no, link in enumerate(note_links.links(draft.note)):
            path, name = note_links.wanted(link.target)
            links.append((key, no, link.target, path, name, link.label, link.type))
    _insert(MemoryName, names)
    _insert(MemoryLink, links)
