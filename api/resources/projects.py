"""Projects: boards of tasks, their columns, workflows and agents."""

from __future__ import annotations

from typing import Any

from flask import g
from flask.views import MethodView

from api import agent_views, auth, definitions, etags
from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.idempotency import idempotent
from api.paging import decode, link
from api.resources import project_schemas as schemas
from models import boards, project_views, projects
from models.errors import Invalid
from models.projects import Workflow
from workers import columns
from workers import projects as commands

blueprint = Blueprint("projects", "projects", url_prefix="/v1", description="Boards of tasks")


@blueprint.route("/projects")
class Projects(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.ProjectFilterSchema, location="query")
    @blueprint.response(200, schemas.ProjectSchema(many=True))
    def get(self, query):
        """Projects, most recently updated first; the archived only if asked for"""
        found = project_views.page(query["limit"] + 1, decode(query["cursor"]), query["status"], query["q"])
        page, headers = link(found, query["limit"], project_views.key)
        counts = project_views.counts([row.id for row in page])
        return [project_views.project(row, counts[row.id]) for row in page], headers

    @needs("run")
    @idempotent
    @blueprint.arguments(schemas.CreateProjectSchema, example=schemas.CREATE_EXAMPLE)
    @blueprint.response(201, schemas.ProjectDetailSchema)
    @blueprint.errors(404)
    def post(self, body):
        """Create a project with a board from a template or from columns"""
        check_pipeline(body.get("default_pipeline_id"), "default_pipeline_id")
        project_id = commands.create(body.pop("name"), **body, created_by=g.token.name)
        return project_views.detail(projects.get(project_id)), {"Location": f"/v1/projects/{project_id}"}


def check_pipeline(pipeline_id: str | None, field: str) -> None:
    """Raises Invalid if there is no such pipeline."""
    if pipeline_id is not None and definitions.latest(pipeline_id) is None:
        raise Invalid(f"Pipeline {pipeline_id} not found", "unknown_pipeline", {field: ["no such pipeline"]})


@blueprint.route("/projects/templates")
class ProjectTemplates(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.TemplateSchema(many=True))
    def get(self):
        """The boards that a project can begin with"""
        return [project_views.template(one) for one in boards.TEMPLATES.values()]


@blueprint.route("/projects/<id:project_id>")
class ProjectById(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.ProjectLookSchema, location="query")
    @blueprint.response(200, schemas.ProjectDetailSchema)
    @blueprint.errors(404)
    def get(self, query, project_id):
        """One project with its board"""
        row = projects.get(project_id)
        return project_views.detail(row, query["include"]), {"ETag": f'"{row.version}"'}

    @needs("run")
    @blueprint.arguments(schemas.UpdateProjectSchema, example={"status": "paused"})
    @blueprint.response(200, schemas.ProjectDetailSchema)
    @blueprint.errors(404, 409, 412)
    def put(self, body, project_id):
        """Change a project"""
        check_pipeline(body.get("default_pipeline_id"), "default_pipeline_id")
        row = commands.update(project_id, body, lambda before: etags.check(str(before.version)))
        return project_views.detail(row), {"ETag": f'"{row.version}"'}

    @needs("run")
    @blueprint.arguments(schemas.PurgeProjectSchema, location="query")
    @blueprint.response(204)
    @blueprint.errors(404, 409)
    def delete(self, query, project_id):
        """Archive a project, or remove it with its board (admin)"""
        if not query["purge"]:
            commands.archive(project_id)
            return
        auth.demand("admin")
        with recorded("project.purge", "project", project_id):
            commands.purge(project_id)


@blueprint.route("/projects/<id:project_id>/columns")
class ProjectColumns(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.ColumnSchema(many=True))
    @blueprint.errors(404)
    def get(self, project_id):
        """The columns of a board in order"""
        return [project_views.column(row) for row in projects.columns(projects.get(project_id).id)]

    @needs("run")
    @blueprint.arguments(schemas.ColumnEntrySchema, example={"name": "Waiting", "wip_limit": 3})
    @blueprint.response(201, schemas.ColumnSchema)
    @blueprint.errors(404)
    def post(self, body, project_id):
        """Add a column"""
        column_id = columns.add(project_id, body)
        where = {"Location": f"/v1/projects/{project_id}/columns/{column_id}"}
        return project_views.column(columns.get(project_id, column_id)), where


