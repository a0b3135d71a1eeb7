"""Tasks of a project: create, change, move, claim, connect, work on them."""

from __future__ import annotations

from typing import Any

from flask import g
from flask.views import MethodView

from api import auth, definitions, details, etags
from api.blueprint import Blueprint, needs
from api.idempotency import idempotent
from api.paging import PageSchema, decode, link
from api.resources import task_answers as answers
from api.resources import task_schemas as schemas
from api.resources.events import number
from api.resources.projects import check_pipeline
from models import database, projects, task_views, tasks
from models.errors import Invalid
from models.projects import Project, Workflow
from models.tasks import Dependency, Task
from workers import executions, task_links
from workers import tasks as commands
from workers.boards import Change

blueprint = Blueprint("tasks", "tasks", url_prefix="/v1/projects/<id:project_id>", description="Work on a board")


@blueprint.route("/tasks")
class Tasks(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.TaskFilterSchema, location="query")
    @blueprint.response(200, answers.TaskSchema(many=True))
    @blueprint.errors(404)
    def get(self, query, project_id):
        """The tasks of a board by column and place"""
        cursor, limit = decode(query.pop("cursor")), query.pop("limit")
        board = projects.board(projects.get(project_id))
        query["assigned_agent"] = query.pop("agent")
        page, headers = link(task_views.page(board, project_id, limit + 1, cursor, **query), limit, task_views.key)
        return task_views.many([row for _, row in page]), headers

    @needs("run")
    @idempotent
    @blueprint.arguments(schemas.CreateTaskSchema, example=schemas.CREATE_EXAMPLE)
    @blueprint.response(201, answers.TaskSchema)
    @blueprint.errors(404, 409)
    def post(self, body, project_id):
        """Put a new task on the board"""
        check_links(project_id, body)
        given = {name: value for name, value in body.items() if value is not None}
        given["assigned_agent"] = given.get("assigned_agent") or None
        task = commands.create(project_id, **given, actor=g.token.name)
        return task_views.one(task), {"Location": f"/v1/projects/{project_id}/tasks/{task.id}"}


def check_links(project_id: str, body: dict[str, Any]) -> None:
    """Raises NotFound for the project, Invalid for a pipeline or workflow that does not exist."""
    projects.get(project_id)
    check_pipeline(body.get("pipeline_id"), "pipeline_id")
    workflow_id = body.get("workflow_id")
    if workflow_id and not Workflow.fetch("id = ? AND project_id = ?", (workflow_id, project_id)):
        reason = {"workflow_id": ["no workflow of this project"]}
        raise Invalid(f"Workflow {workflow_id} not found", "unknown_workflow", reason)


def found(project_id: str, task_id: str) -> Task:
    """The task of the project. Raises NotFound."""
    return tasks.get(task_id, projects.get(project_id).id)


def tagged(task: Task) -> tuple[dict[str, Any], dict[str, str]]:
    return task_views.one(task), {"ETag": f'"{task.version}"'}


@blueprint.route("/tasks/<id:task_id>")
class TaskById(MethodView):
    @needs("read")
    @blueprint.response(200, answers.TaskDetailSchema)
    @blueprint.errors(404)
    def get(self, project_id, task_id):
        """One task with what it waits for, its parts and its runs"""
        task, project = found(project_id, task_id), projects.get(project_id)
        allowed = Change(project, projects.board(project), None).allowed(task)
        return task_views.detail(task) | {"allowed": allowed}, {"ETag": f'"{task.version}"'}

    @needs("run")
    @blueprint.arguments(schemas.UpdateTaskSchema, example={"priority": "P0"})
    @blueprint.response(200, answers.TaskSchema)
    @blueprint.errors(404, 409, 412)
    def put(self, body, project_id, task_id):
        """Change a task; a new status or column goes by the rules of the board"""
        if force := body.pop("force"):
            auth.demand("admin")
        check_links(project_id, body)
        options = {"actor": g.token.name, "force": force, "check": lambda before: etags.check(str(before.version))}
        return tagged(commands.update(project_id, task_id, body, **options))

    @needs("run")
    @blueprint.response(204)
    @blueprint.errors(404, 409)
    def delete(self, project_id, task_id):
        """Remove a task; what waited for it is free"""
        commands.remove(project_id, task_id, g.token.name)


@blueprint.route("/tasks/<id:task_id>/transition")
class TaskTransition(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.TransitionSchema, example=schemas.TRANSITION_EXAMPLE)
    @blueprint.response(200, answers.TransitionedSchema)
    @blueprint.errors(404, 409)
    def post(self, body, project_id, task_id):
        """Move a task to another status"""
        if body["force"]:
            auth.demand("admin")
        return transitioned(commands.transition(project_id, task_id, **body, actor=g.token.name))


def transitioned(done: dict[str, Any]) -> dict[str, Any]:
    task = done["task"]
    kept = ("column_id", "work_type", "completed_stages", "version")
    return {
        "status": "transitioned" if done["moved"] else "unchanged",
        "task_id": task.id,
        "from_status": done["from_status"],
        "to_status": task.status,
        **{name: getattr(task, name) for name in kept},
        "next_valid_stages": done["stages"],
        "allowed": done["allowed"],
        "task": task_views.one(task),
    }


