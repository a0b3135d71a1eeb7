"""What was learned by asking providers: their models, and whether their keys work."""

from __future__ import annotations

from typing import Any

import peewee

from models import database
from models.base import JSONField, Model, dumps, new_id, now_ms
from models.versions import bump

FORGET_MS = 3_600_000  # what nobody came to read


class ProviderState(Model):
    provider_id = peewee.TextField(primary_key=True)
    models = JSONField(null=True)  # as listed last: [{id, name, description, reasoning}]
    fetched_at = peewee.BigIntegerField(null=True)
    checked_at = peewee.BigIntegerField(null=True)  # also when the listing failed
    checks = peewee.IntegerField(default=0)  # how often it was asked for its models
    error = peewee.TextField(null=True)  # of the last time
    last_test = JSONField(null=True)  # {ok, at, latencyMs, error}

    class Meta:
        table_name = "provider_states"


class ProviderTest(Model):
    """A test that somebody waits for."""

    id = peewee.TextField(primary_key=True)
    provider_id = peewee.TextField()
    model = peewee.TextField(null=True)  # null: list the models
    answer = JSONField(null=True)
    created_at = peewee.BigIntegerField(index=True)

    class Meta:
        table_name = "provider_tests"


def states() -> dict[str, ProviderState]:
    """{provider id: what is known}, of those that were asked."""
    return {row.provider_id: row for row in ProviderState.fetch("1 = 1", ())}


def state(provider_id: str) -> ProviderState:
    found = ProviderState.fetch("provider_id = ?", (provider_id,))
    return found[0] if found else ProviderState(provider_id=provider_id)


def first_models() -> dict[str, str]:
    """{id: the first model it listed} of custom providers."""
    found = ProviderState.fetch("provider_id LIKE 'custom-%' AND models IS NOT NULL", ())
    return {row.provider_id: row.models[0]["id"] for row in found if row.models}


def listed(provider_id: str, models: list[dict[str, Any]] | None, error: str | None) -> None:
    """Notes a listing, or why there is none; in the enclosing transaction."""
    now, found = now_ms(), models is not None
    row = {"models": dumps(models) if found else None, "fetched_at": now if found else None}
    sql = (
        "INSERT INTO provider_states (provider_id, models, fetched_at, checked_at, checks, error)"
        " VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (provider_id) DO UPDATE SET"
        " models = coalesce(excluded.models, provider_states.models),"
        " fetched_at = coalesce(excluded.fetched_at, provider_states.fetched_at),"
        " checked_at = excluded.checked_at, checks = provider_states.checks + 1, error = excluded.error"
    )
    database.execute(sql, (provider_id, *row.values(), now, error))
    if found and provider_id.startswith("custom-"):
        bump("providers")  # its default is its first model


def ask(provider_id: str, model: str | None) -> str:
    """A test to be answered; returns its id."""
    old = now_ms() - FORGET_MS
    ProviderTest.delete().where(ProviderTest.created_at < old).execute()
    made = ProviderTest.create(id=new_id("tst_"), provider_id=provider_id, model=model, created_at=now_ms())
    return made.id


def asked(test_id: str) -> ProviderTest | None:
    """The test, unless nobody waits for it any more."""
    found = ProviderTest.fetch("id = ?", (test_id,))
    return found[0] if found else None


def answer(test: ProviderTest, result: dict[str, Any]) -> None:
    """Stores the result for who waits and for who looks later."""
    ProviderTest.update(answer=result).where(ProviderTest.id == test.id).execute()
    last = {"ok": result["ok"], "at": result["checkedAt"], "latencyMs": result["latencyMs"], "error": result["error"]}
    sql = (
        "INSERT INTO provider_states (provider_id, checks, last_test) VALUES (?, 0, ?)"
        " ON CONFLICT (provider_id) DO UPDATE SET last_test = excluded.last_test"
    )
    database.execute(sql, (test.provider_id, dumps(last)))


def withdraw(test_id: str) -> None:
    """Nobody waits for the answer any more, or it has been read."""
    ProviderTest.delete().where(ProviderTest.id == test_id).execute()


def forget(provider_id: str) -> None:
    """What was learned of it is no longer true."""
    for table in (ProviderState, ProviderTest):
        table.delete().where(table.provider_id == provider_id).execute()
