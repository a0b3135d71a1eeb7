"""Aliases of GitHub's routes."""

from __future__ import annotations

import marshmallow as ma
from flask.views import MethodView
from marshmallow import fields, validate

from api.blueprint import needs
from api.compat.blueprint import Aliases
from api.resources import github_schemas as schemas
from api.resources.github import app_status
from api.resources.github_deliveries import listed
from api.resources.github_webhooks import DELIVERY, received
from api.schemas import AnswerSchema
from models import github_views
from workers.github import issue_of

blueprint = Aliases("alias_github", "alias_github", url_prefix="/v1", description="Aliases: GitHub")
NOT_CONFIGURED = "Not Configured"


@blueprint.route("/webhooks/github")
class AliasWebhook(MethodView):
    @needs("public")
    @blueprint.doc(**DELIVERY)
    @blueprint.response(202, schemas.DeliveredSchema, example=schemas.DELIVERED_EXAMPLE)
    @blueprint.alt_response(200, schema=schemas.DeliveredSchema, example=schemas.DELIVERED_EXAMPLE)
    @blueprint.errors(400, 413, 415, 503)
    def post(self):
        """As POST /github/webhooks"""
        return received()

    post.takes_form = True


@blueprint.route("/webhooks/events")
class AliasWebhookEvents(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.DeliveryFilterSchema, location="query")
    @blueprint.response(200, schemas.DeliverySchema(many=True))
    def get(self, query):
        """As GET /github/deliveries"""
        return listed(query)


@blueprint.route("/github/status")
class AliasGitHubStatus(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.AppStatusSchema)
    def get(self):
        """As GET /github/app/status, with words where nothing is configured"""
        status = app_status(refresh=False)
        shown = {"app_id": status["app_id"] or 0, "app_name": status["app_name"] or NOT_CONFIGURED}
        return status | (shown if not status["configured"] else {})


@blueprint.route("/github/setup-status")
class AliasGitHubSetup(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.AppStatusSchema)
    def get(self):
        """As GET /github/app/status"""
        return app_status(refresh=False)


@blueprint.route("/github/app-info")
class AliasGitHubAppInfo(AliasGitHubSetup):
    """The same under another path."""


class ParseQuerySchema(ma.Schema):
    url = fields.Str(required=True, validate=validate.Length(1, 500))


class ParsedIssueSchema(AnswerSchema):
    owner = fields.Str(required=True)
    repo = fields.Str(required=True)
    number = fields.Int(required=True)


@blueprint.route("/resolve/parse")
class AliasResolveParse(MethodView):
    @needs("read")
    @blueprint.arguments(ParseQuerySchema, location="query")
    @blueprint.response(200, ParsedIssueSchema)
    def get(self, query):
        """Which issue an address is of"""
        repository, number = issue_of(query["url"], None, None)
        owner, _, repo = repository.partition("/")
        return {"owner": owner, "repo": repo, "number": number}


@blueprint.route("/github/installations")
class AliasGitHubInstallations(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.InstallationSchema(many=True))
    def get(self):
        """Where the App is installed, as far as is known"""
        return github_views.installations()
