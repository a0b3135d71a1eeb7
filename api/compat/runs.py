"""Aliases of the routes of runs and steps."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask.views import MethodView
from marshmallow import fields

from api import details
from api.blueprint import needs
from api.compat import frames
from api.compat.blueprint import Aliases, OlderSchema
from api.resources.run_schemas import MEGABYTE, RunDetailSchema
from api.resources.runs import restarted
from api.resources.step_schemas import StepFilterSchema, StepSchema
from api.resources.steps import listed
from api.schemas import RequestSchema, text
from models import events, run_views

blueprint = Aliases("alias_runs", "alias_runs", url_prefix="/v1", description="Aliases: runs and steps")
MOST_LINES = 5_000
RESTART_EXAMPLE = {"context": "Use PostgreSQL"}


class LogLinesSchema(ma.Schema):
    text = fields.Bool(load_default=True, metadata={"description": "false: without what agents say"})


class RestartStepSchema(RequestSchema):
    context = text(MEGABYTE, allow_none=True)


@blueprint.route("/runs/<id:run_id>/logs")
class AliasRunLogs(MethodView):
    @needs("read")
    @blueprint.arguments(LogLinesSchema, location="query")
    @blueprint.response(200, OlderSchema(many=True))
    @blueprint.errors(404)
    def get(self, query, run_id):
        """The end of a run's log"""
        return log_lines(run_views.fetch(run_id)["id"], query["text"])


@blueprint.route("/steps/<id:run_id>/<id:step_id>/logs")
class AliasStepLogs(MethodView):
    @needs("read")
    @blueprint.arguments(LogLinesSchema, location="query")
    @blueprint.response(200, OlderSchema(many=True))
    @blueprint.errors(404)
    def get(self, query, run_id, step_id):
        """The end of a step's log"""
        step = details.find_step(details.epoch_of(run_views.fetch(run_id)), step_id)
        return log_lines(run_id, query["text"], step.key)


def log_lines(run_id: str, with_text: bool, step_key: str | None = None) -> list[dict[str, Any]]:
    """The frames of the last events, oldest first."""
    found = events.last(run_id, MOST_LINES, step_key, () if with_text else frames.TEXT)
    return [frame for row in found for frame in frames.of_run(events.decode(row["data"]))]


@blueprint.route("/runs/<id:run_id>/outputs")
class AliasRunOutputs(MethodView):
    @needs("read")
    @blueprint.response(200, OlderSchema)
    @blueprint.errors(404)
    def get(self, run_id):
        """What the run has put out so far"""
        return details.run(run_id)["outputs"]


@blueprint.route("/runs/<id:run_id>/steps")
class AliasRunSteps(MethodView):
    @needs("read")
    @blueprint.arguments(StepFilterSchema, location="query")
    @blueprint.response(200, StepSchema(many=True))
    @blueprint.errors(404)
    def get(self, query, run_id):
        """As GET /steps/{run_id}"""
        return listed(run_id, **query)


@blueprint.route("/runs/<id:run_id>/steps/<id:step_id>/restart")
class AliasStepRestart(MethodView):
    @needs("run")
    @blueprint.arguments(RestartStepSchema, required=False, example=RESTART_EXAMPLE)
    @blueprint.response(202, RunDetailSchema)
    @blueprint.errors(404, 409)
    def post(self, body, run_id, step_id):
        """As POST /runs/{id}/restart from this step"""
        step = details.find_step(details.epoch_of(run_views.fetch(run_id)), step_id)
        return restarted(run_id, from_=step.key, **body)


@blueprint.route("/steps/<id:run_id>/<id:step_id>/restart")
class AliasStepsRestart(AliasStepRestart):
    """The same under another path."""
