"""Runs: start, list, look at, cancel, restart."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response, g, request
from flask.views import MethodView

from api import definitions, details, etags
from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.idempotency import idempotent
from api.paging import decode, link
from api.resources import run_schemas as schemas
from models import projects, run_list, run_views
from models.errors import Conflict, Invalid
from models.projects import Project
from pipelines.catalog import Entry
from workers import runs as commands

blueprint = Blueprint("runs", "runs", url_prefix="/v1", description="Executions of pipelines")


@blueprint.route("/runs")
class Runs(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.RunFilterSchema, location="query")
    @blueprint.response(200, schemas.RunSchema(many=True))
    def get(self, query):
        """Runs, newest first"""
        cursor, limit = decode(query.pop("cursor")), query.pop("limit")
        outputs, count = query.pop("include") == "outputs", query.pop("count")
        filters = run_list.Filters(**query)
        page, headers = link(run_list.page(filters, limit + 1, cursor, outputs), limit, lambda row: row["id"])
        if count:
            headers["X-Total-Count"] = str(run_list.count(filters))
        return run_views.listed(page, outputs), headers

    @needs("run")
    @idempotent
    @blueprint.arguments(schemas.StrictSchema, location="query")
    @blueprint.arguments(schemas.StartSchema, example=schemas.START_EXAMPLE)
    @blueprint.response(201, schemas.RunDetailSchema)
    @blueprint.errors(404, 409, 429)
    def post(self, query, body):
        """Start a run"""
        entry = definitions.startable(body.pop("pipeline_id"))
        link_project(body)
        warnings = missing_variables(entry, body.get("human_context"), query["strict"])
        run_id = commands.start(entry, **body, created_by=g.token.name, warnings=warnings)
        return started(run_id)


@blueprint.route("/runs/<id:run_id>")
class RunById(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.RunLookSchema, location="query")
    @blueprint.response(200, schemas.RunDetailSchema)
    @blueprint.errors(404)
    def get(self, query, run_id):
        """One run with its steps; `wait` holds the answer until it ends or pauses"""
        row = details.settled(run_id, query["wait"], g.holder)
        tag = details.etag(row)
        if request.if_none_match.contains(tag):
            return Response(status=304, headers={"ETag": f'"{tag}"'})
        return details.run_detail(row, query["epoch"]), {"ETag": f'"{tag}"'}

    @needs("admin")
    @blueprint.response(204)
    @blueprint.errors(404, 409, 412)
    def delete(self, run_id):
        """Remove a run that is over, with its child runs, events and workspace"""
        with recorded("run.delete", "run", run_id):
            etags.check(details.etag(run_views.fetch(run_id)))
            commands.remove(run_id)


@blueprint.route("/runs/<id:run_id>/cancel")
class RunCancel(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.ReasonSchema, required=False, example={"reason": "Wrong repository"})
    @blueprint.response(200, schemas.CancelledSchema, example=schemas.CANCELLED_EXAMPLE)
    @blueprint.errors(404, 409)
    def post(self, body, run_id):
        """End a run now"""
        commands.cancel(run_id, reason=body["reason"], by=g.token.name)
        row = run_views.fetch(run_id)
        return {"run_id": run_id, "status": row["status"], "completed_at": row["completed_at"]}


@blueprint.route("/runs/<id:run_id>/restart")
class RunRestart(MethodView):
    @needs("run")
    @idempotent
    @blueprint.arguments(schemas.RestartSchema, required=False, example=schemas.RESTART_EXAMPLE)
    @blueprint.response(202, schemas.RunDetailSchema)
    @blueprint.errors(404, 409)
    def post(self, body, run_id):
        """Begin a run again: from the start, from what failed, or from a step"""
        return restarted(run_id, **body)


def restarted(run_id: str, **options: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Restarts the run and answers as for one that has started. Raises NotFound, Conflict, Invalid."""
    pipeline_id = run_views.fetch(run_id)["pipeline_id"]
    commands.restart(run_id, **options, by=g.token.name, latest=lambda: definitions.latest(pipeline_id))
    return started(run_id)


def started(run_id: str) -> tuple[dict[str, Any], dict[str, str]]:
    """(the Run detail, where it is from now on)."""
    return details.run_detail(run_views.fetch(run_id)), {"Location": f"/v1/runs/{run_id}"}


def link_project(body: dict[str, Any]) -> None:
    """Fills in project and name of each other. Raises NotFound, Conflict."""
    if body.get("project_id") is None and body.get("project_name"):
        named = projects.named(body["project_name"])
        body["project_id"] = named[0] if len(named) == 1 else None
    if body.get("project_id") is not None:
        body["project_name"] = usable_project(body["project_id"]).name


def usable_project(project_id: str) -> Project:
    """Raises NotFound, Conflict."""
    project = projects.get(project_id)
    if project.status == "archived":
        raise Conflict(f"Project {project_id} is archived", "project_archived")
    return project


def missing_variables(entry: Entry, human_context: str | None, strict: bool) -> tuple[str, ...]:
    """Warnings about variables that only a JSON context could give and does not. Raises Invalid if `strict`."""
    given = set()
    if human_context and human_context.lstrip().startswith("{"):
        try:
            given = set(orjson.loads(human_context))
        except orjson.JSONDecodeError:
            given = set()
    missing = [name for name in entry.required_variables if name not in given]
    reasons = {f"human_context.{name}": ["the pipeline needs it"] for name in missing}
    if missing and strict:
        raise Invalid(f"Missing variables: {', '.join(missing)}", "missing_variables", reasons)
    return tuple(f"variable `{name}` is not given" for name in missing)
