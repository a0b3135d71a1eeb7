"""GitHub's triggers: which events start a pipeline or make a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask.views import MethodView

from api import definitions, etags
from api.audited import Entry, recorded
from api.blueprint import Blueprint, needs
from api.paging import CatalogueSchema, decode, link
from api.resources import github_trigger_schemas as schemas
from models import database, deliveries, projects, triggers
from models.errors import Conflict, Invalid, NotFound
from models.triggers import Trigger
from pipelines import github_events, trigger_rules
from workers import triggers as commands

blueprint = Blueprint("github_triggers", "github_triggers", url_prefix="/v1", description="What GitHub's events start")
CHANGES_BY_ITSELF = ("fired", "last_fired_at")


@blueprint.route("/github/triggers")
class GitHubTriggers(MethodView):
    @needs("admin")
    @blueprint.arguments(CatalogueSchema, location="query")
    @blueprint.response(200, schemas.TriggerSchema(many=True))
    def get(self, query):
        """Triggers by id, the built-in ones too"""
        cursor, limit = decode(query["cursor"]), query["limit"]
        page, headers = link(triggers.page(limit + 1, cursor), limit, lambda trigger: trigger.id)
        return [trigger.as_dict() for trigger in page], headers

    @needs("admin")
    @blueprint.arguments(schemas.CreateTriggerSchema, example=schemas.EXAMPLE)
    @blueprint.response(201, schemas.TriggerSchema)
    def post(self, body):
        """Add a trigger"""
        check(body)
        with recorded("github.trigger.create", "github_trigger", name=body["name"]) as entry:
            trigger = triggers.add(body)
            entry.object_id = trigger.id
        shown, headers = answered(trigger)
        return shown, headers | {"Location": f"/v1/github/triggers/{trigger.id}"}


@blueprint.route("/github/triggers/<id:trigger_id>")
class GitHubTriggerById(MethodView):
    @needs("admin")
    @blueprint.response(200, schemas.TriggerSchema)
    @blueprint.errors(404)
    def get(self, trigger_id):
        """One trigger"""
        return answered(triggers.get(trigger_id))

    @needs("admin")
    @blueprint.arguments(schemas.UpdateTriggerSchema, example={"enabled": False})
    @blueprint.response(200, schemas.TriggerSchema)
    @blueprint.errors(404, 412)
    def put(self, body, trigger_id):
        """Change a trigger, or switch it off"""
        check(body)
        with changing(trigger_id, "github.trigger.update") as (trigger, entry):
            entry.detail["fields"] = triggers.update(trigger, body)
            entry.changed = bool(entry.detail["fields"])
        return answered(trigger)

    @needs("admin")
    @blueprint.response(204)
    @blueprint.errors(404, 409, 412)
    def delete(self, trigger_id):
        """Remove a trigger; a built-in one can only be switched off"""
        with changing(trigger_id, "github.trigger.delete") as (trigger, _):
            if trigger.built_in:
                raise Conflict(f"{trigger.name} is built in: disable it", "built_in", allowed=["disable"])
            trigger.delete_instance()


@blueprint.route("/github/triggers/<id:trigger_id>/test")
class GitHubTriggerTest(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.TestTriggerSchema, example={"payload": {"action": "opened"}})
    @blueprint.response(200, schemas.TestedSchema)
    @blueprint.errors(404)
    def post(self, body, trigger_id):
        """Whether a delivery matches, why not, and what would be made of it; starts nothing"""
        return tried(triggers.get(trigger_id), **body)


def tried(trigger: Trigger, delivery: str | None = None, payload: Any = None, event: str | None = None) -> dict:
    if delivery is not None:
        row = deliveries.get(delivery)
        payload, event = deliveries.payload(row), row.event
    facts = github_events.facts(event or trigger.event, payload)
    reasons = trigger_rules.reasons(trigger, facts)
    rendered = {
        "task": trigger_rules.render(trigger.task_template, facts, payload),
        "concurrency_key": trigger_rules.key(trigger, facts, payload),
    }
    return {"matches": not reasons, "reasons": reasons, "trusted": commands.is_trusted(facts), "rendered": rendered}


def check(fields: dict[str, Any]) -> None:
    """Raises Invalid."""
    found = trigger_rules.problems(fields) | _missing(fields.get("target", {}))
    if found:
        raise Invalid("; ".join(f"{path}: {why[0]}" for path, why in found.items()), errors=found)


def _missing(target: dict[str, Any]) -> dict[str, list[str]]:
    """What the target names and is not there."""
    found = {}
    if target.get("kind") == "pipeline" and definitions.latest(target["pipeline_id"]) is None:
        found["target.pipeline_id"] = ["no such pipeline, or one with errors"]
    if project_id := target.get("project_id"):
        try:
            projects.get(project_id)
        except NotFound:
            found["target.project_id"] = ["no such project"]
    return found


@contextmanager
def changing(trigger_id: str, action: str) -> Iterator[tuple[Trigger, Entry]]:
    """The trigger and its entry for the audit log, in one transaction. Raises NotFound, PreconditionFailed."""
    with recorded(action, "github_trigger", trigger_id) as entry:
        database.serialize()
        trigger = triggers.get(trigger_id)
        etags.check(etags.of(trigger.as_dict(), CHANGES_BY_ITSELF))
        entry.detail["name"] = trigger.name
        yield trigger, entry


def answered(trigger: Trigger) -> Any:
    shown = trigger.as_dict()
    return etags.answer(shown, etags.of(shown, CHANGES_BY_ITSELF))
