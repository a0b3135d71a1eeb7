"""From `provider/model` to the client that can call it."""

from __future__ import annotations

import functools

import httpx2

from models import catalogue, config, endpoints
from models.endpoints import Endpoint
from models.errors import ConfigError
from workers.clients import http
from workers.clients.llm import local
from workers.clients.llm.base import Provider
from workers.clients.llm.scripted import Scripted


def resolve(model_id: str) -> tuple[Provider, str]:
    """The provider and its own name of the model. Raises ConfigError that says what is missing."""
    provider_id, _, model = model_id.partition("/")
    if not model:
        raise ConfigError(f"{model_id!r} is not of the form provider/model")
    if provider_id == "scripted":
        return _scripted(), model
    if model_id == local.MODEL_ID:
        return local.provider(), model
    info = catalogue.find(provider_id)
    if info is None:
        known = ", ".join(info.id for info in catalogue.catalogue())
        raise ConfigError(f"no provider {provider_id!r}", hint=f"one of {known}")
    return _client(endpoints.endpoint(info)), model


def default_model() -> str | None:
    """DEFAULT_MODEL, else the first usable provider's own, else the local one if it is installed."""
    own = config.get().default_model or endpoints.default_model()
    return own or (local.MODEL_ID if local.is_installed() else None)


@functools.cache
def _scripted() -> Provider:
    return Scripted()


@functools.lru_cache(maxsize=256)
def _client(endpoint: Endpoint) -> Provider:
    """One client per address and key. The SDKs take half a second to load: a worker that needs none loads none."""
    if endpoint.wire == "anthropic":
        from workers.clients.llm.anthropic import Anthropic as Client
    else:
        from workers.clients.llm.openai import OpenAI as Client
    http.parse(endpoint.base_url)
    return Client(endpoint.base_url, endpoint.key or "none", _http())


@functools.cache
def _http() -> httpx2.Client:
    """One pool of connections for all."""
    return http.client()
