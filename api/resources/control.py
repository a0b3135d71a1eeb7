"""Runs beyond start and cancel: pause, resume, fork, many at once; why one waits, how two differ."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

from flask import g
from flask.views import MethodView

from api import definitions, details
from api.blueprint import Blueprint, needs
from api.idempotency import idempotent
from api.resources import control_schemas as schemas
from api.resources.run_schemas import ReasonSchema, RunDetailSchema, RunSchema
from api.resources.runs import started
from models import run_diff, run_list, run_views, why
from models.errors import Conflict, Invalid, LeaseLost, NotFound
from models.run_list import NONE, Filters
from models.status import TERMINAL, RunStatus
from pipelines.catalog import Entry
from workers import runs as commands

blueprint = Blueprint("control", "control", url_prefix="/v1", description="Pause, resume, fork, many runs at once")
APPLIES = {"cancel": sorted(set(RunStatus) - TERMINAL), "restart": sorted(TERMINAL)}  # to runs of these statuses


@blueprint.route("/runs/<id:run_id>/pause")
class RunPause(MethodView):
    @needs("run")
    @blueprint.arguments(ReasonSchema, required=False, example={"reason": "Waiting for the new key"})
    @blueprint.response(200, RunSchema)
    @blueprint.errors(404, 409)
    def post(self, body, run_id):
        """Start no new attempt and no LLM call until the run is resumed"""
        commands.pause(run_id, reason=body["reason"], by=g.token.name)
        return details.run(run_id)


@blueprint.route("/runs/<id:run_id>/resume")
class RunResume(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.NothingSchema, required=False, example={})
    @blueprint.response(202, RunSchema)
    @blueprint.errors(404, 409)
    def post(self, _, run_id):
        """Go on where the run was paused"""
        commands.resume(run_id, by=g.token.name)
        return details.run(run_id)


@blueprint.route("/runs/<id:run_id>/fork")
class RunFork(MethodView):
    @needs("run")
    @idempotent
    @blueprint.arguments(schemas.ForkSchema, example=schemas.FORK_EXAMPLE)
    @blueprint.response(201, RunDetailSchema)
    @blueprint.errors(404, 409)
    def post(self, body, run_id):
        """A new run that takes over what this one did before a step"""
        latest = latest_of(run_views.fetch(run_id)["pipeline_id"])
        return started(commands.fork(run_id, **body, latest=latest, by=g.token.name))


@blueprint.route("/runs/<id:run_id>/why")
class RunWhy(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.WhySchema)
    @blueprint.errors(404)
    def get(self, run_id):
        """Why a run does not go on"""
        return why.explain(run_id, definitions.rules)


@blueprint.route("/runs/<id:run_id>/diff/<id:other_id>")
class RunDiff(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.DiffQuerySchema, location="query")
    @blueprint.response(200, schemas.DiffSchema)
    @blueprint.errors(404)
    def get(self, query, run_id, other_id):
        """Two runs side by side: what they were given, each step, what they cost"""
        left, right = (details.run_detail(run_views.fetch(one)) for one in (run_id, other_id))
        return run_diff.compare(left, right, query["step_id"])


@blueprint.route("/runs/bulk")
class RunsBulk(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.BulkSchema, example=schemas.BULK_EXAMPLE)
    @blueprint.response(200, schemas.BulkDoneSchema)
    def post(self, body):
        """Cancel or restart every run that matches, oldest first, each in a transaction of its own"""
        found = run_list.oldest(matching(body["filter"], body["action"]), body["max"] + 1)
        page, command = found[: body["max"]], command_of(body)
        results = [tried(command, row) for row in page]
        done = [] if body["dry_run"] else [result["ok"] for result in results]
        counted = {"matched": len(page), "done": sum(done), "failed": len(done) - sum(done)}
        return counted | {"more": len(found) > len(page), "results": results}


def latest_of(pipeline_id: str) -> Callable[[], Entry | None]:
    """Finds the pipeline as it is now, when that is asked for."""
    return lambda: definitions.latest(pipeline_id)


def matching(given: dict[str, Any], action: str) -> Filters:
    """Which runs: as asked, and if neither statuses nor ids are named, only those that the action can be applied to."""
    statuses = list(dict.fromkeys(given.get("status", [])))
    asked = given | {"status": statuses, "tag": [given["tag"]] if "tag" in given else []}
    if not statuses and not given.get("ids"):
        asked |= {"status": APPLIES[action], "parent_run_id": NONE if action == "restart" else None}
    return Filters(**asked)


def command_of(body: dict[str, Any]) -> Callable[[dict[str, Any]], str]:
    """What to do with each row of a run; it returns the run's status from then on."""
    if body["dry_run"]:
        return itemgetter("status")
    return cancelled if body["action"] == "cancel" else partial(restarted, from_=body["from_"])


def cancelled(row: dict[str, Any]) -> str:
    commands.cancel(row["id"], reason="Cancelled together with others", by=g.token.name)
    return RunStatus.CANCELLED


def restarted(row: dict[str, Any], from_: str) -> str:
    commands.restart(row["id"], from_=from_, by=g.token.name, latest=latest_of(row["pipeline_id"]))
    return RunStatus.PENDING


def tried(command: Callable[[dict[str, Any]], str], row: dict[str, Any]) -> dict[str, Any]:
    """The result of a command on one run; a refusal does not stop the others."""
    time.sleep(0)  # lets other requests of this process run
    try:
        return {"run_id": row["id"], "ok": True, "status": command(row), "code": None}
    except (Conflict, Invalid, LeaseLost, NotFound) as refusal:
        return {"run_id": row["id"], "ok": False, "status": row["status"], "code": refusal.code}
