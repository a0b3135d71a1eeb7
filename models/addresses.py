"""Where a provider is called, and the origin that its key is bound to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from models import config
from models.catalogue import ProviderInfo
from models.errors import ConfigError

VARIABLE = re.compile(r"\{([A-Z_]+)\}")
WORD = re.compile(r"[A-Za-z0-9-]+")  # all that may stand in for a {VARIABLE}
PORTS = {"http": 80, "https": 443}


def of(info: ProviderInfo, base_url: str | None = None, extra: Mapping[str, str] | None = None) -> str:
    """`base_url` and `extra` as stored, else the environment's, else the catalogue's. Raises ConfigError."""
    own = base_url or (info.base_url_variable and config.provider_key(info.base_url_variable))
    if own:
        return own
    if not info.base_url:
        raise ConfigError(f"{info.id} has no address: set {info.base_url_variable}")
    return VARIABLE.sub(lambda match: _needed(info, match[1], extra or {}), info.base_url)


def _needed(info: ProviderInfo, variable: str, extra: Mapping[str, str]) -> str:
    value = extra.get(variable) or config.provider_key(variable)
    if value is None or not WORD.fullmatch(value):
        raise ConfigError(f"{info.name} has no address: set {variable} or {info.base_url_variable}")
    return value


def origin(url: str) -> str:
    """`scheme://host:port`, all of which a key must not leave. Raises ValueError if it is not a web address."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname or parts.username is not None or parts.password is not None:
        raise ValueError("needs http:// or https://, a host and no password")
    return f"{parts.scheme}://{parts.hostname.lower()}:{parts.port or PORTS[parts.scheme]}"
