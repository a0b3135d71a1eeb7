"""What requests about providers say, and what is shown of them."""

from __future__ import annotations

import re
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.paging import CatalogueSchema
from api.resources.run_schemas import literal_address
from api.schemas import AnswerSchema, EitherSpelling, Flag, integer, slug
from models import addresses, config

LONGEST_KEY, LONGEST_EXTRA, LONGEST_URL = 4096, 2048, 2048
SAVE_EXAMPLE = {"enabled": True, "apiKey": "sk-0123456789abcdefghij", "defaultModel": "gpt-5.5"}
CREATE_EXAMPLE = {"name": "My models", "slug": "mine", "baseUrl": "https://models.example/v1"}


class ApiKey(fields.Str):
    """A key, trimmed. Blank is the same as none."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str | None:
        key = super()._deserialize(value, attr, data, **options).strip()
        if len(key) > LONGEST_KEY or not re.fullmatch(r"[\x21-\x7e]*", key):
            raise ma.ValidationError(f"must be at most {LONGEST_KEY} visible ASCII characters without spaces")
        return key or None


def check_base_url(url: str) -> None:
    """Refuses what can be seen from the text alone; names are resolved and checked when a call is made."""
    try:
        host, port = addresses.origin(url).partition("://")[2].rsplit(":", 1)
    except ValueError as error:
        raise ma.ValidationError(f"not a web address: {error}") from None
    if re.search(r"[^\x21-\x7e]|[\\?#]", url):
        raise ma.ValidationError("must be plain, without a query")
    address = literal_address(host)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    local = host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
    private = address is not None and (not address.is_global or address.is_multicast)
    if (local or private) and place not in map(str.lower, config.get().egress_allow):
        raise ma.ValidationError(f"leads to a private address; EGRESS_ALLOW={place} would let it through")


def base_url(**options: Any) -> fields.Str:
    return fields.Str(validate=[validate.Length(1, LONGEST_URL), check_base_url], **options)


def name(**options: Any) -> fields.Str:
    return fields.Str(validate=validate.Regexp(r"[^\x00-\x1f\x7f]{1,100}\Z"), **options)


class ProviderChangesSchema(EitherSpelling):
    NULLABLE = frozenset({"base_url", "default_model", "max_concurrency", "requests_per_minute", "name"})

    provider_id = fields.Str()
    enabled = Flag()
    api_key = ApiKey(allow_none=True)
    clear_api_key = Flag(load_default=False)
    extra_config = fields.Dict(
        keys=fields.Str(), values=fields.Str(validate=validate.Length(max=LONGEST_EXTRA)), load_default=dict
    )
    base_url = base_url(allow_none=True)
    default_model = fields.Str(allow_none=True, validate=validate.Length(1, 200))
    max_concurrency = integer(1, 1000, allow_none=True)
    requests_per_minute = integer(1, 100_000, allow_none=True)
    name = name(allow_none=True)

    @ma.validates_schema
    def _one_wish(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("api_key") and data["clear_api_key"]:
            raise ma.ValidationError("cannot be given and removed at once", "api_key")


class CreateProviderSchema(EitherSpelling):
    name = name(required=True)
    slug = fields.Str(required=True, validate=validate.Regexp(r"[a-z0-9][a-z0-9-]{1,31}\Z"))
    base_url = base_url(required=True)
    api_key = ApiKey(allow_none=True, load_default=None)


class ProviderTestSchema(EitherSpelling):
    model = fields.Str(allow_none=True, load_default=None, validate=validate.Length(1, 200))


class ProviderFilterSchema(CatalogueSchema):
    """The query of the list."""


class KeyFilterSchema(ma.Schema):
    provider_id = fields.List(slug(), load_default=list, metadata={"description": "Only these"})


class StrictlySchema(ma.Schema):
    strict = fields.Bool(load_default=False, metadata={"description": "Refuse while something names it"})


class RefreshSchema(ma.Schema):
    refresh = fields.Bool(load_default=False, metadata={"description": "Ask the provider first"})


class ExtraFieldSchema(AnswerSchema):
    envVar = fields.Str(required=True)
    label = fields.Str(required=True)
    placeholder = fields.Str(required=True)
    description = fields.Str(required=True)
    required = fields.Bool(required=True)
    secret = fields.Bool(required=True)


class ModelSchema(AnswerSchema):
    id = fields.Str(required=True)
    name = fields.Str(required=True)
    description = fields.Str(required=True, allow_none=True)
    reasoning = fields.Bool(required=True)


class LastTestSchema(AnswerSchema):
    ok = fields.Bool(required=True)
    at = fields.Int(required=True)
    latencyMs = fields.Int(required=True)
    error = fields.Str(required=True, allow_none=True)


class ProviderSchema(AnswerSchema):
    """A Provider object; never a key."""

    providerId = fields.Str(required=True)
    name = fields.Str(required=True)
    description = fields.Str(required=True)
    docsUrl = fields.Str(required=True)
    apiKeyEnvVar = fields.Str(required=True)
    enabled = fields.Bool(required=True)
    configured = fields.Bool(required=True)
    keySource = fields.Str(required=True, allow_none=True, metadata={"enum": ["stored", "env", None]})
    maskedApiKey = fields.Str(required=True, allow_none=True)
    maskedExtraConfig = fields.Dict(keys=fields.Str(), values=fields.Str(), required=True, allow_none=True)
    plainExtraConfig = fields.Dict(keys=fields.Str(), values=fields.Str(), required=True, allow_none=True)
    extraFields = fields.List(fields.Nested(ExtraFieldSchema), required=True)
    baseUrl = fields.Str(required=True, allow_none=True)
    models = fields.List(fields.Nested(ModelSchema), required=True)
    defaultModel = fields.Str(required=True, allow_none=True)
    isCustom = fields.Bool(required=True)
    maxConcurrency = fields.Int(required=True, allow_none=True)
    requestsPerMinute = fields.Int(required=True, allow_none=True)
    lastTest = fields.Nested(LastTestSchema, required=True, allow_none=True)
    updatedAt = fields.Int(required=True, allow_none=True)
    warnings = fields.List(fields.Str(), required=True)


class SavedProviderSchema(ProviderSchema):
    notice = fields.Str(required=True, allow_none=True, metadata={"enum": ["key_unbound", None]})


class KeySourceSchema(AnswerSchema):
    source = fields.Str(required=True, metadata={"enum": ["stored", "env"]})
    masked_key = fields.Str(required=True)


class KeysSchema(AnswerSchema):
    masked = fields.Bool(required=True)
    keys = fields.Dict(keys=fields.Str(), values=fields.Str(), required=True)
    extra = fields.Dict(keys=fields.Str(), values=fields.Str(), required=True)
    key_sources = fields.Dict(keys=fields.Str(), values=fields.Nested(KeySourceSchema), required=True)


class RemovedSchema(AnswerSchema):
    status = fields.Str(required=True, metadata={"enum": ["ok"]})
    providerId = fields.Str(required=True)


class ListingSchema(AnswerSchema):
    models = fields.List(fields.Nested(ModelSchema), required=True)
    source = fields.Str(required=True, metadata={"enum": ["live", "cache", "static"]})
    fetchedAt = fields.Int(required=True, allow_none=True)
    error = fields.Str(required=True, allow_none=True)


class ProviderTestedSchema(AnswerSchema):
    ok = fields.Bool(required=True)
    latencyMs = fields.Int(required=True)
    status = fields.Int(required=True, allow_none=True)
    error = fields.Str(required=True, allow_none=True)
    model = fields.Str(required=True, allow_none=True)
    checkedAt = fields.Int(required=True)


class SuggestionSchema(AnswerSchema):
    id = fields.Str(required=True, metadata={"description": "provider/model"})
    name = fields.Str(required=True)
    provider = fields.Str(required=True)
    favorite = fields.Bool(required=True)


class CountsSchema(AnswerSchema):
    calls = fields.Int(required=True)
    errors = fields.Int(required=True)
    inputTokens = fields.Int(required=True)
    outputTokens = fields.Int(required=True)
    costUsd = fields.Float(required=True)
    rateLimited = fields.Int(required=True, metadata={"description": "Calls that were given up after a 429"})


class ProviderDaySchema(CountsSchema):
    day = fields.Str(required=True)


class LimiterSchema(AnswerSchema):
    maxConcurrency = fields.Int(required=True, allow_none=True)
    requestsPerMinute = fields.Int(required=True, allow_none=True)


class ProviderUsageSchema(AnswerSchema):
    providerId = fields.Str(required=True)
    days = fields.List(fields.Nested(ProviderDaySchema), required=True)
    total = fields.Nested(CountsSchema, required=True)
    limiter = fields.Nested(LimiterSchema, required=True)
