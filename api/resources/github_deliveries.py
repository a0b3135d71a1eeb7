"""GitHub's deliveries: what came in, what it led to, and replays."""

from __future__ import annotations

from flask.views import MethodView

from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.paging import decode, link
from api.resources import github_schemas as schemas
from models import deliveries
from workers import deliveries as commands

blueprint = Blueprint("github_deliveries", "github_deliveries", url_prefix="/v1", description="GitHub's deliveries")


@blueprint.route("/github/deliveries")
class GitHubDeliveries(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.DeliveryFilterSchema, location="query")
    @blueprint.response(200, schemas.DeliverySchema(many=True))
    def get(self, query):
        """Deliveries, newest first, without their bodies"""
        return listed(query)


def listed(query: dict) -> tuple[list[dict], dict[str, str]]:
    cursor, limit = decode(query.pop("cursor")), query.pop("limit")
    repository = query.pop("repository")
    page = deliveries.page(limit + 1, cursor, **query, repository=repository and repository.lower())
    return link(page, limit, lambda row: row["id"])


@blueprint.route("/github/deliveries/<id:delivery_id>")
class GitHubDeliveryById(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.DeliverySchema)
    @blueprint.errors(404)
    def get(self, delivery_id):
        """One delivery with its effects"""
        return deliveries.view(delivery_id)


@blueprint.route("/github/deliveries/<id:delivery_id>/replay")
class GitHubDeliveryReplay(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.ReplaySchema, required=False, example={"force": False})
    @blueprint.response(202, schemas.DeliverySchema)
    @blueprint.errors(404, 409)
    def post(self, body, delivery_id):
        """Process a delivery again: what is not done yet, or with `force` everything"""
        with recorded("github.replay", "github_delivery", delivery_id, **body):
            return commands.replay(delivery_id, **body)
