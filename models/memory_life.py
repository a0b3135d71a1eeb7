"""What happens to memories beside their text: votes, recalls, questions without an answer, proposals, recall tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

from models import database, memories
from models.base import JSONField, Model, new_id, now_ms
from models.errors import NotFound
from models.memories import Memory

GAP, CHANGESET = "gap_", "chg_"
VOTE_HALF_LIFE_DAYS = 180
STIFFNESS = 2.0  # votes that a memory begins with, for neither side
EVERYWHERE = "*"  # the vault of a question about all
SHOWN_GAP = ("id", "question", "count", "first_at", "last_at", "resolved_at", "task_id")


class MemoryVote(Model):
    key = peewee.BigIntegerField()
    voter = peewee.TextField()  # run and agent, or a person's token
    useful = peewee.BooleanField()
    created_at = peewee.BigIntegerField()

    class Meta:
        table_name = "memory_votes"
        primary_key = peewee.CompositeKey("key", "voter")


class MemoryRecall(Model):
    """A memory that was shown to an agent. `ref`: which attempt or answer of the run or chat; `how`: prompt, tool."""

    holder = peewee.TextField()
    ref = peewee.TextField()
    key = peewee.BigIntegerField(index=True)
    how = peewee.TextField()
    score = peewee.FloatField()
    passage = peewee.TextField()
    created_at = peewee.BigIntegerField()

    class Meta:
        table_name = "memory_recalls"
        primary_key = peewee.CompositeKey("holder", "ref", "key")


class MemoryGap(Model):
    id = peewee.TextField(primary_key=True)
    vault = peewee.TextField()
    same = peewee.TextField()  # the question without case and spacing
    question = peewee.TextField()
    count = peewee.IntegerField(default=1)
    first_at = peewee.BigIntegerField()
    last_at = peewee.BigIntegerField()
    resolved_at = peewee.BigIntegerField(null=True)
    task_id = peewee.TextField(null=True)

    class Meta:
        table_name = "memory_gaps"
        indexes = ((("vault", "same"), True),)


class Changeset(Model):
    """Proposed changes of a vault: `[{path, version, content, reason}]`; none is made before it is applied."""

    id = peewee.TextField(primary_key=True)
    vault = peewee.TextField(index=True)
    status = peewee.TextField()  # queued, proposed, applied, empty
    changes = JSONField(default=list)
    created_by = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()
    applied_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "memory_changesets"


class RecallTests(Model):
    vault = peewee.TextField(primary_key=True)
    tests = JSONField(default=list)  # [{query, expect: [path]}]
    updated_at = peewee.BigIntegerField()

    class Meta:
        table_name = "memory_recall_tests"


# --- usefulness ---


def vote(memory: Memory, voter: str, useful: bool) -> float:
    """The memory's usefulness with this vote, in the place of the voter's last one; in the caller's transaction."""
    now, number = now_ms(), memories.next_number()  # which also makes voters wait for each other
    sql = (
        "INSERT INTO memory_votes (key, voter, useful, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (key, voter)"
        " DO UPDATE SET useful = excluded.useful, created_at = excluded.created_at"
    )
    database.execute(sql, (memory.key, voter, useful, now))
    votes = database.execute("SELECT useful, created_at FROM memory_votes WHERE key = ?", (memory.key,)).fetchall()
    usefulness = weighed([(bool(useful), now - at) for useful, at in votes])
    sql = "UPDATE memories SET usefulness = ?, changed = ? WHERE key = ?"
    database.execute(sql, (usefulness, number, memory.key))
    return usefulness


def weighed(votes: Sequence[tuple[bool, int]]) -> float:
    """-1..1 from `[(useful, age in ms)]`; old votes fade."""
    weights = [(1 if useful else -1, 0.5 ** (age / (VOTE_HALF_LIFE_DAYS * 86_400_000))) for useful, age in votes]
    total = sum(weight for _, weight in weights)
    return sum(sign * weight for sign, weight in weights) / (total + STIFFNESS)


# --- recalls ---


def recalled(holder: str, ref: str, how: str, found: Sequence[tuple[int, float, str]]) -> None:
    """`found`: (key, score, passage). In the caller's transaction; the same again counts once."""
    now = now_ms()
    for key, score, passage in found:
        sql = (
            "INSERT INTO memory_recalls (holder, ref, key, how, score, passage, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (holder, ref, key) DO NOTHING"
        )
        if database.execute(sql, (holder, ref, key, how, score, passage, now)).rowcount:
            database.execute("UPDATE memories SET recalls = recalls + 1 WHERE key = ?", (key,))


def recalls(holder: str, ref: str) -> list[MemoryRecall]:
    """Best first."""
    return MemoryRecall.fetch("holder = ? AND ref = ? ORDER BY score DESC, key", (holder, ref))


# --- gaps ---


def note_gap(vault: str, same: str, question: str) -> None:
    """A question without an answer; asked again, it is counted and open again. In the caller's transaction."""
    now = now_ms()
    sql = (
        "INSERT INTO memory_gaps (id, vault, same, question, count, first_at, last_at) VALUES (?, ?, ?, ?, 1, ?, ?)"
        " ON CONFLICT (vault, same) DO UPDATE SET count = memory_gaps.count + 1, last_at = excluded.last_at,"
        " resolved_at = NULL"
    )
    database.execute(sql, (new_id(GAP), vault, same, question, now, now))


def gap(id: str) -> MemoryGap:
    """Raises NotFound."""
    found = MemoryGap.fetch("id = ?", (id,))
    if not found:
        raise NotFound(f"Gap {id} not found", "gap_not_found")
    return found[0]


def gaps(limit: int, cursor: tuple[int, str] | None, vaults: Sequence[str] | None) -> list[MemoryGap]:
    """Open ones, the latest first."""
    where, params = ["resolved_at IS NULL"], []
    if vaults is not None:
        where.append(f"vault IN ({', '.join('?' * len(vaults)) or 'NULL'})")
        params += vaults
    if cursor:
        where.append("(last_at, id) < (?, ?)")
        params += cursor
    return MemoryGap.fetch(f"{' AND '.join(where)} ORDER BY last_at DESC, id DESC LIMIT ?", (*params, limit))


def gap_shown(row: MemoryGap) -> dict[str, Any]:
    vault = None if row.vault == EVERYWHERE else row.vault
    return {"agent_id": vault} | {name: getattr(row, name) for name in SHOWN_GAP}


def resolve(row: MemoryGap, task_id: str | None = None) -> None:
    database.execute(
        "UPDATE memory_gaps SET resolved_at = ?, task_id = coalesce(?, task_id) WHERE id = ?",
        (now_ms(), task_id, row.id),
    )


# --- proposals and tests ---


def changeset(id: str) -> Changeset:
    """Raises NotFound."""
    found = Changeset.fetch("id = ?", (id,))
    if not found:
        raise NotFound(f"Change set {id} not found", "changeset_not_found")
    return found[0]


def recall_tests(vault: str) -> list[dict[str, Any]]:
    found = RecallTests.fetch("vault = ?", (vault,))
    return found[0].tests if found else []


def set_recall_tests(vault: str, tests: list[dict[str, Any]]) -> None:
    RecallTests.delete().where(RecallTests.vault == vault).execute()
    RecallTests.add({"vault": vault, "tests": tests, "updated_at": now_ms()})
