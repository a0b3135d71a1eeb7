"""Uses of secrets: when a value last left the store, and a line of the audit log for each that somebody was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models import audit, database, secrets


def note(named: Mapping[str, str], by: str, holder: str, **where: Any) -> None:
    """`named`: {secret id: name}; `by` was given them for `holder`, such as a run. One line for each and holder."""
    with database.transaction():
        database.serialize()  # before any row is locked, as whoever changes secrets does
        secrets.used(list(named), by)
        for secret_id, name in named.items():
            if secrets.first_use(secret_id, holder):
                audit.record("secret.use", "secret", secret_id, audit.Actor(by), detail=where | {"name": name})