@blueprint.route("/projects/<id:project_id>/columns/<id:column_id>")
class ProjectColumnById(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.ColumnSchema)
    @blueprint.errors(404)
    def get(self, project_id, column_id):
        """One column"""
        return project_views.column(columns.get(projects.get(project_id).id, column_id))

    @needs("run")
    @blueprint.arguments(schemas.ColumnChangeSchema, example={"wip_limit": 4})
    @blueprint.response(200, schemas.ColumnSchema)
    @blueprint.errors(404, 409)
    def put(self, body, project_id, column_id):
        """Change a column: its name, place, limit or statuses"""
        columns.update(project_id, column_id, body)
        return project_views.column(columns.get(project_id, column_id))

    @needs("run")
    @blueprint.arguments(schemas.MoveToSchema, location="query")
    @blueprint.response(204)
    @blueprint.errors(404, 409)
    def delete(self, query, project_id, column_id):
        """Remove a column; its tasks move to another one"""
        columns.remove(project_id, column_id, query["move_to"])


@blueprint.route("/projects/<id:project_id>/agents")
class ProjectAgents(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.ProjectAgentSchema(many=True))
    @blueprint.errors(404)
    def get(self, project_id):
        """The agents of a project"""
        return project_views.agents(projects.get(project_id).id)

    @needs("run")
    @blueprint.arguments(schemas.AgentEntrySchema, example={"agent_id": "tester", "role": "reviewer"})
    @blueprint.response(201, schemas.ProjectAgentSchema)
    @blueprint.errors(404)
    def post(self, body, project_id):
        """Make an agent a member, or change its role"""
        commands.assign_agent(project_id, **body, by=g.token.name)
        return next(row for row in project_views.agents(project_id) if row["agent_id"] == body["agent_id"])


@blueprint.route("/agents/<id:agent_id>/projects")
class AgentProjects(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.AgentProjectSchema(many=True))
    @blueprint.errors(404)
    def get(self, agent_id):
        """The projects that an agent is a member of"""
        return project_views.of_agent(agent_views.find(agent_id).id)


@blueprint.route("/projects/<id:project_id>/agents/<id:agent_id>")
class ProjectAgentById(MethodView):
    @needs("run")
    @blueprint.response(204)
    @blueprint.errors(404)
    def delete(self, project_id, agent_id):
        """Take an agent out of a project"""
        commands.remove_agent(project_id, agent_id)


@blueprint.route("/projects/<id:project_id>/workflows")
class ProjectWorkflows(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.WorkflowSchema(many=True))
    @blueprint.errors(404)
    def get(self, project_id):
        """The workflows of a project"""
        found = Workflow.fetch("project_id = ? ORDER BY id", (projects.get(project_id).id,))
        return [project_views.workflow(row) for row in found]

    @needs("run")
    @blueprint.arguments(schemas.WorkflowEntrySchema, example={"name": "Bugs", "pipeline_id": "bugfix"})
    @blueprint.response(201, schemas.WorkflowSchema)
    @blueprint.errors(404)
    def post(self, body, project_id):
        """Add a workflow: which pipeline works on tasks"""
        check_pipeline(body["pipeline_id"], "pipeline_id")
        return shown_workflow(commands.save_workflow(project_id, None, body))


@blueprint.route("/projects/<id:project_id>/workflows/<id:workflow_id>")
class ProjectWorkflowById(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.WorkflowChangeSchema, example={"is_default": True})
    @blueprint.response(200, schemas.WorkflowSchema)
    @blueprint.errors(404)
    def put(self, body, project_id, workflow_id):
        """Change a workflow"""
        check_pipeline(body.get("pipeline_id"), "pipeline_id")
        return shown_workflow(commands.save_workflow(project_id, workflow_id, body))

    @needs("run")
    @blueprint.response(204)
    @blueprint.errors(404)
    def delete(self, project_id, workflow_id):
        """Remove a workflow"""
        commands.remove_workflow(project_id, workflow_id)


def shown_workflow(workflow_id: str) -> dict[str, Any]:
    return project_views.workflow(Workflow.fetch("id = ?", (workflow_id,))[0])
