"""Model providers: who is called with which key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import g
from flask.views import MethodView

from api import etags, inquiries
from api.audited import Entry, recorded
from api.blueprint import Blueprint, needs
from api.paging import decode, link
from api.provider_changes import columns_of, naming, read_keys
from api.resources import provider_schemas as schemas
from models import database, endpoints, events, provider_checks, provider_views, providers, settings
from models.errors import Conflict
from models.events import Event
from models.providers import Provider
from workers import providers as commands

blueprint = Blueprint("providers", "providers", url_prefix="/v1", description="Who is called, with which key")
CHANGES_BY_ITSELF = ("models", "lastTest", "defaultModel")


@blueprint.route("/settings/providers")
class Providers(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.ProviderFilterSchema, location="query")
    @blueprint.response(200, schemas.ProviderSchema(many=True))
    def get(self, query):
        """Providers in the order of preference, without their keys"""
        found = provider_views.page(query["limit"] + 1, decode(query["cursor"]))
        return link(found, query["limit"], lambda provider: provider["providerId"])

    @needs("admin")
    @blueprint.arguments(schemas.CreateProviderSchema, example=schemas.CREATE_EXAMPLE)
    @blueprint.response(201, schemas.ProviderSchema)
    @blueprint.errors(409)
    def post(self, body):
        """Add an OpenAI-compatible server"""
        fields = sorted(name for name in body if body[name])
        with recorded("provider.create", "provider", fields=fields) as entry:
            entry.object_id = providers.create(body["slug"], body["name"], body["base_url"], body["api_key"])
            told(entry.object_id, fields)
        shown, headers = answered(entry.object_id)
        return shown, headers | {"Location": f"/v1/settings/providers/{entry.object_id}"}


@blueprint.route("/settings/providers/keys/all")
class ProviderKeys(MethodView):
    @needs("admin", beside="worker")
    @blueprint.arguments(schemas.KeyFilterSchema, location="query")
    @blueprint.response(200, schemas.KeysSchema)
    @blueprint.errors(429)
    def get(self, query):
        """The keys in use: plain for a worker's token, as masks for everyone else"""
        with recorded("provider.read_keys", "provider") as entry:
            found = read_keys(query["provider_id"], plain=g.token.scope == "worker")
            entry.detail = {"providers": sorted(found["keys"]), "masked": found["masked"]}
        return found


@blueprint.route("/settings/providers/<id:provider_id>")
class ProviderById(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.ProviderSchema)
    @blueprint.errors(404)
    def get(self, provider_id):
        """One provider"""
        return answered(provider_id)

    @needs("admin")
    @blueprint.arguments(schemas.ProviderChangesSchema, example=schemas.SAVE_EXAMPLE)
    @blueprint.response(200, schemas.SavedProviderSchema)
    @blueprint.errors(404, 412)
    def put(self, body, provider_id):
        """Set up a provider; what is not named stays, and a key leaves with its address"""
        with changing(provider_id, "provider.update") as (provider, entry):
            columns = columns_of(provider, body)
            saved = providers.save(provider, columns, body.get("api_key"), body["clear_api_key"])
            entry.detail, entry.changed = {"fields": saved.changed}, bool(saved.changed) or provider.row is None
            if entry.changed:
                told(provider_id, saved.changed)
        shown, headers = answered(provider_id)
        return shown | {"notice": "key_unbound" if saved.unbound else None}, headers

    @needs("admin")
    @blueprint.arguments(schemas.StrictlySchema, location="query")
    @blueprint.response(200, schemas.RemovedSchema)
    @blueprint.errors(404, 409, 412)
    def delete(self, query, provider_id):
        """Remove a custom provider; one of the catalogue goes back to unset"""
        with changing(provider_id, "provider.delete") as (provider, entry):
            if query["strict"] and (users := naming(provider_id)):
                raise Conflict(f"{provider_id} is named by {', '.join(users)}", "provider_in_use")
            entry.changed = providers.remove(provider)
            if entry.changed:
                provider_checks.forget(provider_id)
                told(provider_id, [])
        return {"status": "ok", "providerId": provider_id}


@blueprint.route("/settings/providers/<id:provider_id>/models")
class ProviderModels(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.RefreshSchema, location="query")
    @blueprint.response(200, schemas.ListingSchema)
    @blueprint.errors(404)
    def get(self, query, provider_id):
        """The provider's models; `refresh` asks it first"""
        providers.find(provider_id)
        return inquiries.models(provider_id) if query["refresh"] else provider_views.listing(provider_id)


@blueprint.route("/settings/providers/<id:provider_id>/test")
class ProviderTest(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.ProviderTestSchema, required=False, example={})
    @blueprint.response(200, schemas.ProviderTestedSchema)
    @blueprint.errors(404, 409)
    def post(self, body, provider_id):
        """Try the key: list the models, or make one minimal call of `model`"""
        access = endpoints.access(providers.find(provider_id))
        if not access.configured:
            raise Conflict(f"{provider_id} {access.problem}", "not_configured")
        with recorded("provider.test", "provider", provider_id, **body):
            test_id = commands.test(provider_id, body["model"])
        return inquiries.tested(test_id, body["model"])


@blueprint.route("/settings/providers/<id:provider_id>/usage")
class ProviderUsage(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.ProviderUsageSchema)
    @blueprint.errors(404)
    def get(self, provider_id):
        """What was called in the last 30 days, and the limits"""
        return provider_views.usage(providers.find(provider_id))


@blueprint.route("/settings/models/suggestions")
class ModelSuggestions(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.SuggestionSchema(many=True))
    def get(self):
        """Models that could be called now"""
        return provider_views.suggestions(settings.favorites())


@contextmanager
def changing(provider_id: str, action: str) -> Iterator[tuple[Provider, Entry]]:
    """The provider and its entry for the audit log, in one transaction. Raises NotFound, PreconditionFailed."""
    with recorded(action, "provider", provider_id) as entry:
        database.serialize()
        provider = providers.find(provider_id)
        etags.check(etags.of(provider_views.one(provider_id), CHANGES_BY_ITSELF))
        yield provider, entry


def answered(provider_id: str) -> Any:
    shown = provider_views.one(provider_id)
    return etags.answer(shown, etags.of(shown, CHANGES_BY_ITSELF))


def told(provider_id: str, fields: list[str]) -> None:
    """Tells the readers of the events, and has a worker look which models there are now."""
    events.note(Event("provider_updated", payload={"provider_id": provider_id, "fields": fields}))
    found = providers.load().get(provider_id)
    if found is not None and endpoints.is_enabled(found) and endpoints.access(found).configured:
        commands.refresh(provider_id)
