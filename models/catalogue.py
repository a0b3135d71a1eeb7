"""The model providers that are known by name (`catalogue.json`), in the order of preference."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CUSTOM = re.compile(r"custom-[a-z0-9][a-z0-9-]{0,31}")


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


@functools.cache
def catalogue() -> tuple[ProviderInfo, ...]:
    entries = json.loads((Path(__file__).parent / "catalogue.json").read_text("utf-8"))
    return tuple(ProviderInfo(**{**entry, "extra_fields": tuple(entry.get("extra_fields", ()))}) for entry in entries)


def find(provider_id: str) -> ProviderInfo | None:
    """The provider of that id; of a custom one what follows from its id."""
    if CUSTOM.fullmatch(provider_id):
        return custom(provider_id)
    return next((info for info in catalogue() if info.id == provider_id), None)


def custom(provider_id: str, name: str | None = None) -> ProviderInfo:
    """Any OpenAI-compatible server."""
    slug = provider_id.removeprefix("custom-")
    prefix = f"CUSTOM_{slug.upper().replace('-', '_')}"
    name = name or slug
    return ProviderInfo(provider_id, name, "", "", f"{prefix}_API_KEY", base_url_variable=f"{prefix}_BASE_URL")
