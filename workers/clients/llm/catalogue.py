"""The providers that are known by name (`catalogue.json`), and where and with which key each is called."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from models import config
from models.errors import ConfigError

CUSTOM = re.compile(r"custom-[a-z0-9][a-z0-9-]{0,31}")
VARIABLE = re.compile(r"\{([A-Z_]+)\}")


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """`base_url` may hold `{VARIABLE}`; `base_url_variable` names the variable that replaces it as a whole."""

    id: str
    name: str
    description: str
    docs_url: str
    key_variable: str
    base_url: str = ""
    base_url_variable: str = ""
    wire: str = "openai"
    default_model: str = ""
    prices: str = ""  # the provider's id in the price list
    extra_fields: tuple[dict[str, Any], ...] = ()

    @property
    def is_custom(self) -> bool:
        return self.id.startswith("custom-")


class Endpoint(NamedTuple):
    """Where a provider is called. `key` is empty for a custom server that wants none."""

    wire: str
    base_url: str
    key: str


@functools.cache
def catalogue() -> tuple[ProviderInfo, ...]:
    """In the order of preference."""
    entries = json.loads((Path(__file__).parent / "catalogue.json").read_text("utf-8"))
    return tuple(ProviderInfo(**{**entry, "extra_fields": tuple(entry.get("extra_fields", ()))}) for entry in entries)


def find(provider_id: str) -> ProviderInfo | None:
    if CUSTOM.fullmatch(provider_id):
        return _custom(provider_id)
    return next((info for info in catalogue() if info.id == provider_id), None)


def _custom(provider_id: str) -> ProviderInfo:
    slug = provider_id.removeprefix("custom-")
    prefix = f"CUSTOM_{slug.upper().replace('-', '_')}"
    return ProviderInfo(provider_id, slug, "", "", f"{prefix}_API_KEY", base_url_variable=f"{prefix}_BASE_URL")


def endpoint(info: ProviderInfo) -> Endpoint:
    """Raises ConfigError naming the variable that is missing."""
    key = config.provider_key(info.key_variable)
    if key is None and not info.is_custom:
        raise ConfigError(f"{info.name} has no key: set {info.key_variable}", hint=f"set {info.key_variable}")
    return Endpoint(info.wire, _base_url(info), key or "")


def _base_url(info: ProviderInfo) -> str:
    own = info.base_url_variable and config.provider_key(info.base_url_variable)
    if own:
        return own
    if not info.base_url:
        raise ConfigError(f"{info.id} has no address: set {info.base_url_variable}")
    return VARIABLE.sub(lambda match: _needed(info, match[1]), info.base_url)


def _needed(info: ProviderInfo, variable: str) -> str:
    value = config.provider_key(variable)
    if value is None or not re.fullmatch(r"[A-Za-z0-9-]+", value):
        raise ConfigError(f"{info.name} has no address: set {variable} or {info.base_url_variable}")
    return value


def is_configured(info: ProviderInfo) -> bool:
    try:
        endpoint(info)
    except ConfigError:
        return False
    return True
