"""Schemas of GitHub's triggers."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas import AnswerSchema, EitherSpelling, Flag, RequestSchema, slug, text
from models.tasks import PRIORITIES
from models.triggers import ON_CONFLICT, ONE_AT_A_TIME

MOST = 50  # entries of a list
KINDS = ("pipeline", "task")
EXAMPLE = {
    "name": "Look at crashes",
    "event": "issues",
    "actions": ["opened"],
    "conditions": {"title_contains": "crash"},
    "target": {"kind": "pipeline", "pipeline_id": "bugfix"},
    "task_template": "{{issue.title}}\n\n{{issue.body}}",
}


def globs(limit: int = MOST) -> fields.List:
    return fields.List(fields.Str(validate=validate.Length(1, 256)), validate=validate.Length(max=limit))


class ConditionsSchema(EitherSpelling):
    labels_any = globs()
    labels_none = globs()
    branches = globs()
    paths = globs()
    authors = globs()
    authors_exclude = globs()
    command = fields.Str(validate=validate.Length(1, 40), metadata={"description": "/word"})
    title_contains = text(200)
    draft = Flag()


class TargetSchema(EitherSpelling):
    kind = fields.Str(required=True, validate=validate.OneOf(KINDS))
    pipeline_id = slug()
    project_id = fields.Str(validate=validate.Length(1, 64))
    agent_id = slug()
    priority = fields.Str(validate=validate.OneOf(PRIORITIES))
    tags = fields.List(fields.Str(validate=validate.Length(1, 64)), validate=validate.Length(max=32))

    @ma.validates_schema
    def _whole(self, data: dict, **_) -> None:
        needed = {"pipeline": "pipeline_id", "task": "project_id"}.get(data.get("kind"))
        if needed and not data.get(needed):
            raise ma.ValidationError(f"needed by kind {data['kind']}", needed)


class UpdateTriggerSchema(EitherSpelling):
    name = text(200)
    enabled = Flag()
    repositories = globs()
    event = fields.Str(validate=validate.Length(1, 64))
    actions = fields.List(fields.Str(validate=validate.Length(1, 64)), validate=validate.Length(max=MOST))
    conditions = fields.Nested(ConditionsSchema)
    target = fields.Nested(TargetSchema)
    task_template = text(20_000)
    concurrency_key = text(500)
    on_conflict = fields.Str(validate=validate.OneOf(ON_CONFLICT))


class CreateTriggerSchema(UpdateTriggerSchema):
    name = text(200, required=True)
    event = fields.Str(required=True, validate=validate.Length(1, 64))
    target = fields.Nested(TargetSchema, required=True)
    task_template = text(20_000, required=True)


class TriggerSchema(AnswerSchema):
    id = fields.Str(required=True)
    name = fields.Str(required=True)
    enabled = fields.Bool(required=True)
    built_in = fields.Bool(required=True)
    repositories = fields.List(fields.Str(), required=True)
    event = fields.Str(required=True)
    actions = fields.List(fields.Str(), required=True)
    conditions = fields.Dict(required=True)
    target = fields.Dict(required=True)
    task_template = fields.Str(required=True)
    concurrency_key = fields.Str(required=True, metadata={"example": ONE_AT_A_TIME})
    on_conflict = fields.Str(required=True, metadata={"enum": list(ON_CONFLICT)})
    fired = fields.Int(required=True)
    last_fired_at = fields.Int(required=True, allow_none=True)
    version = fields.Int(required=True)
    created_at = fields.Int(required=True)
    updated_at = fields.Int(required=True)


class TestTriggerSchema(RequestSchema):
    """A delivery of the inbox, or a payload as GitHub would send it."""

    delivery = fields.Str(validate=validate.Length(1, 64), metadata={"description": "dlv_..."})
    payload = fields.Dict(keys=fields.Str())
    event = fields.Str(validate=validate.Length(1, 64), metadata={"description": "Of `payload`; else the trigger's"})

    @ma.validates_schema
    def _one_of_them(self, data: dict, **_) -> None:
        if ("delivery" in data) == ("payload" in data):
            raise ma.ValidationError("give `delivery` or `payload`", "delivery")


class TestedSchema(AnswerSchema):
    matches = fields.Bool(required=True)
    reasons = fields.List(fields.Str(), required=True)
    trusted = fields.Bool(required=True)
    rendered = fields.Dict(required=True)
