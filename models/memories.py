"""Memories: what SQL knows of the notes in the vaults. The files are the truth; all but the history is an index.

`changed` is the number of the write that touched a row last. Writers number themselves under one row's lock, so numbers
become visible in order, and who keeps notes in memory asks for what is newer than what it has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import peewee

from models import database
from models.base import JSONField, Model
from models.errors import NotFound

PREFIX = "mem_"
NUMBER = "memories"  # the row of `versions` that numbers the writes
KEYS_AT_ONCE = 200
LIVE = "deleted_at IS NULL"


class Memory(Model):
    key = peewee.BigIntegerField(primary_key=True)
    id = peewee.TextField(null=True, unique=True)
    vault = peewee.TextField()
    path = peewee.TextField()
    directory = peewee.TextField(null=True)
    title = peewee.TextField()
    type = peewee.TextField(null=True)
    category = peewee.TextField(null=True)
    tags = JSONField(default=list)
    author = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()
    updated_at = peewee.BigIntegerField()
    valid_from = peewee.BigIntegerField(null=True)
    valid_to = peewee.BigIntegerField(null=True)
    superseded_by = peewee.TextField(null=True)
    status = peewee.TextField()
    size_bytes = peewee.IntegerField()
    preview = peewee.TextField()
    version = peewee.TextField()  # sha256 of the file
    same = peewee.TextField()  # of the text alone, without case and spacing
    mark = peewee.TextField()  # how the file looked when it was read
    n = peewee.IntegerField(default=1)  # its current version in the history
    usefulness = peewee.FloatField(default=0.0)  # -1..1
    recalls = peewee.IntegerField(default=0)
    problems = JSONField(default=list)
    indexed = peewee.BooleanField(default=False)  # whether its vectors are there
    generation = peewee.IntegerField(default=1)
    changed = peewee.BigIntegerField()
    deleted_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "memories"


_live = peewee.SQL(LIVE)
Memory.add_index(Memory.index(Memory.vault, Memory.path, unique=True, where=_live, name="memories_path"))
for _column in (Memory.updated_at, Memory.created_at, Memory.title):
    _name = f"memories_{_column.name}"
    Memory.add_index(Memory.index(Memory.vault, _column, Memory.key, where=_live, name=_name))
_held = peewee.SQL(f"status = 'quarantined' AND {LIVE}")
Memory.add_index(Memory.index(Memory.key, where=_held, name="memories_quarantined"))
Memory.add_index(Memory.index(Memory.changed, Memory.key, name="memories_changed"))
Memory.add_index(Memory.index(Memory.vault, Memory.same, where=_live, name="memories_same"))
Memory.add_index(
    Memory.index(Memory.vault, Memory.key, where=peewee.SQL(f"{LIVE} AND NOT indexed"), name="memories_bare")
)


class MemoryVersion(Model):
    """A text of a note; the current one, too, stands here."""

    key = peewee.BigIntegerField()
    n = peewee.IntegerField()
    version = peewee.TextField()
    content = peewee.TextField()  # the whole file
    source = peewee.TextField()  # api, agent, disk
    author = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()

    class Meta:
        table_name = "memory_versions"
        primary_key = peewee.CompositeKey("key", "n")


class MemoryWords(Model):
    key = peewee.BigIntegerField(primary_key=True)
    words = peewee.TextField()  # separated by spaces, each once
    weights = peewee.BlobField()  # uint16 of each

    class Meta:
        table_name = "memory_words"


class MemoryChunk(Model):
    key = peewee.BigIntegerField()
    no = peewee.IntegerField()
    start = peewee.IntegerField()  # in the note's body, characters
    stop = peewee.IntegerField()
    vector = peewee.BlobField(null=True)  # float16

    class Meta:
        table_name = "memory_chunks"
        primary_key = peewee.CompositeKey("key", "no")


class MemoryName(Model):
    """What links may call a note by: `kind` as in `pipelines.note_links`."""

    vault = peewee.TextField()
    name = peewee.TextField()
    kind = peewee.SmallIntegerField()
    key = peewee.BigIntegerField(index=True)

    class Meta:
        table_name = "memory_names"
        primary_key = peewee.CompositeKey("name", "vault", "kind", "key")


class MemoryLink(Model):
    key = peewee.BigIntegerField()
    no = peewee.IntegerField()
    target = peewee.TextField()
    path = peewee.TextField(index=True)  # what the target means as a path
    name = peewee.TextField(index=True)  # and as a title
    label = peewee.TextField(null=True)
    type = peewee.TextField()

    class Meta:
        table_name = "memory_links"
        primary_key = peewee.CompositeKey("key", "no")


PARTS = (MemoryWords, MemoryChunk, MemoryName, MemoryLink)  # of a note, made anew with each text
COLUMNS = tuple(name for name in Memory._meta.fields if name != "key")


# --- reading ---


def get(vault: str, path: str) -> Memory:
    """Raises NotFound."""
    found = Memory.fetch(f"vault = ? AND path = ? AND {LIVE}", (vault, path))
    if not found:
        raise NotFound(f"There is no memory {path[:300]} in {vault}", "memory_not_found")
    return found[0]


def by_id(id: str, deleted: bool = False) -> Memory:
    """Raises NotFound. `deleted`: also one that is deleted."""
    found = Memory.fetch("id = ?" + ("" if deleted else f" AND {LIVE}"), (id,))
    if not found:
        raise NotFound(f"Memory {id} not found", "memory_not_found")
    return found[0]


def some(keys: Sequence[int]) -> dict[int, Memory]:
    """{key: memory} of those that are there."""
    if not keys:
        return {}
    marks = ", ".join("?" * len(keys))
    return {row.key: row for row in Memory.fetch(f"key IN ({marks}) AND {LIVE}", tuple(keys))}


def of_ids(ids: Sequence[str]) -> dict[str, Memory]:
    """{id: memory}, deleted ones too."""
    if not ids:
        return {}
    return {row.id: row for row in Memory.fetch(f"id IN ({', '.join('?' * len(ids))})", tuple(ids))}


def text(memory: Memory) -> str:
    """The whole file as it is indexed."""
    return texts([memory])[memory.key]


def texts(found: Sequence[Memory]) -> dict[int, str]:
    """{key: current text}."""
    if not found:
        return {}
    pairs = " OR ".join(["(key = ? AND n = ?)"] * len(found))
    sql = f"SELECT key, content FROM memory_versions WHERE {pairs}"
    return dict(database.execute(sql, [value for row in found for value in (row.key, row.n)]).fetchall())


def known_files(vault: str, paths: Sequence[str] | None = None) -> dict[str, tuple[int, str, int]]:
    """{path: (key, mark, generation)} of the vault's notes, or of those at `paths`."""
    some = "" if paths is None else f" AND path IN ({', '.join('?' * len(paths))})"
    sql = f"SELECT path, key, mark, generation FROM memories WHERE vault = ? AND {LIVE}{some}"
    return {row[0]: tuple(row[1:]) for row in database.execute(sql, (vault, *(paths or ()))).fetchall()}


