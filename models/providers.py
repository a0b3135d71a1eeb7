"""Model providers as people have set them up: rows over what the environment says. Keys are encrypted.

A key is bound to the origin of the address it was given for: it decrypts for that origin only, and is dropped when the
address moves to another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import peewee

from models import addresses, catalogue, crypto, database, provider_checks, redaction
from models.base import JSONField, Model, now_ms
from models.catalogue import ProviderInfo
from models.errors import ConfigError, Conflict, NotFound, Unreadable
from models.versions import Kept, bump

NAME = "providers"  # of their version


class StoredProvider(Model):
    id = peewee.TextField(primary_key=True)
    name = peewee.TextField(null=True)  # of a custom one
    enabled = peewee.BooleanField(default=True)
    key = peewee.TextField(null=True)  # encrypted
    key_id = peewee.TextField(null=True)  # the key that `key` is encrypted under
    key_origin = peewee.TextField(null=True)  # the only place that `key` may be sent to
    base_url = peewee.TextField(null=True)
    extra = JSONField(default=dict)  # {variable: value}
    default_model = peewee.TextField(null=True)
    max_concurrency = peewee.IntegerField(null=True)
    requests_per_minute = peewee.IntegerField(null=True)
    created_at = peewee.BigIntegerField()
    updated_at = peewee.BigIntegerField()

    class Meta:
        table_name = "providers"


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider as far as it is known: `row` None: never saved; `unreadable`: its key does not decrypt."""

    info: ProviderInfo
    row: StoredProvider | None = None
    key: str | None = None
    unreadable: bool = False
    first_model: str | None = None  # that a custom one listed

    @property
    def default_model(self) -> str | None:
        return (self.row and self.row.default_model) or self.info.default_model or self.first_model


# --- reading ---


def known() -> dict[str, Provider]:
    """{id: provider} of the catalogue's and the custom ones, in that order; at most a second old."""
    return _kept.get()


def load() -> dict[str, Provider]:
    """The same as stored now. From here on this process writes none of their keys anywhere."""
    rows = {row.id: row for row in StoredProvider.fetch("1 = 1 ORDER BY id", ())}
    customs = (catalogue.custom(row.id, row.name) for row in rows.values() if row.id.startswith("custom-"))
    first = provider_checks.first_models() if rows else {}
    found = [_opened(info, rows.get(info.id), first.get(info.id)) for info in (*catalogue.catalogue(), *customs)]
    redaction.learn({provider.info.key_variable: provider.key for provider in found if provider.key})
    return {provider.info.id: provider for provider in found}


_kept: Kept[dict[str, Provider]] = Kept(NAME, load)


def _opened(info: ProviderInfo, row: StoredProvider | None, first_model: str | None) -> Provider:
    key, unreadable = None, False
    if row is not None and row.key is not None:
        try:
            key = crypto.ring().decrypt(row.key, *_place(row))
        except Unreadable:  # shown as such; a call fails
            unreadable = True
    return Provider(info, row, key, unreadable, first_model)


def _place(row: StoredProvider) -> tuple[str, str, str]:
    return "providers", f"{row.id} {row.key_origin}", "key"


def find(provider_id: str) -> Provider:
    """One of the catalogue or a custom one that was made, as stored now. Raises NotFound."""
    found = load().get(provider_id)
    if found is None:
        raise NotFound(f"Provider {provider_id} not found", "provider_not_found")
    return found


# --- writing, all in the caller's transaction ---


@dataclass(frozen=True, slots=True)
class Saved:
    """`changed`: names of columns; `unbound`: the key was dropped because the address moved."""

    changed: list[str]
    unbound: bool


def create(slug: str, name: str, base_url: str, key: str | None) -> str:
    """A custom provider; returns its id. Raises Conflict."""
    provider_id = f"custom-{slug}"
    database.serialize()
    if StoredProvider.fetch("id = ?", (provider_id,)):
        raise Conflict(f"There is a provider {provider_id} already", "provider_exists")
    provider = Provider(catalogue.custom(provider_id, name))
    save(provider, {"name": name, "base_url": base_url}, key)
    return provider_id


def save(provider: Provider, columns: dict[str, Any], key: str | None = None, clear_key: bool = False) -> Saved:
    """Writes the columns that differ. A `key` is bound to the address that holds after this."""
    now = now_ms()
    row = provider.row or StoredProvider(id=provider.info.id, created_at=now)
    changed = [name for name, value in columns.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, columns[name])
    unbound = _settle_key(provider, row, key, clear_key, changed)
    if changed or provider.row is None:
        row.updated_at = now
        row.save(force_insert=provider.row is None)
        _tell()
    return Saved(changed, unbound)


def _settle_key(provider: Provider, row: StoredProvider, key: str | None, clear: bool, changed: list[str]) -> bool:
    """Stores, removes or drops the key; True if it was dropped because it belongs to another origin."""
    origin = origin_of(provider.info, row)
    if key is not None:
        if key != provider.key or row.key_origin != origin:
            _seal(row, key, origin)
            changed.append("api_key")
        return False
    if provider.key is not None and row.key_origin is None and not clear and origin is not None:
        _seal(row, provider.key, origin)  # it was given before there was an address: this is the one
        changed.append("api_key")
        return False
    moved = row.key is not None and row.key_origin != origin
    if row.key is not None and (clear or moved):
        row.key = row.key_id = row.key_origin = None
        changed.append("api_key")
    return moved and not clear


def origin_of(info: ProviderInfo, row: StoredProvider | None) -> str | None:
    """Of the address that holds now; None if there is none."""
    with suppress(ConfigError, ValueError):
        return addresses.origin(addresses.of(info, row and row.base_url, row and row.extra))
    return None


def _seal(row: StoredProvider, key: str, origin: str | None) -> None:
    ring = crypto.ring()
    row.key_id, row.key_origin = ring.newest, origin
    row.key = ring.encrypt(key, *_place(row))


def remove(provider: Provider) -> bool:
    """Forgets what was saved; False if nothing was."""
    if provider.row is None:
        return False
    provider.row.delete_instance()
    _tell()
    return True


def _tell() -> None:
    bump(NAME)
    database.on_commit(_kept.forget)


# --- rotation ---


def under_older_keys() -> tuple[list[str], int]:
    """(the older keys that are still needed, how many rows are under them)."""
    sql = "SELECT key_id, count(*) FROM providers WHERE key_id <> ? GROUP BY key_id ORDER BY key_id"
    found = database.execute(sql, (crypto.ring().newest,)).fetchall()
    return [key_id for key_id, _ in found], sum(count for _, count in found)


def rekey() -> None:
    """Puts every key under the newest one; what does not decrypt is left as it is, and goes on being counted."""
    for row in _under_older_keys():
        with suppress(Unreadable):
            _seal(row, crypto.ring().decrypt(row.key, *_place(row)), row.key_origin)
            row.save()


def _under_older_keys() -> Iterator[StoredProvider]:
    yield from StoredProvider.fetch("key_id <> ? ORDER BY id", (crypto.ring().newest,))
