"""The outbox: a row per doorbell that must ring, written with the change it announces, gone when answered.

A message is only "look at this row": it may ring never, once or often. The row stays until the claim that
answers it deletes it, so a message lost by the queue is rung again, after growing gaps.
"""

from __future__ import annotations

import peewee

from models import database
from models.base import Model

FIRST_GAP_MS = 10_000  # until an unanswered doorbell rings again; doubles each time
LONGEST_GAP_MS = 300_000
GRACE_MS = 1_000  # the committing process rings by itself; the relay steps in after this


class Outbox(Model):
    id = peewee.BigAutoField()
    actor = peewee.TextField()  # name of the Dramatiq actor
    object_id = peewee.TextField()  # the id that the message carries
    ref = peewee.TextField(default="")  # which row of the object waits: "{epoch}.{n}" of a visit
    not_before = peewee.BigIntegerField(index=True)  # ms, the database's clock
    rings = peewee.IntegerField(default=0)

    class Meta:
        table_name = "outbox"
        indexes = ((("object_id", "ref"), False),)


def add(actor: str, object_id: str, ref: str = "", delay_ms: int = GRACE_MS) -> None:
    """One more doorbell in the enclosing transaction."""
    database.execute(
        f"INSERT INTO outbox (actor, object_id, ref, not_before, rings) VALUES (?, ?, ?, {database.now_sql()} + ?, 0)",
        (actor, object_id, ref, delay_ms),
    )


def answered(object_id: str, ref: str) -> None:
    """The row was claimed: its doorbell need not ring any more."""
    database.execute("DELETE FROM outbox WHERE object_id = ? AND ref = ?", (object_id, ref))


def stands(object_id: str, ref: str) -> bool:
    """Whether the doorbell still waits to be answered."""
    sql = "SELECT 1 FROM outbox WHERE object_id = ? AND ref = ?"
    return database.execute(sql, (object_id, ref)).fetchone() is not None


def withdraw(actor: str, object_id: str) -> None:
    """Nothing of the object waits for that actor any more."""
    database.execute("DELETE FROM outbox WHERE object_id = ? AND actor = ?", (object_id, actor))


def due(limit: int = 500) -> list[dict]:
    """`[{id, actor, object_id, rings}]` whose time has come, oldest first."""
    return database.rows(
        f"SELECT id, actor, object_id, rings FROM outbox WHERE not_before <= {database.now_sql()}"
        " ORDER BY not_before LIMIT ?",
        (limit,),
    )


def rung(rows: list[dict]) -> None:
    """Moves each rung row's next ring away: 10 s, 20 s, 40 s ... 5 min."""
    for row in rows:
        gap = min(FIRST_GAP_MS * 2 ** row["rings"], LONGEST_GAP_MS)
        database.execute(
            f"UPDATE outbox SET rings = rings + 1, not_before = {database.now_sql()} + ? WHERE id = ?", (gap, row["id"])
        )


def postpone(rows: list[dict]) -> None:
    """Their messages are still queued, so another ring would only make the queue longer."""
    for row in rows:
        sql = f"UPDATE outbox SET not_before = {database.now_sql()} + ? WHERE id = ?"
        database.execute(sql, (FIRST_GAP_MS, row["id"]))


def ring_again(most: int | None = None) -> None:
    """Messages were lost: the oldest doorbells without an answer, at most so many, ring as if for the first time.

    So they ring at once, whatever is queued, and their gaps do not grow with the workers that die under them.
    """
    oldest = "SELECT id FROM outbox WHERE rings > 0 ORDER BY id" + ("" if most is None else f" LIMIT {most:d}")
    database.execute(f"UPDATE outbox SET rings = 0, not_before = {database.now_sql()} WHERE id IN ({oldest})")


def waiting() -> int:
    """How many doorbells are due and have not rung once."""
    return database.execute(
        f"SELECT count(*) FROM outbox WHERE rings = 0 AND not_before <= {database.now_sql()}"
    ).fetchone()[0]


def standing(object_id: str) -> tuple[int, int]:
    """(how many doorbells are older than the object's, up to 1000; for how many ms one of its own should have rung)."""
    overdue = f"max(CASE WHEN rings = 0 THEN {database.now_sql()} - not_before ELSE 0 END)"
    sql = (
        f"WITH mine AS (SELECT min(id) AS id, {overdue} AS overdue FROM outbox WHERE object_id = ?)"
        " SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox o WHERE o.id < mine.id LIMIT 1000) older), overdue"
        " FROM mine"
    )
    older, overdue_ms = database.execute(sql, (object_id,)).fetchone()
    return older, max(overdue_ms or 0, 0)
