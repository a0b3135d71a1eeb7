"""Full-text search over runs: FTS5 on SQLite, tsvector on PostgreSQL, the same words and the same answers on both.

The words are cut here, not by the database (FTS5's `ascii` tokenizer leaves all other characters alone), so that both
agree: runs of letters and digits, without case and accents.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime

from ulid import ULID

from models import database

WORD = re.compile(r"[^\W_]+")
LONGEST_TEXT = 50_000  # characters of each text that are searched
LONGEST_WORD = 64
EPOCH_MS = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)

TABLE = {
    "sqlite": "CREATE VIRTUAL TABLE IF NOT EXISTS run_search USING fts5("
    "run_id UNINDEXED, words, tokenize = 'ascii', prefix = '2 3 4 5 6 7 8', detail = none)",
    "postgres": "CREATE TABLE IF NOT EXISTS run_search (run_id text PRIMARY KEY, words tsvector NOT NULL)",
}
INDEX = {
    "postgres": "CREATE INDEX IF NOT EXISTS run_search_words ON run_search USING gin (words) WITH (fastupdate = off)"
}
WRITE = {
    "sqlite": "INSERT OR REPLACE INTO run_search (run_id, words, rowid) VALUES (?, ?, ?)",
    "postgres": "INSERT INTO run_search (run_id, words) VALUES (?, array_to_tsvector(string_to_array(?, ' ')))"
    " ON CONFLICT (run_id) DO UPDATE SET words = excluded.words",
}


def create() -> None:
    """The table, for the migration."""
    kind = database.dialect()
    database.execute(TABLE[kind])
    if kind in INDEX:
        database.execute(INDEX[kind])


def index(run_id: str, texts: Iterable[str | None]) -> None:
    """Makes the run findable by the words of its id and of `texts`, and by no others, in the enclosing transaction."""
    found = dict.fromkeys(word for text in (run_id, *texts) if text for word in words(text))
    row = (run_id, " ".join(found))
    if database.dialect() == "sqlite":
        row = (*row, rowid(run_id))
    database.execute(WRITE[database.dialect()], row)


def remove(run_id: str) -> None:
    """Forgets the run, in the enclosing transaction."""
    if database.dialect() == "sqlite":
        database.execute("DELETE FROM run_search WHERE rowid = ?", (rowid(run_id),))
    else:
        database.execute("DELETE FROM run_search WHERE run_id = ?", (run_id,))


def matching(query: str, before: str | None) -> tuple[list[str], list, str]:
    """(conditions on table `run_search`, their parameters, the column that orders it as the ids of the runs are).

    Every word of `query` must occur as the beginning of a word; `before` is the id of a run. No words match nothing.
    """
    found = words(query)
    if not found:
        return ["1 = 0"], [], "run_id"
    if database.dialect() == "postgres":
        terms = " & ".join(f"{word}:*" for word in found)
        bound = ["run_search.run_id < ?"] if before else []
        return ["run_search.words @@ to_tsquery('simple', ?)", *bound], [terms, *([before] if before else [])], "run_id"
    terms = " AND ".join(f'"{word}"*' for word in found)
    bound = ["run_search.rowid < ?"] if before else []
    return ["run_search MATCH ?", *bound], [terms, *([rowid(before)] if before else [])], "rowid"


def words(text: str) -> list[str]:
    """The words of a text as they are stored and looked for."""
    plain = unicodedata.normalize("NFKD", text[:LONGEST_TEXT]).casefold()[:LONGEST_TEXT]
    bare = plain if plain.isascii() else "".join(char for char in plain if not unicodedata.combining(char))
    return [word[:LONGEST_WORD] for word in WORD.findall(bare)]


def rowid(run_id: str) -> int:
    """A number that orders as the id does: milliseconds since 2020 and 22 random bits of its ULID.

    FTS5 walks its rows in this order, so a page costs the same however many runs match. Two runs of one millisecond
    get the same number once in four million pairs; the later one then takes the other's place in the search.
    """
    value = int(ULID.from_str(run_id.removeprefix("run_").upper()))
    return (((value >> 80) - EPOCH_MS) << 22) | ((value >> 58) & 0x3FFFFF)
