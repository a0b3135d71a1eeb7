"""Is it up, and what is it doing."""

from __future__ import annotations

import time
from typing import Any

from flask import g
from flask.views import MethodView
from marshmallow import fields

from api import definitions, probes
from api.blueprint import Blueprint, needs
from api.schemas import AnswerSchema
from models import config
from pipelines import personas
from workers.version import VERSION

blueprint = Blueprint("status", "status", url_prefix="/v1", description="Is it up, and what is it doing")
STARTED = time.monotonic()
COUNTED = (
    *("workers", "queue", "active_runs", "paused_runs", "completed_runs_last_hour", "failed_runs_last_hour"),
    *("avg_duration", "pending_approvals", "engine_version"),
)
EXAMPLE = {"status": "ok", "redis_connected": True, "database_connected": True}


class ComponentSchema(AnswerSchema):
    name = fields.Str()
    status = fields.Str(metadata={"enum": ["ok", "degraded", "down"]})
    detail = fields.Str(allow_none=True)
    latency_ms = fields.Int(allow_none=True)


class WorkersSchema(AnswerSchema):
    alive = fields.Int()
    busy = fields.Int()
    slots = fields.Int()


class QueueSchema(AnswerSchema):
    pending_runs = fields.Int()
    oldest_pending_ms = fields.Int(allow_none=True)
    outbox_unsent = fields.Int()
    retrying_steps = fields.Int()


class GithubSchema(AnswerSchema):
    configured = fields.Bool()
    healthy = fields.Bool()


class StatusSchema(AnswerSchema):
    status = fields.Str(required=True, metadata={"enum": ["ok", "degraded"]})
    redis_connected = fields.Bool(required=True)
    database_connected = fields.Bool(required=True)
    version = fields.Str()
    engine_version = fields.Str(allow_none=True)
    uptime_seconds = fields.Int()
    components = fields.List(fields.Nested(ComponentSchema))
    workers = fields.Nested(WorkersSchema, allow_none=True)
    queue = fields.Nested(QueueSchema, allow_none=True)
    active_runs = fields.Int(allow_none=True)
    paused_runs = fields.Int(allow_none=True)
    completed_runs_last_hour = fields.Int(allow_none=True)
    failed_runs_last_hour = fields.Int(allow_none=True)
    avg_duration = fields.Int(allow_none=True, metadata={"description": "ms, of the runs completed in the last hour"})
    total_pipelines = fields.Int()
    invalid_pipelines = fields.Int()
    total_agents = fields.Int()
    pending_approvals = fields.Int(allow_none=True)
    github = fields.Nested(GithubSchema)


@blueprint.route("/status")
class Status(MethodView):
    @needs("public")
    @blueprint.response(200, StatusSchema, example=EXAMPLE)
    def get(self):
        """The state of the platform; without a token only whether it is up"""
        found = probes.report()
        short = summary(found["components"])
        return short | details(found) if g.token else short


def summary(components: list[dict[str, Any]]) -> dict[str, Any]:
    at = {component["name"]: component["status"] for component in components}
    return {
        "status": "ok" if set(at.values()) == {"ok"} else "degraded",
        "redis_connected": at["redis"] == "ok",
        "database_connected": at["database"] == "ok",
    }


def details(found: dict[str, Any]) -> dict[str, Any]:
    entries = definitions.catalog().list()
    valid = sum(entry.valid for entry in entries)
    return (
        dict.fromkeys(COUNTED)
        | (found["counts"] or {})
        | {
            "version": VERSION,
            "uptime_seconds": int(time.monotonic() - STARTED),
            "components": found["components"],
            "total_pipelines": valid,
            "invalid_pipelines": len(entries) - valid,
            "total_agents": len(personas.installed(config.get().agents_dir)),
            "github": {"configured": False, "healthy": False},
        }
    )
