"""Providers as the API shows them: everything but their keys."""

from __future__ import annotations

from typing import Any

from models import config, endpoints, provider_checks, providers
from models.base import now_ms
from models.ledger import Filters, summary
from models.provider_checks import ProviderState
from models.providers import Provider
from models.secret_views import mask

DAY_MS = 86_400_000
USAGE_DAYS = 30
SUMS = ("calls", "errors", "input_tokens", "output_tokens", "cost_usd")
FIELD = ("label", "placeholder", "description", "required", "secret")


def page(limit: int, after: str | None) -> list[dict[str, Any]]:
    """Up to `limit` Provider objects in the order of preference, beyond the provider `after`."""
    found, states = list(providers.load().values()), provider_checks.states()
    ids = [provider.info.id for provider in found]
    start = ids.index(after) + 1 if after in ids else 0
    empty = ProviderState()
    return [_object(provider, states.get(provider.info.id, empty)) for provider in found[start : start + limit]]


def one(provider_id: str) -> dict[str, Any]:
    """The Provider object. Raises NotFound."""
    return _object(providers.find(provider_id), provider_checks.state(provider_id))


def _object(provider: Provider, state: ProviderState) -> dict[str, Any]:
    info, row = provider.info, provider.row
    access, extra = endpoints.access(provider), _extra(provider)
    return {
        "providerId": info.id,
        "name": info.name,
        "description": info.description,
        "docsUrl": info.docs_url,
        "apiKeyEnvVar": info.key_variable,
        "enabled": endpoints.is_enabled(provider),
        "configured": access.configured,
        "keySource": access.source,
        "maskedApiKey": access.key and mask(access.key),
        "maskedExtraConfig": {name: mask(value) for name, value in extra.items()} or None,
        "plainExtraConfig": extra or None,  # no declared field is secret
        "extraFields": [_field(field) for field in info.extra_fields],
        "baseUrl": access.base_url if info.base_url_variable else None,
        "models": models(provider, state),
        "defaultModel": provider.default_model,
        "isCustom": info.is_custom,
        "maxConcurrency": row and row.max_concurrency,
        "requestsPerMinute": row and row.requests_per_minute,
        "lastTest": state.last_test,
        "updatedAt": row and row.updated_at,
        "warnings": ["unreadable"] if provider.unreadable else [],
    }


def _field(declared: dict[str, Any]) -> dict[str, Any]:
    return {"envVar": declared["env_var"]} | {name: declared[name] for name in FIELD}


def _extra(provider: Provider) -> dict[str, str]:
    """{variable: value} of the declared fields that are set, as stored or in the environment."""
    row = provider.row
    stored = {} if row is None else {provider.info.base_url_variable: row.base_url, **row.extra}
    names = [field["env_var"] for field in provider.info.extra_fields]
    found = {name: stored.get(name) or config.provider_key(name) for name in names}
    return {name: value for name, value in found.items() if value}


def models(provider: Provider, state: ProviderState) -> list[dict[str, Any]]:
    """As listed last; before that, the one that the catalogue names."""
    if state.models is not None:
        return state.models
    own = provider.info.default_model
    return [{"id": own, "name": own, "description": None, "reasoning": False}] if own else []


def listing(provider_id: str, before: int | None = None) -> dict[str, Any]:
    """{models, source, fetchedAt, error}; `before`: how often it had been asked before this was asked for."""
    provider, state = providers.find(provider_id), provider_checks.state(provider_id)
    live = before is not None and state.checks > before and state.error is None
    source = "live" if live else "static" if state.models is None else "cache"
    error = state.error if before is None or state.checks > before else None
    return {"models": models(provider, state), "source": source, "fetchedAt": state.fetched_at, "error": error}


def keys(wanted: list[str], plain: bool) -> dict[str, Any]:
    """Keys and further configuration of the enabled providers, as masks unless `plain`."""
    found = [provider for provider in providers.load().values() if _is_shown(provider, wanted)]
    access = {provider.info.id: endpoints.access(provider) for provider in found}
    keyed = {provider_id: each for provider_id, each in access.items() if each.key}
    sources = {name: {"source": each.source, "masked_key": mask(each.key)} for name, each in keyed.items()}
    return {
        "masked": not plain,
        "keys": {name: each.key if plain else mask(each.key) for name, each in keyed.items()},
        "extra": {name: value for provider in found for name, value in _extra(provider).items()},
        "key_sources": sources,
    }


def _is_shown(provider: Provider, wanted: list[str]) -> bool:
    asked = not wanted or provider.info.id in wanted
    return asked and endpoints.is_enabled(provider) and endpoints.access(provider).configured


def suggestions(marked: list[str], limit: int = 500) -> list[dict[str, Any]]:
    """Models that could be called now: the marked ones, each provider's default, then what providers listed."""
    usable, states = endpoints.usable(), provider_checks.states()
    empty = ProviderState()
    listed = {provider.info.id: models(provider, states.get(provider.info.id, empty)) for provider in usable}
    names = {f"{provider_id}/{model['id']}": model["name"] for provider_id, found in listed.items() for model in found}
    defaults = [f"{provider.info.id}/{provider.default_model}" for provider in usable if provider.default_model]
    ordered = list(dict.fromkeys([*marked, *defaults, *names]))[:limit]
    return [_suggestion(model, names.get(model), model in marked) for model in ordered]


def _suggestion(model: str, name: str | None, favorite: bool) -> dict[str, Any]:
    return {"id": model, "name": name or model, "provider": model.partition("/")[0], "favorite": favorite}


def usage(provider: Provider) -> dict[str, Any]:
    """What was called in the last days, by day (UTC), newest first, and the limits that are set."""
    since = (now_ms() // DAY_MS - USAGE_DAYS + 1) * DAY_MS
    found = summary(Filters(provider=provider.info.id, created_after=since), "day")
    limited = summary(Filters(provider=provider.info.id, created_after=since, status="error", http_status=429), "day")
    refused = {group["key"]: group["calls"] for group in limited["groups"]}
    days = [{"day": day["key"], **_sums(day, refused.get(day["key"], 0))} for day in found["groups"]]
    row = provider.row
    limiter = {"maxConcurrency": row and row.max_concurrency, "requestsPerMinute": row and row.requests_per_minute}
    total = _sums(found["total"], limited["total"]["calls"])
    return {"providerId": provider.info.id, "days": days, "total": total, "limiter": limiter}


def _sums(sums: dict[str, Any], refused: int) -> dict[str, Any]:
    named = dict(zip(("calls", "errors", "inputTokens", "outputTokens", "costUsd"), map(sums.get, SUMS), strict=True))
    return named | {"rateLimited": refused}