def number() -> int:
    """The number of the last write."""
    row = database.execute("SELECT number FROM versions WHERE name = ?", (NUMBER,)).fetchone()
    return row[0] if row else 0


def same_text(vault: str, same: str) -> list[Memory]:
    return Memory.fetch(f"vault = ? AND same = ? AND {LIVE} ORDER BY key LIMIT 10", (vault, same))


def count(vault: str) -> int:
    return database.execute(f"SELECT count(*) FROM memories WHERE vault = ? AND {LIVE}", (vault,)).fetchone()[0]


def counts() -> dict[str, int]:
    """{vault: how many notes}."""
    return dict(database.execute(f"SELECT vault, count(*) FROM memories WHERE {LIVE} GROUP BY vault").fetchall())


def bare(vault: str, limit: int) -> list[Memory]:
    """Notes that wait for their vectors."""
    return Memory.fetch(f"vault = ? AND {LIVE} AND NOT indexed ORDER BY key LIMIT ?", (vault, limit))


def chunks(keys: Sequence[int]) -> list[MemoryChunk]:
    marks = ", ".join("?" * len(keys))
    return MemoryChunk.fetch(f"key IN ({marks}) ORDER BY key, no", tuple(keys)) if keys else []


def newest(vault: str, limit: int) -> list[Memory]:
    return Memory.fetch(f"vault = ? AND {LIVE} ORDER BY updated_at DESC, key DESC LIMIT ?", (vault, limit))


# --- writing, all in the caller's transaction ---


def next_number() -> int:
    """The number of this write; other writers wait for its end."""
    counted = "ON CONFLICT (name) DO UPDATE SET number = versions.number + 1"
    sql = f"INSERT INTO versions (name, number) VALUES (?, 1) {counted} RETURNING number"
    return database.execute(sql, (NUMBER,)).fetchone()[0]


def clear_parts(keys: Sequence[int]) -> None:
    for at in range(0, len(keys), KEYS_AT_ONCE):
        part = tuple(keys[at : at + KEYS_AT_ONCE])
        for table in PARTS:
            database.execute(f"DELETE FROM {table._meta.table_name} WHERE key IN ({', '.join('?' * len(part))})", part)


def forget(keys: Sequence[int], moment: int, number: int) -> None:
    """They are deleted; rows and history stay."""
    clear_parts(keys)
    for key in keys:
        sql = "UPDATE memories SET deleted_at = ?, indexed = ?, changed = ? WHERE key = ?"
        database.execute(sql, (moment, False, number, key))


def set_vectors(rows: Iterable[tuple[int, int, bytes]], keys: Sequence[int], number: int) -> None:
    """`rows`: (key, passage, vector)."""
    for key, no, vector in rows:
        database.execute("UPDATE memory_chunks SET vector = ? WHERE key = ? AND no = ?", (vector, key, no))
    for key in keys:
        database.execute("UPDATE memories SET indexed = ?, changed = ? WHERE key = ?", (True, number, key))


def drop_vectors(vault: str, limit: int) -> int:
    """Notes of the vault wait for vectors again, at most `limit` of them; how many did not before."""
    found = Memory.fetch(f"vault = ? AND {LIVE} AND indexed ORDER BY key LIMIT ?", (vault, limit))
    keys = tuple(memory.key for memory in found)
    if keys:
        marks, number = ", ".join("?" * len(keys)), next_number()
        database.execute(f"UPDATE memory_chunks SET vector = NULL WHERE key IN ({marks})", keys)
        sql = f"UPDATE memories SET indexed = ?, changed = ? WHERE key IN ({marks})"
        database.execute(sql, (False, number, *keys))
    return len(keys)