@blueprint.route("/tasks/bulk-transition")
class TasksBulkTransition(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.BulkTransitionSchema, example={"items": [{"task_id": "task_01k2", "status": "done"}]})
    @blueprint.response(200, answers.MovedItemSchema(many=True))
    @blueprint.errors(404)
    def post(self, body, project_id):
        """Move many tasks, each by itself"""
        projects.get(project_id)
        return commands.bulk_transition(project_id, body["items"], g.token.name)


@blueprint.route("/tasks/<id:task_id>/move")
class TaskMove(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.MoveSchema, example={"column_id": "col_01k2", "position": 0})
    @blueprint.response(200, answers.TaskSchema)
    @blueprint.errors(404, 409)
    def post(self, body, project_id, task_id):
        """Drag a task to a column and a place in it"""
        return tagged(commands.move(project_id, task_id, **body, actor=g.token.name))


@blueprint.route("/tasks/<id:task_id>/dependencies")
class TaskDependencies(MethodView):
    @needs("read")
    @blueprint.response(200, answers.DependencySchema(many=True))
    @blueprint.errors(404)
    def get(self, project_id, task_id):
        """What a task waits for, and what only informs it"""
        rows = Dependency.fetch("to_task_id = ? ORDER BY id", (found(project_id, task_id).id,))
        return [edge(row) for row in rows]

    @needs("run")
    @blueprint.arguments(schemas.DependencyEntrySchema, example={"from_task_id": "task_01k2"})
    @blueprint.response(201, answers.DependencyDetailSchema)
    @blueprint.errors(404, 409)
    def post(self, body, project_id, task_id):
        """Make a task wait for another one"""
        made = task_links.connect(project_id, task_id, body["from_task_id"], body["type"], g.token.name)
        ends = {row.id: task_views.one(row) for row in tasks.some(project_id, [made.from_task_id, task_id])}
        return edge(made) | {"from": ends[made.from_task_id], "to": ends[task_id]}


def edge(row: Dependency) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("id", "project_id", "from_task_id", "to_task_id", "type")}


@blueprint.route("/tasks/<id:task_id>/dependencies/<id:dependency_id>")
class TaskDependencyById(MethodView):
    @needs("run")
    @blueprint.response(204)
    @blueprint.errors(404)
    def delete(self, project_id, task_id, dependency_id):
        """Let a task wait no more"""
        task_links.disconnect(project_id, task_id, dependency_id, g.token.name)


@blueprint.route("/tasks/<id:task_id>/execute")
class TaskExecute(MethodView):
    @needs("run")
    @idempotent
    @blueprint.arguments(schemas.ExecuteSchema, required=False, example={"pipeline_id": "engineering"})
    @blueprint.response(202, answers.ExecutedSchema)
    @blueprint.errors(404, 409, 429)
    def post(self, body, project_id, task_id):
        """Let a pipeline work on a task"""
        task = found(project_id, task_id)
        entry = definitions.startable(pipeline_for(projects.get(project_id), task, body["pipeline_id"]))
        request = {"human_context": body["human_context"], "model_override": body["model"]}
        run_id = executions.execute(project_id, task_id, entry, agent_id=body["agent_id"], by=g.token.name, **request)
        run, shown = details.run(run_id), task_views.one(found(project_id, task_id))
        return {"run_id": run_id, "status": run["status"], "task": shown, "run": run}


def pipeline_for(project: Project, task: Task, asked: str | None) -> str:
    """The pipeline asked for, else the task's, its workflow's, the project's. Raises Invalid if there is none."""
    workflows = Workflow.fetch(
        "project_id = ? AND (id = ? OR is_default) ORDER BY is_default",
        (
            project.id,
            task.workflow_id or "",
        ),
    )
    chosen = [row.pipeline_id for row in workflows]
    for pipeline_id in (asked, task.pipeline_id, *chosen, project.default_pipeline_id):
        if pipeline_id:
            return pipeline_id
    raise Invalid("Neither the task nor its project names a pipeline", "no_pipeline", {"pipeline_id": ["required"]})


@blueprint.route("/tasks/<id:task_id>/history")
class TaskHistory(MethodView):
    @needs("read")
    @blueprint.arguments(PageSchema, location="query")
    @blueprint.response(200, answers.HistorySchema(many=True))
    @blueprint.errors(404)
    def get(self, query, project_id, task_id):
        """What has happened to a task, the latest first"""
        before, limit = number(decode(query["cursor"])) or None, query["limit"]
        entries = tasks.history(found(project_id, task_id).id, before, limit + 1)
        page, headers = link(entries, limit, lambda row: row.seq)
        return [task_views.entry(row) for row in page], headers


@blueprint.route("/tasks/<id:task_id>/comments")
class TaskComments(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.CommentSchema, example={"text": "Looks good"})
    @blueprint.response(201, answers.HistorySchema)
    @blueprint.errors(404)
    def post(self, body, project_id, task_id):
        """Add a comment to a task's history"""
        commands.comment(project_id, task_id, body["text"], g.token.name)
        with database.connection():
            return task_views.entry(tasks.history(task_id, None, 1)[0])
