"""Settings of the whole platform that are changed while it runs; every process sees a change within two seconds."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import peewee

from models import database
from models.base import JSONField, Model, now_ms
from models.errors import Invalid
from models.setting_keys import FAVORITES, KEYS
from models.versions import Kept, bump

NAME = "settings"  # of their version


class StoredSetting(Model):
    """A setting that is not at its default."""

    key = peewee.TextField(primary_key=True)
    value = JSONField()
    updated_at = peewee.BigIntegerField()

    class Meta:
        table_name = "settings"


def get(key: str) -> Any:
    """The value of a setting, at most a second old. It is shared: do not change it."""
    return _kept.get()[key]


def document() -> dict[str, Any]:
    """Every setting as stored now."""
    stored = _stored()
    return {name: stored.get(name, copy.copy(key.default)) for name, key in KEYS.items()}


def favorites() -> list[str]:
    """The models that people have marked."""
    return _stored().get(FAVORITES.name, [])


def _stored() -> dict[str, Any]:
    found = database.execute("SELECT key, value FROM settings").fetchall()
    return {key: orjson.loads(value) for key, value in found}


_kept: Kept[dict[str, Any]] = Kept(NAME, document)


def update(changes: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Stores the values that differ, null goes back to the default, in the enclosing transaction: {key: (old, new)}.

    Raises Invalid with every problem, having written nothing.
    """
    check(changes)
    database.serialize()
    before = document()
    wanted = {name: KEYS[name].default if value is None else value for name, value in changes.items()}
    changed = {name: (before[name], value) for name, value in wanted.items() if before[name] != value}
    for name, (_, value) in changed.items():
        _put(name, value, KEYS[name].default)
    _tell(bool(changed))
    return changed


def check(changes: dict[str, Any]) -> None:
    """Raises Invalid."""
    unknown = {name: ["unknown setting"] for name in changes if name not in KEYS}
    given = {name: value for name, value in changes.items() if value is not None and name in KEYS}
    wrong = {name: [why] for name, value in given.items() if (why := KEYS[name].problem(value))}
    if unknown or wrong:
        text = "; ".join(f"{name}: {reasons[0]}" for name, reasons in (unknown | wrong).items())
        raise Invalid(text, "unknown_setting" if unknown else "invalid_setting", unknown | wrong)


def mark(models: list[str]) -> bool:
    """Stores the favourites in the enclosing transaction; False if they were the same. Raises Invalid."""
    if why := FAVORITES.problem(models):
        raise Invalid(f"favorites: {why}", "invalid_setting", {"favorites": [why]})
    if favorites() == models:
        return False
    _put(FAVORITES.name, models, FAVORITES.default)
    return True


def _put(name: str, value: Any, default: Any) -> None:
    StoredSetting.delete().where(StoredSetting.key == name).execute()
    if value != default:
        StoredSetting.create(key=name, value=value, updated_at=now_ms())


def _tell(changed: bool) -> None:
    if changed:
        bump(NAME)
        database.on_commit(_kept.forget)
