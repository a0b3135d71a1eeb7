"""Full-text search over runs and chats: FTS5 on SQLite, tsvector on PostgreSQL, with the same answers.

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
    "sqlite": "CREATE VIRTUAL TABLE IF NOT EXISTS {name} USING fts5("
    "run_id UNINDEXED, words, tokenize = 'ascii', prefix = '2 3 4 5 6 7 8', detail = none)",
    "postgres": "CREATE TABLE IF NOT EXISTS {name} (run_id text PRIMARY KEY, words tsvector NOT NULL)",
}
INDEX = {"postgres": "CREATE INDEX IF NOT EXISTS {name}_words ON {name} USING gin (words) WITH (fastupdate = off)"}
WRITE = {
    "sqlite": "INSERT OR REPLACE INTO {name} (run_id, words, rowid) VALUES (?, ?, ?)",
    "postgres": "INSERT INTO {name} (run_id, words) VALUES (?, array_to_tsvector(string_to_array(?, ' ')))"
    " ON CONFLICT (run_id) DO UPDATE SET words = excluded.words",
}


class TextSearch:
    """One table of texts, `run_id` being the id of what a text belongs to."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create(self) -> None:
        """The table, for the migration."""
        self._execute(TABLE)
        self._execute(INDEX)

    def _execute(self, statements: dict[str, str], params: tuple = ()) -> None:
        sql = statements.get(database.dialect())
        if sql is not None:
            database.execute(sql.format(name=self.name), params)

    def index(self, id: str, texts: Iterable[str | None]) -> None:
        """Makes it findable by the words of its id and of `texts`, and by no others, in the enclosing transaction."""
        found = dict.fromkeys(word for text in (id, *texts) if text for word in words(text))
        row = (id, " ".join(found))
        self._execute(WRITE, (*row, rowid(id)) if database.dialect() == "sqlite" else row)

    def remove(self, id: str) -> None:
        """Forgets it, in the enclosing transaction."""
        column, value = ("rowid", rowid(id)) if database.dialect() == "sqlite" else ("run_id", id)
        database.execute(f"DELETE FROM {self.name} WHERE {column} = ?", (value,))

    def matching(self, query: str, before: str | None = None) -> tuple[list[str], list, str]:
        """(conditions on the table, their parameters, the column that orders it as the ids are).

        Every word of `query` must occur as the beginning of a word; `before` is an id. No words match nothing.
        """
        found = words(query)
        if not found:
            return ["1 = 0"], [], "run_id"
        if database.dialect() == "postgres":
            condition, order = f"{self.name}.words @@ to_tsquery('simple', ?)", "run_id"
            terms = " & ".join(f"{word}:*" for word in found)
        else:
            condition, order = f"{self.name} MATCH ?", "rowid"
            terms = " AND ".join(f'"{word}"*' for word in found)
        if before is None:
            return [condition], [terms], order
        place = before if order == "run_id" else rowid(before)
        return [condition, f"{self.name}.{order} < ?"], [terms, place], order

    def ids(self, query: str) -> tuple[str, list]:
        """A subselect of all the ids that match, with its parameters."""
        where, params, _ = self.matching(query)
        return f"SELECT run_id FROM {self.name} WHERE {' AND '.join(where)}", params


RUNS = TextSearch("run_search")
CHATS = TextSearch("chat_search")  # sessions by their title, messages by what was said


def words(text: str) -> list[str]:
    """The words of a text as they are stored and looked for."""
    plain = unicodedata.normalize("NFKD", text[:LONGEST_TEXT]).casefold()[:LONGEST_TEXT]
    bare = plain if plain.isascii() else "".join(char for char in plain if not unicodedata.combining(char))
    return [word[:LONGEST_WORD] for word in WORD.findall(bare)]


def rowid(id: str) -> int:
    """A number that orders as the id does: milliseconds since 2020 and 22 random bits of its ULID.

    FTS5 walks its rows in this order, so a page costs the same however many match. Two ids of one millisecond
    get the same number once in four million pairs; the later one then takes the other's place in the search.
    """
    value = int(ULID.from_str(id.rpartition("_")[2].upper()))
    return (((value >> 80) - EPOCH_MS) << 22) | ((value >> 58) & 0x3FFFFF)
