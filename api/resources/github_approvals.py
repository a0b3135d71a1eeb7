"""GitHub's approvals: what strangers have asked for, started or refused by an admin."""

from __future__ import annotations

from flask import g
from flask.views import MethodView

from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.paging import decode, link
from api.resources import github_schemas as schemas
from models import github_approvals
from workers import triggers as commands

blueprint = Blueprint("github_approvals", "github_approvals", url_prefix="/v1", description="What strangers ask for")
EXAMPLE = {"comment": "A known user"}


@blueprint.route("/github/approvals")
class GitHubApprovals(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.GitHubApprovalFilterSchema, location="query")
    @blueprint.response(200, schemas.GitHubApprovalSchema(many=True))
    def get(self, query):
        """What strangers have asked for, oldest first"""
        cursor, limit = decode(query["cursor"]), query["limit"]
        page, headers = link(github_approvals.page(limit + 1, cursor, query["status"]), limit, lambda item: item.id)
        return [item.as_dict() for item in page], headers


@blueprint.route("/github/approvals/<id:approval_id>/approve")
class GitHubApprovalApprove(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.DecisionSchema, required=False, example=EXAMPLE)
    @blueprint.response(200, schemas.GitHubApprovalSchema)
    @blueprint.errors(404, 409)
    def post(self, body, approval_id):
        """Start it after all"""
        with recorded("github.approve", "github_approval", approval_id, **body):
            return commands.approve(approval_id, g.token.name, body["comment"]).as_dict()


@blueprint.route("/github/approvals/<id:approval_id>/reject")
class GitHubApprovalReject(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.DecisionSchema, required=False, example=EXAMPLE)
    @blueprint.response(200, schemas.GitHubApprovalSchema)
    @blueprint.errors(404, 409)
    def post(self, body, approval_id):
        """Refuse it"""
        with recorded("github.reject", "github_approval", approval_id, **body):
            item = github_approvals.decide(approval_id, github_approvals.REJECTED, g.token.name, body["comment"])
            return item.as_dict()
