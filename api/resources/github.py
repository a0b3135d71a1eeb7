"""GitHub: what can be reached, how the connection is, and an issue to resolve."""

from __future__ import annotations

import functools
import time
from typing import Any

from flask import g
from flask.views import MethodView

from api import inquiries
from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.paging import decode, link
from api.resources import github_schemas as schemas
from api.resources.control_schemas import NothingSchema
from api.resources.runs import usable_project
from models import github_apps, github_cache, github_views
from models.errors import OutsideError
from workers import github as commands

blueprint = Blueprint("github", "github", url_prefix="/v1", description="GitHub")
REPOS_FRESH_MS = 300_000
STATUS_SECONDS, REPOS_SECONDS, ISSUE_SECONDS = 5.0, 20.0, 10.0  # how long an answer is waited for


@blueprint.route("/github/repos")
class GitHubRepos(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.RepoFilterSchema, location="query")
    @blueprint.response(200, schemas.RepoSchema(many=True))
    @blueprint.errors(502)
    def get(self, query):
        """Repositories that can be reached, by name"""
        if not github_apps.is_configured():
            return [], {"X-GitHub-Status": "not_configured"}
        freshness = refresh_repos(query["refresh"])
        cursor, limit = decode(query["cursor"]), query["limit"]
        found = github_cache.repositories(limit + 1, cursor, query["q"], query["installation_id"])
        page, headers = link(found, limit, lambda repo: repo["full_name"].lower())
        return page, headers | freshness


def refresh_repos(wanted: bool) -> dict[str, str]:
    """Headers that say how old the list is, which is asked for first if it is too old. Raises OutsideError."""
    _, at = github_cache.state("repos")
    age = None if at is None else time.time() * 1000 - at
    if not wanted and age is not None and age < REPOS_FRESH_MS:
        return {"X-Cache": "hit", "Age": str(int(age / 1000))}
    answer = asked("repos", {}, REPOS_SECONDS)
    if "error" not in answer:
        return {"X-Cache": "miss", "Age": "0"}
    if age is None:
        raise OutsideError(answer["error"], "github_error")
    return {"X-Cache": "stale", "Age": str(int(age / 1000))}


def asked(kind: str, subject: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What GitHub says to a worker, or {error}."""
    id = commands.ask(kind, subject)
    answer = inquiries.awaited(functools.partial(_answer, id), seconds)
    commands.give_up(id)
    return answer if answer is not None else {"error": inquiries.reason()}


def _answer(id: str) -> dict[str, Any] | None:
    question = github_cache.question(id)
    return question and question.answer


@blueprint.route("/github/app/status")
class GitHubAppStatus(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.RefreshSchema, location="query")
    @blueprint.response(200, schemas.AppStatusSchema)
    def get(self, query):
        """Whether GitHub is configured and answers"""
        return app_status(query["refresh"])


def app_status(refresh: bool) -> dict[str, Any]:
    """From the last check, if that was made within a minute; else from a new one."""
    _, at = github_views.last_check()
    fresh = at is not None and time.time() * 1000 - at < github_views.FRESH_MS
    if not github_apps.is_configured() or (fresh and not refresh):
        return github_views.app_status(cached=fresh)
    answer = asked("status", {}, STATUS_SECONDS)
    return github_views.app_status(cached=False, trouble=answer.get("error"))


@blueprint.route("/github/reconcile")
class GitHubReconcile(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(202, schemas.ReconcileSchema)
    def post(self, _):
        """Look for deliveries that GitHub has not brought, and ask for them again"""
        with recorded("github.reconcile", "github", github_apps.identity().mode):
            commands.reconcile()
        return {"status": "queued", "last_reconcile_at": github_cache.state("reconcile")[1]}


@blueprint.route("/resolve")
class Resolve(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.ResolveSchema, example=schemas.RESOLVE_EXAMPLE)
    @blueprint.response(201, schemas.ResolvedSchema)
    @blueprint.errors(404, 409, 429, 502)
    def post(self, body):
        """Start pipeline `resolve` for an issue"""
        repository, number = commands.issue_of(body.get("issue_url"), body.get("repo"), body.get("number"))
        project_id = body.get("project_id") and usable_project(body["project_id"]).id
        issue = read_issue(repository, number)
        run_id = commands.resolve(
            repository, issue, project_id, model_override=body.get("model"), created_by=g.token.name
        )
        shown = {"run_id": run_id, "issue_title": issue.get("title") or "", "repo_full_name": repository}
        return shown | {"status": "pending"}, {"Location": f"/v1/runs/{run_id}"}


def read_issue(repository: str, number: int) -> dict[str, Any]:
    """The issue as GitHub has it. Raises OutsideError."""
    answer = asked("issue", {"repository": repository, "number": number}, ISSUE_SECONDS)
    if "error" in answer:
        raise OutsideError(f"{repository}#{number} cannot be read: {answer['error']}", "github_error")
    return answer["issue"]
