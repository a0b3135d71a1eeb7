"""Pipeline files as runs began with them, once per content hash."""

from __future__ import annotations

import peewee

from models import database
from models.base import Model, now_ms


class Snapshot(Model):
    hash = peewee.TextField(primary_key=True)  # sha256: of the file's bytes
    pipeline_id = peewee.TextField()
    text = peewee.TextField()
    created_at = peewee.BigIntegerField()

    class Meta:
        table_name = "snapshots"


def keep(hash: str, pipeline_id: str, text: str) -> None:
    """Stores the text unless that content is stored already."""
    sql = (
        "INSERT INTO snapshots (hash, pipeline_id, text, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (hash) DO NOTHING"
    )
    database.execute(sql, (hash, pipeline_id, text, now_ms()))


def text_of(hash: str) -> str:
    """The text that a run pinned."""
    return Snapshot.fetch("hash = ?", (hash,))[0].text
