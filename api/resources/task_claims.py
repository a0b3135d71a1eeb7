"""Claims of tasks: take one, keep it, give it back, ask for the next; in which order they can be worked on."""

from __future__ import annotations

from typing import Any

from flask import g
from flask.views import MethodView

from api import auth
from api.blueprint import needs
from api.resources import task_answers as answers
from api.resources import task_schemas as schemas
from api.resources.control_schemas import NothingSchema
from api.resources.tasks import blueprint
from models import projects, task_views, task_waves, tasks
from models.projects import Project
from models.tasks import Task
from workers import task_claims
from workers.boards import Change


@blueprint.route("/tasks/<id:task_id>/claim")
class TaskClaim(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.ClaimSchema, example=schemas.CLAIM_EXAMPLE)
    @blueprint.response(200, answers.ClaimedSchema)
    @blueprint.errors(404, 409)
    def post(self, body, project_id, task_id):
        """Take a task for an agent, until the claim's time is up"""
        return claimed(task_claims.claim(project_id, task_id, **body, actor=g.token.name))

    @needs("run")
    @blueprint.arguments(schemas.ReleaseSchema, location="query")
    @blueprint.response(204)
    @blueprint.errors(404, 409)
    def delete(self, query, project_id, task_id):
        """Give a claim back; an admin may end that of others"""
        if not any(value is not None for value in query.values()):
            auth.demand("admin")
        task_claims.release(project_id, task_id, **query, actor=g.token.name)


def claimed(taken: dict[str, Any]) -> dict[str, Any]:
    task = taken["task"]
    facts = {"status": taken["status"], "task_id": task.id, "agent_id": task.assigned_agent, "fence": task.fence}
    times = {"claimed_at": task.claimed_at, "lease_until": task.claim_until or None}
    return facts | times | {"branch": task.metadata["git_branch"], "task": task_views.one(task)}


@blueprint.route("/tasks/<id:task_id>/claim/heartbeat")
class TaskHeartbeat(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.HeartbeatSchema, example=schemas.CLAIM_EXAMPLE | {"fence": 1})
    @blueprint.response(200, answers.LeaseSchema)
    @blueprint.errors(404, 409)
    def post(self, body, project_id, task_id):
        """Keep a claim alive"""
        task = task_claims.renew(project_id, task_id, **body)
        return {"fence": task.fence, "lease_until": task.claim_until or None}


@blueprint.route("/claim-next")
class TaskClaimNext(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.ClaimNextSchema, example=schemas.CLAIM_EXAMPLE)
    @blueprint.response(200, answers.ClaimedSchema)
    @blueprint.alt_response(204, description="Nothing can be claimed")
    @blueprint.errors(404, 409)
    def post(self, body, project_id):
        """Take the best task that can be claimed; 204 when there is none"""
        taken = task_claims.claim_next(project_id, **body, actor=g.token.name)
        return claimed(taken) if taken else ("", 204)


@blueprint.route("/plan-preview")
class PlanPreview(MethodView):
    @needs("read")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, answers.PlanSchema)
    @blueprint.errors(404)
    def post(self, _, project_id):
        """In which order the open tasks can be worked on, and what takes longest; runs nothing"""
        return task_waves.preview(projects.get(project_id))


@blueprint.route("/ready-tasks")
class ReadyTasks(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.ReadyFilterSchema, location="query")
    @blueprint.response(200, answers.ReadySchema)
    @blueprint.errors(404)
    def get(self, query, project_id):
        """What could be claimed now, the best first, and what is being worked on"""
        project = projects.get(project_id)
        return ready(project, query["agent_id"], query["limit"])


def ready(project: Project, agent_id: str | None, limit: int) -> dict[str, Any]:
    """`{tasks, in_progress}`."""
    change = Change(project, projects.board(project), None)
    ids = task_claims.claimable(change, agent_id, limit=limit)
    rows = {row.id: row for row in tasks.some(project.id, ids)}
    statuses = change.board.semantics["in_progress"]
    marks = ", ".join("?" * len(statuses)) or "NULL"
    condition = f"project_id = ? AND status IN ({marks}) ORDER BY column_position, id LIMIT ?"
    busy = Task.fetch(condition, (project.id, *statuses, limit))
    return {"tasks": task_views.many([rows[id] for id in ids]), "in_progress": task_views.many(busy)}
