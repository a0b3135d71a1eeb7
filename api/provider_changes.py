"""What a change of a provider means for its row; who may read keys how often; who names a provider."""

from __future__ import annotations

import re
from typing import Any

import marshmallow as ma
from flask import g

from api import agent_views
from api.resources.provider_schemas import check_base_url
from models import audit, database, provider_views, settings
from models.errors import Invalid, TooMany
from models.providers import Provider

READS_PER_MINUTE = 60  # of keys, per token
COLUMNS = ("enabled", "base_url", "default_model", "max_concurrency", "requests_per_minute", "name")


def columns_of(provider: Provider, body: dict[str, Any]) -> dict[str, Any]:
    """{column: new value}. Raises Invalid."""
    info, columns = provider.info, {name: body[name] for name in COLUMNS if name in body}
    if body.get("provider_id", info.id) != info.id:
        raise Invalid(f"This is {info.id}", "provider_mismatch", {"providerId": ["another than in the path"]})
    if "base_url" in columns and not info.base_url_variable:
        raise Invalid(f"The address of {info.name} is fixed", errors={"baseUrl": ["cannot be changed"]})
    if "name" in columns and not info.is_custom:
        raise Invalid(f"{info.id} has its name from the catalogue", errors={"name": ["cannot be changed"]})
    if provider.row is None:
        columns.setdefault("enabled", True)
    return columns | _extra(provider, body["extra_config"], columns)


def _extra(provider: Provider, given: dict[str, str], columns: dict[str, Any]) -> dict[str, Any]:
    """The declared variables, merged with those that are stored; the one that is an address is the `base_url`."""
    declared = {field["env_var"] for field in provider.info.extra_fields}
    if unknown := sorted(given.keys() - declared):
        reasons = {f"extraConfig.{name}": ["not a field of this provider"] for name in unknown}
        raise Invalid(f"{provider.info.id} has no field {', '.join(unknown)}", "unknown_extra", reasons)
    given = {name: value.strip() for name, value in given.items()}
    found: dict[str, Any] = {}
    address = provider.info.base_url_variable
    if address in given:
        found["base_url"] = _address(given.pop(address), address, columns)
    if given:
        stored = provider.row.extra if provider.row else {}
        found["extra"] = {name: value for name, value in (stored | given).items() if value}
    return found


def _address(url: str, variable: str, columns: dict[str, Any]) -> str | None:
    url = url or None
    if columns.get("base_url", url) != url:
        reason = {"baseUrl": [f"{variable} says something else"]}
        raise Invalid(f"baseUrl and {variable} say different things", "conflicting_fields", reason)
    if url is not None:
        try:
            check_base_url(url)
        except ma.ValidationError as error:
            why = error.messages
            raise Invalid(f"{variable}: {why[0]}", errors={f"extraConfig.{variable}": why}) from None
    return url


def read_keys(wanted: list[str], plain: bool) -> dict[str, Any]:
    """The keys, inside the transaction that records their being read. Raises TooMany."""
    database.serialize()
    if audit.count_lately("provider.read_keys", g.token.id, 60_000) >= READS_PER_MINUTE:
        raise TooMany(f"Keys are read {READS_PER_MINUTE} times a minute at most", retry_after=60)
    return provider_views.keys(wanted, plain)


def naming(provider_id: str) -> list[str]:
    """What names a model of the provider: settings, agents, runs that are not over."""
    model = re.compile(rf"(?<![\w/-]){re.escape(provider_id)}/")
    found = [f"setting {name}" for name, value in settings.document().items() if model.search(str(value))]
    found += [f"agent {agent.id}" for agent in agent_views.installed() if model.search(str(agent.config))]
    sql = "SELECT id FROM runs WHERE status IN ('pending', 'running', 'paused') AND model_override LIKE ? LIMIT 20"
    return found + [f"run {run_id}" for (run_id,) in database.execute(sql, (f"{provider_id}/%",)).fetchall()]
