"""Settings of the whole platform."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from api import etags
from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.compat import ignored
from api.resources import setting_schemas as schemas
from api.schemas import camel
from models import database, events, settings
from models.errors import Invalid
from models.events import Event
from models.setting_keys import DECLARED

blueprint = Blueprint("settings", "settings", url_prefix="/v1", description="How the platform works")
EXAMPLE = {"defaultExecutorModel": "openai/gpt-5.5", "runBudgetUsd": 5, "eventRetentionDays": None}


@blueprint.route("/settings")
class Settings(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.SettingsSchema)
    def get(self):
        """Every setting"""
        return answered()

    @needs("admin")
    @blueprint.arguments(schemas.SettingChangesSchema, unknown=ma.INCLUDE, example=EXAMPLE)
    @blueprint.response(200, schemas.SettingsSchema)
    @blueprint.errors(412)
    def put(self, body):
        """Change settings, all or none"""
        changes = in_one_spelling(ignored.without(body, ignored.SETTINGS))
        with recorded("settings.update", "settings", "settings") as entry:
            database.serialize()
            etags.check(etags.of(settings.document()))
            changed = settings.update(changes)
            entry.detail = {name: {"old": old, "new": new} for name, (old, new) in changed.items()}
            entry.changed = bool(changed)
            if changed:
                events.note(Event("settings_updated", payload={"keys": sorted(changed)}))
        return answered()


@blueprint.route("/settings/schema")
class SettingsKeys(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.SettingKeySchema(many=True))
    def get(self):
        """What can be set, with types, ranges and defaults"""
        return [key.as_dict() for key in DECLARED]


@blueprint.route("/settings/favorites")
class Favorites(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.MarkedSchema)
    def get(self):
        """The models that people have marked"""
        return {"favorites": settings.favorites()}

    @needs("admin")
    @blueprint.arguments(schemas.FavoritesSchema, example={"favorites": ["openai/gpt-5.5"]})
    @blueprint.response(200, schemas.MarkedSchema)
    def put(self, body):
        """Mark these models and no others"""
        with recorded("settings.mark", "settings", "favorites", **body) as entry:
            entry.changed = settings.mark(body["favorites"])
        return body


def answered() -> Any:
    shown = settings.document()
    return etags.answer(shown, etags.of(shown))


def in_one_spelling(body: dict[str, Any]) -> dict[str, Any]:
    """{camelCase key: value}. Raises Invalid."""
    found: dict[str, Any] = {}
    for name, value in body.items():
        if found.setdefault(camel(name), value) != value:
            reasons = {name: [f"{camel(name)} is given with another value"]}
            raise Invalid(f"{name} and {camel(name)} say different things", "conflicting_fields", reasons)
    return found
