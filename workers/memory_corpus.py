"""The notes in memory, kept up to date: every search first takes in what has been written since the last one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from models import database, memories
from models.memories import COLUMNS
from pipelines.corpus import Corpus, Entry
from workers.clients import embeddings

BATCH = 1000  # notes read at once
LAST = 2**62  # key
READ = ("key", *COLUMNS)
FACETS = ("category", "type", "directory")


class Kept:
    """One per process. Nothing is read before the first search."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._corpus: Corpus | None = None
        self._of: tuple[Any, ...] = ()
        self._seen = (0, LAST)  # (number of the write, key) that was read last

    @contextmanager
    def using(self, embedder: embeddings.Embedder | None) -> Iterator[Corpus]:
        """The notes as of now, with the vectors of that embedder; for the block nobody changes them.

        Raises Unavailable.
        """
        with self._lock, database.connection():
            of = (database.db.obj, embedder)
            if self._corpus is None or self._of != of or self._corpus.worn:
                self._corpus, self._of, self._seen = Corpus(embedder.dimensions if embedder else 1), of, (0, LAST)
            self._read_on()
            yield self._corpus

    def _read_on(self) -> None:
        newest = memories.number()
        while self._seen[0] < newest:
            rows = _written_after(self._seen, newest)
            _take_in(self._corpus, rows)
            self._seen = (rows[-1]["changed"], rows[-1]["key"]) if len(rows) == BATCH else (newest, LAST)
            time.sleep(0)  # others of this process may go on


def _written_after(seen: tuple[int, int], newest: int) -> list[dict[str, Any]]:
    condition = "(changed, key) > (?, ?) AND changed <= ? ORDER BY changed, key LIMIT ?"
    sql = f"SELECT {', '.join(READ)} FROM memories WHERE {condition}"
    return database.rows(sql, (*seen, newest, BATCH))


def _take_in(corpus: Corpus, rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        if row["deleted_at"]:
            corpus.remove(row["key"])
    live = [row for row in rows if not row["deleted_at"]]
    if not live:
        return
    keys = [row["key"] for row in live]
    marks = ", ".join("?" * len(keys))
    sql = f"SELECT key, words, weights FROM memory_words WHERE key IN ({marks})"
    words = {row[0]: row[1:] for row in database.execute(sql, keys).fetchall()}
    vectors = _vectors(keys, corpus.vectors.values.shape[1])
    corpus.add([_entry(row, words.get(row["key"], ("", b"")), vectors.get(row["key"])) for row in live])


def _vectors(keys: Sequence[int], width: int) -> dict[int, np.ndarray]:
    """{key: one row per passage}; those that another model has made are left out."""
    marks = ", ".join("?" * len(keys))
    sql = f"SELECT key, vector FROM memory_chunks WHERE key IN ({marks}) AND vector IS NOT NULL ORDER BY key, no"
    found: dict[int, list[bytes]] = {}
    for key, vector in database.execute(sql, keys).fetchall():
        found.setdefault(key, []).append(bytes(vector))
    whole = {key: b"".join(parts) for key, parts in found.items() if all(len(part) == 2 * width for part in parts)}
    return {key: np.frombuffer(data, np.float16).reshape(-1, width).astype(np.float32) for key, data in whole.items()}


def _entry(row: dict[str, Any], words: tuple[str, bytes], vectors: np.ndarray | None) -> Entry:
    tags = memories.Memory.tags.python_value(row["tags"])
    facets = [(name, row[name]) for name in FACETS if row[name]] + [("tag", tag) for tag in tags]
    return Entry(
        key=row["key"],
        vault=row["vault"],
        path=row["path"],
        moment=row["updated_at"],
        date=row["valid_from"] or row["created_at"],
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        status=row["status"],
        usefulness=row["usefulness"],
        facets=frozenset(facets),
        words=words[0].split(),
        weights=np.frombuffer(bytes(words[1]), np.uint16),
        vectors=vectors,
    )


kept = Kept()
