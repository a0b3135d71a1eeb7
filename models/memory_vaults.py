"""Vaults: what SQL knows of the folders of notes. Writers are in the caller's transaction."""

from __future__ import annotations

import peewee

from models import database
from models.base import JSONField, Model, now_ms


class Vault(Model):
    name = peewee.TextField(primary_key=True)
    generation = peewee.IntegerField(default=1)  # bumped by a full rebuild; notes of an older one are read again
    problems = JSONField(default=list)  # of files that are no notes
    rebuilt_at = peewee.BigIntegerField(null=True)
    embedder = peewee.TextField(null=True)  # the name of the model that its vectors are of

    class Meta:
        table_name = "memory_vaults"


def every() -> list[Vault]:
    return Vault.fetch("1 = 1 ORDER BY name", ())


def generation(name: str) -> int:
    """0 if nothing is known of the vault."""
    row = database.execute("SELECT generation FROM memory_vaults WHERE name = ?", (name,)).fetchone()
    return row[0] if row else 0


def embedder(name: str) -> str | None:
    """The name of the model that the vault's vectors are of."""
    row = database.execute("SELECT embedder FROM memory_vaults WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def begin(name: str) -> int:
    """Makes its row if there is none; its generation."""
    sql = "INSERT INTO memory_vaults (name, generation, problems) VALUES (?, 1, '[]') ON CONFLICT (name) DO NOTHING"
    database.execute(sql, (name,))
    return generation(name)


def next_generation(name: str) -> None:
    """Every note of the vault is to be read again."""
    sql = "UPDATE memory_vaults SET generation = generation + 1, rebuilt_at = ? WHERE name = ?"
    database.execute(sql, (now_ms(), name))


def set_embedder(name: str, model: str) -> None:
    database.execute("UPDATE memory_vaults SET embedder = ? WHERE name = ?", (model, name))


def note_problems(name: str, problems: str) -> None:
    """`problems`: JSON of why files are no notes."""
    sql = "UPDATE memory_vaults SET problems = ? WHERE name = ? AND problems <> ?"
    database.execute(sql, (problems, name, problems))
