"""Which providers can be called, where, and with which key: rows over environment variables."""

from __future__ import annotations

from typing import NamedTuple

from models import addresses, config, providers
from models.catalogue import ProviderInfo
from models.errors import ConfigError
from models.providers import Provider


class Endpoint(NamedTuple):
    """Where a provider is called. `key` is empty for a custom server that wants none."""

    wire: str
    base_url: str
    key: str


class Access(NamedTuple):
    """What is there to call a provider with; `problem` says what is missing. `source`: stored or env."""

    base_url: str | None
    key: str | None
    source: str | None
    problem: str | None

    @property
    def configured(self) -> bool:
        return self.problem is None


def endpoint(info: ProviderInfo) -> Endpoint:
    """Raises ConfigError that says what is missing."""
    provider = providers.known().get(info.id, Provider(info))
    if provider.row is not None and not provider.row.enabled:
        raise ConfigError(f"{info.name} is disabled", hint=f"enable provider {info.id}")
    found = access(provider)
    if found.problem:
        raise ConfigError(f"{info.name} {found.problem}", hint=found.problem)
    return Endpoint(info.wire, found.base_url, found.key or "")


def access(provider: Provider) -> Access:
    """A key goes to its own origin only: a stored one to where it was given for, the environment's to its address."""
    info, row = provider.info, provider.row
    try:
        base_url = addresses.of(info, row and row.base_url, row and row.extra)
        origin = addresses.origin(base_url)
    except (ConfigError, ValueError) as error:
        return Access(None, provider.key, "stored" if provider.key else None, f"cannot be addressed: {error}")
    if provider.unreadable:
        return Access(base_url, None, None, "has a key that cannot be decrypted: store it again")
    if provider.key is not None and row.key_origin != origin:
        return Access(
            base_url, None, None, f"has a key for {row.key_origin or 'no address'}, not for {origin}: store it again"
        )
    if provider.key is not None:
        return Access(base_url, provider.key, "stored", None)
    return _of_environment(info, base_url, origin)


def _of_environment(info: ProviderInfo, base_url: str, origin: str) -> Access:
    key = config.provider_key(info.key_variable)
    if key is not None and providers.origin_of(info, None) == origin:
        return Access(base_url, key, "env", None)
    if info.is_custom:
        return Access(base_url, None, None, None)
    if key is not None:
        return Access(base_url, None, None, f"has a key in {info.key_variable} for another address: store one")
    return Access(base_url, None, None, f"has no key: set {info.key_variable} or store one")


def is_enabled(provider: Provider) -> bool:
    """What was never saved is enabled by a key in the environment."""
    if provider.row is not None:
        return provider.row.enabled
    return config.provider_key(provider.info.key_variable) is not None


def usable() -> list[Provider]:
    """Those that are enabled and configured, in the order of preference."""
    return [found for found in providers.known().values() if is_enabled(found) and access(found).configured]


def default_model() -> str | None:
    """The first model of the first usable provider that has one."""
    named = (f"{found.info.id}/{found.default_model}" for found in usable() if found.default_model)
    return next(named, None)
