"""What all schemas share: strict fields, aliases, and answers that are documented here but built in `models`."""

from __future__ import annotations

import re
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from models.errors import Invalid

MAX_SAFE = 2**53


class RequestSchema(ma.Schema):
    """A body. `null` means "not given" except in `NULLABLE`; `ALIASES` maps further spellings to field names."""

    ALIASES: dict[str, str] = {}
    NULLABLE: frozenset[str] = frozenset()
    CONFLICT = "conflicting_alias"

    def on_bind_field(self, field_name: str, field_obj: ma.fields.Field) -> None:
        """So that the document says it."""
        field_obj.allow_none = field_obj.allow_none or not field_obj.required

    @ma.pre_load
    def _settle(self, data: Any, **_: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {field.data_key or name for name, field in self.fields.items()} | self.ALIASES.keys()
        kept = self.NULLABLE | {alias for alias, name in self.ALIASES.items() if name in self.NULLABLE}
        given = {name: item for name, item in data.items() if item is not None or name not in known or name in kept}
        for alias in given.keys() & self.ALIASES.keys():
            name, value = self.ALIASES[alias], given.pop(alias)
            if given.setdefault(name, value) != value:
                reason = {name: [f"{alias} and {name} are given with different values"]}
                raise Invalid(f"{alias} and {name} say different things", self.CONFLICT, reason)
        return given


class EitherSpelling(RequestSchema):
    """A body whose every field is also read in camelCase."""

    CONFLICT = "conflicting_fields"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ALIASES = {camel(name): name for name in self.fields if camel(name) != name} | self.ALIASES


def camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


class AnswerSchema(ma.Schema):
    """Describes an answer. The answer itself is a ready-made dict: dumping it would cost more than all the rest."""

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        return obj


class ProblemSchema(AnswerSchema):
    type = fields.Str()
    title = fields.Str()
    status = fields.Int()
    detail = fields.Str()
    code = fields.Str()
    errors = fields.Dict(keys=fields.Str(), values=fields.List(fields.Str()))


class Number(fields.Float):
    """A JSON number: no strings, no NaN."""

    def _validated(self, value: Any) -> float:
        if not isinstance(value, int | float):
            raise self.make_error("invalid")
        return super()._validated(value)


class Flag(fields.Bool):
    """A JSON boolean: no numbers, no words."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


def query_integer(low: int, high: int, **options: Any) -> fields.Int:
    """An integer of a query string within bounds."""
    return fields.Int(validate=validate.Range(low, high), **options)


class PeriodSchema(ma.Schema):
    """When something was created, for the query of a list."""

    created_after = query_integer(0, MAX_SAFE, metadata={"description": "ms, inclusive"})
    created_before = query_integer(0, MAX_SAFE, metadata={"description": "ms, exclusive"})

    @ma.validates_schema
    def _ordered(self, data: dict, **_: Any) -> None:
        after, before = data.get("created_after"), data.get("created_before")
        if after is not None and before is not None and before <= after:
            raise ma.ValidationError("must be later than created_after", "created_before")


class CommaList(fields.Field):
    """`a,b,c` in a query string, as a list; each item is checked against `one_of`."""

    def __init__(self, one_of: list[str] | None = None, **options: Any) -> None:
        pattern = f"^({'|'.join(one_of)})(,({'|'.join(one_of)}))*$" if one_of else "^[^,]+(,[^,]+)*$"
        metadata = {"type": "string", "pattern": pattern} | options.pop("metadata", {})
        super().__init__(metadata=metadata, **options)
        self.one_of = one_of

    def _deserialize(self, value: str, attr: Any, data: Any, **_: Any) -> list[str]:
        items = list(dict.fromkeys(value.split(",")))
        for item in items:
            if not item or (self.one_of and item not in self.one_of):
                raise ma.ValidationError(f"{item!r} is not one of {', '.join(self.one_of or ['a name'])}")
        return items


def text(limit: int, **options: Any) -> fields.Str:
    """Free text with at least one visible character, stored as it is."""
    rules = [validate.Length(max=limit), validate.Regexp(r"(?s).*\S", error="must not be blank")]
    return fields.Str(validate=rules, **options)


def integer(low: int, high: int, **options: Any) -> fields.Int:
    """A JSON integer within bounds; strings and floats are refused."""
    return fields.Int(strict=True, validate=validate.Range(low, high), **options)


def slug(**options: Any) -> fields.Str:
    return fields.Str(validate=validate.Regexp(r"^[a-z0-9][a-z0-9_-]{0,63}\Z"), **options)
