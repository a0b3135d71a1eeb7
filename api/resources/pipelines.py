"""Pipelines: what can be started."""

from __future__ import annotations

import marshmallow as ma
from flask import Response, request
from flask.views import MethodView
from marshmallow import fields, validate

from api import definitions
from api.blueprint import Blueprint, needs
from api.schemas import AnswerSchema, RequestSchema
from pipelines.catalog import check, graph

blueprint = Blueprint("pipelines", "pipelines", url_prefix="/v1", description="What can be started")
LONGEST_YAML = 256 * 1024
EXAMPLE = {"yaml_content": "id: hello\nsteps:\n  - id: HELLO\n    agent: developer\n    input: Say hello\n"}


class FileProblemSchema(AnswerSchema):
    """One thing that is wrong with a pipeline file."""

    severity = fields.Str(metadata={"enum": ["error", "warning"]})
    code = fields.Str()
    path = fields.Str()
    line = fields.Int(allow_none=True)
    column = fields.Int(allow_none=True)
    message = fields.Str()
    hint = fields.Str(allow_none=True)


class PipelineSchema(AnswerSchema):
    """A Pipeline object. `defaults`, `agents` and `steps` are as written in the file."""

    id = fields.Str(required=True)
    name = fields.Str(required=True)
    version = fields.Str(required=True, allow_none=True)
    description = fields.Str(required=True)
    valid = fields.Bool(required=True)
    errors = fields.List(fields.Str(), required=True)
    warnings = fields.List(fields.Str(), required=True)
    problems = fields.List(fields.Nested(FileProblemSchema), required=True)
    defaults = fields.Dict(required=True)
    agents = fields.List(fields.Dict(), required=True)
    steps = fields.List(fields.Dict(), required=True)
    entry_steps = fields.List(fields.Str(), required=True)
    required_variables = fields.List(fields.Str(), required=True)
    hash = fields.Str(required=True)
    source = fields.Str(required=True, metadata={"enum": ["builtin", "user"]})
    file = fields.Str(required=True)
    updated_at = fields.Int(required=True)


class PipelineFilterSchema(ma.Schema):
    valid = fields.Bool(load_default=None)


class ValidateSchema(RequestSchema):
    ALIASES = {"yaml": "yaml_content"}

    yaml_content = fields.Str(allow_none=True, load_default=None, validate=validate.Length(max=LONGEST_YAML))


class ValidationSchema(AnswerSchema):
    valid = fields.Bool(required=True)
    pipeline_id = fields.Str(required=True)
    errors = fields.List(fields.Str(), required=True)
    warnings = fields.List(fields.Str(), required=True)
    problems = fields.List(fields.Nested(FileProblemSchema), required=True)


class RawSchema(AnswerSchema):
    pipeline_id = fields.Str(required=True)
    yaml = fields.Str(required=True)
    file = fields.Str(required=True)
    hash = fields.Str(required=True)


class NodeSchema(AnswerSchema):
    id = fields.Str()
    type = fields.Str()
    agent_id = fields.Str(allow_none=True)
    entry = fields.Bool()
    terminal = fields.Bool()
    reachable = fields.Bool()


class EdgeSchema(AnswerSchema):
    from_ = fields.Str(data_key="from")
    to = fields.Str()
    kind = fields.Str(metadata={"enum": ["next", "result", "needs", "loop_each", "loop_all", "continue", "failure"]})
    label = fields.Str(allow_none=True)
    back = fields.Bool()


class GraphSchema(AnswerSchema):
    nodes = fields.List(fields.Nested(NodeSchema), required=True)
    edges = fields.List(fields.Nested(EdgeSchema), required=True)
    mermaid = fields.Str(required=True)


@blueprint.route("/pipelines")
class Pipelines(MethodView):
    @needs("read")
    @blueprint.arguments(PipelineFilterSchema, location="query")
    @blueprint.response(200, PipelineSchema(many=True))
    def get(self, query):
        """All pipelines by id, broken ones too"""
        entries = definitions.catalog().list()
        return [entry.as_dict() for entry in entries if query["valid"] in (None, entry.valid)]


@blueprint.route("/pipelines/<id:pipeline_id>")
class PipelineById(MethodView):
    @needs("read")
    @blueprint.response(200, PipelineSchema)
    @blueprint.errors(404)
    def get(self, pipeline_id):
        """One pipeline"""
        entry = definitions.get(pipeline_id)
        if request.if_none_match.contains(entry.hash):
            return Response(status=304, headers={"ETag": f'"{entry.hash}"'})
        return entry.as_dict(), {"ETag": f'"{entry.hash}"'}


@blueprint.route("/pipelines/<id:pipeline_id>/validate")
class PipelineValidate(MethodView):
    @needs("read")
    @blueprint.arguments(ValidateSchema, required=False, example=EXAMPLE)
    @blueprint.response(200, ValidationSchema)
    @blueprint.errors(404)
    def post(self, body, pipeline_id):
        """All problems of a pipeline, or of the text in the body, at once"""
        found = definitions.get(pipeline_id) if body["yaml_content"] is None else checked(body["yaml_content"])
        return {
            "valid": found.pipeline is not None,
            "pipeline_id": pipeline_id,
            "errors": found.errors,
            "warnings": found.warnings,
            "problems": [problem.as_dict() for problem in found.problems],
        }


@blueprint.route("/pipelines/<id:pipeline_id>/raw")
class PipelineRaw(MethodView):
    @needs("read")
    @blueprint.response(200, RawSchema)
    @blueprint.errors(404)
    def get(self, pipeline_id):
        """The file as it is"""
        entry = definitions.get(pipeline_id)
        return {"pipeline_id": entry.id, "yaml": entry.text, "file": entry.file, "hash": entry.hash}


@blueprint.route("/pipelines/<id:pipeline_id>/graph")
class PipelineGraph(MethodView):
    @needs("read")
    @blueprint.response(200, GraphSchema)
    @blueprint.errors(404, 422)
    def get(self, pipeline_id):
        """Steps and the ways between them, also as Mermaid text"""
        return graph(definitions.startable(pipeline_id).pipeline)


def checked(text: str):
    """What the engine's own rules say of a text."""
    known = definitions.known()
    return check(text, agents=known.agents, tools=known.tools, pipelines=definitions.definition)
