"""Steps of a run: list, look at, read what they said."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from flask.views import MethodView

from api import details
from api.blueprint import Blueprint, needs
from api.resources import step_schemas as schemas
from models import run_views, step_outputs, step_views

blueprint = Blueprint("steps", "steps", url_prefix="/v1", description="Steps of a run")


@blueprint.route("/steps/<id:run_id>")
class Steps(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.StepFilterSchema, location="query")
    @blueprint.response(200, schemas.StepSchema(many=True))
    @blueprint.errors(404)
    def get(self, query, run_id):
        """The steps of a run: those entered in order, then the others as in the file"""
        return listed(run_id, **query)


def listed(run_id: str, status: str | None, epoch: int | None) -> list[dict[str, Any]]:
    """The Step objects of a run, all or those of one status. Raises NotFound."""
    steps = step_views.steps(details.epoch_of(run_views.fetch(run_id), epoch))
    return [step for step in steps if status in (None, step["status"])]


@blueprint.route("/steps/<id:run_id>/<id:step_id>")
class StepById(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.StepLookSchema, location="query")
    @blueprint.response(200, schemas.StepDetailSchema)
    @blueprint.errors(404)
    def get(self, query, run_id, step_id):
        """One step with its attempts and visits"""
        epoch = details.epoch_of(run_views.fetch(run_id), query["epoch"])
        pinned = details.find_step(epoch, step_id)
        more = {"attempts": step_views.attempts(epoch, pinned.key), "visits": step_views.visits(epoch, pinned.key)}
        return step_views.step(epoch, pinned) | more


@blueprint.route("/steps/<id:run_id>/<id:step_id>/output")
class StepOutput(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.OutputSliceSchema, location="query")
    @blueprint.response(200, schemas.OutputSchema, example=schemas.OUTPUT_EXAMPLE)
    @blueprint.errors(404)
    def get(self, query, run_id, step_id):
        """What a step has said, also while it speaks; `Accept: text/plain` for the raw text alone"""
        epoch = details.epoch_of(run_views.fetch(run_id), query.pop("epoch"))
        found = step_outputs.output(epoch, details.find_step(epoch, step_id), **query)
        if request.accept_mimetypes.best == "text/plain":
            return Response(found["raw_output"] or "", content_type="text/plain; charset=utf-8")
        return found
