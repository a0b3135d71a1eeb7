"""What requests about settings say, and what is shown of them."""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from api.schemas import AnswerSchema, RequestSchema
from models.setting_keys import KEYS, Key

FIELDS = {
    "string": fields.Str,
    "integer": fields.Int,
    "number": fields.Float,
    "boolean": fields.Bool,
    "array": lambda **options: fields.List(fields.Str(), **options),
    "object": lambda **options: fields.Dict(keys=fields.Str(), values=fields.List(fields.Str()), **options),
}


def _field(key: Key) -> fields.Field:
    about = f"{key.description} ({key.kind.range}{f' {key.unit}' if key.unit else ''})"
    return FIELDS[key.kind.type](required=True, allow_none=key.nullable, metadata={"description": about})


class SettingChangesSchema(RequestSchema):
    """Settings, in camelCase or snake_case; null goes back to the default, what is not named stays."""


SettingsSchema: Any = AnswerSchema.from_dict({name: _field(key) for name, key in KEYS.items()}, name="SettingsSchema")


class SettingKeySchema(AnswerSchema):
    key = fields.Str(required=True, metadata={"enum": list(KEYS)})
    type = fields.Str(required=True, metadata={"enum": list(FIELDS)})
    nullable = fields.Bool(required=True)
    range = fields.Str(required=True)
    default = fields.Raw(required=True, allow_none=True)
    unit = fields.Str(required=True, allow_none=True)
    description = fields.Str(required=True)


class FavoritesSchema(RequestSchema):
    favorites = fields.List(fields.Str(), required=True, metadata={"description": "Models, up to 200"})


class MarkedSchema(AnswerSchema):
    favorites = fields.List(fields.Str(), required=True)
