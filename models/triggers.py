"""Triggers: which GitHub events start a pipeline or make a task."""

from __future__ import annotations

from typing import Any

import peewee

from models import database
from models.base import JSONField, Model, new_id, now_ms
from models.errors import NotFound

PREFIX = "trg_"
ONE_AT_A_TIME = "{{repository.full_name}}#{{number}}"
ON_CONFLICT = ("skip", "queue", "cancel_previous")
SHOWN = (
    *("id", "name", "enabled", "built_in", "repositories", "event", "actions", "conditions", "target", "task_template"),
    *("concurrency_key", "on_conflict", "fired", "last_fired_at", "version", "created_at", "updated_at"),
)


class Trigger(Model):
    id = peewee.TextField(primary_key=True)
    name = peewee.TextField()
    enabled = peewee.BooleanField(default=True)
    built_in = peewee.BooleanField(default=False)
    repositories = JSONField(default=list)  # globs; empty: all
    event = peewee.TextField()
    actions = JSONField(default=list)
    conditions = JSONField(default=dict)
    target = JSONField()  # {kind: pipeline or task, pipeline_id?, project_id?, agent_id?, priority?, tags?}
    task_template = peewee.TextField()
    concurrency_key = peewee.TextField(default=ONE_AT_A_TIME)
    on_conflict = peewee.TextField(default="skip")
    fired = peewee.IntegerField(default=0)
    last_fired_at = peewee.BigIntegerField(null=True)
    version = peewee.IntegerField(default=1)
    created_at = peewee.BigIntegerField()
    updated_at = peewee.BigIntegerField()

    class Meta:
        table_name = "github_triggers"
        indexes = ((("event", "enabled"), False),)

    def as_dict(self) -> dict[str, Any]:
        """The Trigger object of the API."""
        return {name: getattr(self, name) for name in SHOWN}


RESOLVE = {
    "built_in": True,
    "target": {"kind": "pipeline", "pipeline_id": "resolve"},
    "task_template": "Resolve {{repository.full_name}}#{{number}}: {{issue.title}}",
}
BUILT_IN = (
    RESOLVE
    | {"id": "issue-resolve", "name": "issue-resolve", "event": "issues", "actions": ["labeled"]}
    | {"conditions": {"labels_any": ["resolve"]}},
    RESOLVE
    | {"id": "issue-resolve-command", "name": "issue-resolve (/resolve)", "event": "issue_comment"}
    | {"actions": ["created"], "conditions": {"command": "/resolve"}},
)


def add_built_in() -> None:
    """The triggers that every installation has, for the migration."""
    now = now_ms()
    for row in BUILT_IN:
        Trigger.insert(row | {"created_at": now, "updated_at": now}).on_conflict_ignore().execute()


def get(id: str) -> Trigger:
    """Raises NotFound."""
    found = Trigger.fetch("id = ?", (id,))
    if not found:
        raise NotFound(f"Trigger {id} not found", "trigger_not_found")
    return found[0]


def page(limit: int, after: str | None) -> list[Trigger]:
    """Up to `limit` triggers by id, later than `after`."""
    return Trigger.fetch("id > ? ORDER BY id LIMIT ?", (after or "", limit))


def listening(event: str) -> list[Trigger]:
    """Those that wait for the event, oldest first."""
    return Trigger.fetch("event = ? AND enabled = ? ORDER BY id", (event, True))


def has_listeners(event: str) -> bool:
    sql = "SELECT 1 FROM github_triggers WHERE event = ? AND enabled = ? LIMIT 1"
    return database.execute(sql, (event, True)).fetchone() is not None


def add(fields: dict[str, Any]) -> Trigger:
    now = now_ms()
    row = {"id": new_id(PREFIX), "created_at": now, "updated_at": now} | fields
    Trigger.insert(row).execute()
    return get(row["id"])


def update(trigger: Trigger, fields: dict[str, Any]) -> list[str]:
    """Changes what differs; returns the names of the changed fields."""
    changed = [name for name, value in fields.items() if getattr(trigger, name) != value]
    for name in changed:
        setattr(trigger, name, fields[name])
    if changed:
        trigger.version, trigger.updated_at = trigger.version + 1, now_ms()
        trigger.save()
    return changed


def count(id: str) -> None:
    """It has fired once more."""
    sql = "UPDATE github_triggers SET fired = fired + 1, last_fired_at = ? WHERE id = ?"
    database.execute(sql, (now_ms(), id))
