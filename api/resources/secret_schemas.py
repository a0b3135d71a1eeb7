"""What requests about secrets say, and what is shown of them."""

from __future__ import annotations

from marshmallow import fields, validate

from api.paging import CatalogueSchema
from api.schemas import AnswerSchema, EitherSpelling, slug
from models.secrets import TYPES

NAME = r"(?!sec_)[A-Za-z0-9][A-Za-z0-9 ._@-]{0,127}\Z"
LONGEST_VALUE = 65_536
EXAMPLE = {"name": "github-pat", "value": "ghp_0123456789abcdefghij", "secret_type": "pat", "agents": ["writer"]}


def value(**options) -> fields.Str:
    return fields.Str(validate=validate.Length(1, LONGEST_VALUE), **options)


def description() -> fields.Str:
    return fields.Str(allow_none=True, validate=validate.Length(max=1000))


def env_key() -> fields.Str:
    return fields.Str(
        allow_none=True,
        validate=validate.Length(1, 200),
        metadata={"description": "The variable that holds it; by default made of the name"},
    )


def secret_type(**options) -> fields.Str:
    return fields.Str(allow_none=True, validate=validate.OneOf(list(TYPES)), **options)


class SecretFilterSchema(CatalogueSchema):
    q = fields.Str(load_default=None, metadata={"description": "Part of the name or description"})
    agent_id = slug(load_default=None)


class CreateSecretSchema(EitherSpelling):
    name = fields.Str(required=True, validate=validate.Regexp(NAME))
    value = value(required=True)
    env_key = env_key()
    description = description()
    secret_type = secret_type(load_default="env_var")
    agents = fields.List(slug(), allow_none=True, load_default=list, validate=validate.Length(max=200))
    scope = fields.Raw(allow_none=True, metadata={"description": "Ignored"})


class UpdateSecretSchema(EitherSpelling):
    NULLABLE = frozenset({"description"})

    value = value(allow_none=True)
    env_key = env_key()
    description = description()
    secret_type = secret_type()


class SecretSchema(AnswerSchema):
    """A Secret object; never a value."""

    id = fields.Str(required=True)
    name = fields.Str(required=True)
    description = fields.Str(required=True, allow_none=True)
    secret_type = fields.Str(required=True, metadata={"enum": list(TYPES)})
    secret_type_label = fields.Str(required=True)
    env_key = fields.Str(required=True)
    masked_preview = fields.Str(required=True, allow_none=True)
    fingerprint = fields.Str(required=True, allow_none=True)
    granted_agents = fields.List(fields.Str(), required=True)
    version = fields.Int(required=True)
    key_id = fields.Str(required=True)
    warnings = fields.List(fields.Str(), required=True)
    last_used_at = fields.Int(required=True, allow_none=True)
    last_used_by = fields.Str(required=True, allow_none=True)
    created_at = fields.Int(required=True)
    updated_at = fields.Int(required=True)


class TypeSchema(AnswerSchema):
    value = fields.Str(required=True)
    label = fields.Str(required=True)


class VersionSchema(AnswerSchema):
    version = fields.Int(required=True)
    key_id = fields.Str(required=True)
    created_at = fields.Int(required=True)
    created_by = fields.Str(required=True, allow_none=True)
    current = fields.Bool(required=True)


class GrantSchema(AnswerSchema):
    secret_id = fields.Str(required=True)
    agent_id = fields.Str(required=True)
    granted_at = fields.Int(required=True)
    granted_by = fields.Str(required=True, allow_none=True)


class EnvironmentSchema(AnswerSchema):
    agent_id = fields.Str(required=True)
    env = fields.Dict(keys=fields.Str(), values=fields.Str(), required=True)


class RekeySchema(AnswerSchema):
    job = fields.Str(required=True)
    from_ = fields.List(fields.Str(), data_key="from", required=True)
    to = fields.Str(required=True)
    total = fields.Int(required=True)
