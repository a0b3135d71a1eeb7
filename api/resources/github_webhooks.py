"""GitHub's webhook: open to everyone who knows the secret, answered as soon as the delivery is stored."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

from flask import request
from flask.views import MethodView
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from api import bodies
from api.blueprint import Blueprint, needs
from api.resources.github_schemas import DELIVERED_EXAMPLE, DeliveredSchema, PayloadSchema
from models import github_apps
from models.errors import Unauthorized, Unavailable
from workers import deliveries as commands

blueprint = Blueprint("github_webhooks", "github_webhooks", url_prefix="/v1", description="GitHub's webhook")
MOST_BYTES = 5 << 20
SIGNATURE = re.compile(r"sha256=([0-9a-f]{64})")
NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
RETRY_SECONDS = 60
DELIVERY = {
    "requestBody": {
        "content": {"application/json": {"schema": PayloadSchema, "example": {"zen": "Design for failure."}}},
        "required": True,
    }
}


@blueprint.route("/github/webhooks")
class GitHubWebhooks(MethodView):
    @needs("public")
    @blueprint.doc(**DELIVERY)
    @blueprint.response(202, DeliveredSchema, example=DELIVERED_EXAMPLE)
    @blueprint.alt_response(200, schema=DeliveredSchema, example=DELIVERED_EXAMPLE | {"duplicate": True})
    @blueprint.errors(400, 413, 415, 503)
    def post(self):
        """Take a delivery; the signature of its bytes is checked before anything in it is read"""
        return received()

    post.takes_form = True  # what else would be refused for its type must be refused for its size first


def received() -> tuple[dict[str, Any], int]:
    """The delivery as it is stored, and the status to answer with."""
    body = signed_body()
    heads, payload = headers(), bodies.parse(body)
    if not isinstance(payload, dict):
        raise BadRequest("A delivery is a JSON object")
    taken = commands.receive(heads, body, payload)
    answer = {"received": True, "delivery_id": heads.delivery_id, "event": heads.event, **taken}
    return answer, 200 if taken["duplicate"] or heads.event == commands.PING else 202


def signed_body() -> bytes:
    """The bytes as they came. Raises Unauthorized unless one of our secrets has signed them."""
    request.max_content_length = MOST_BYTES
    if (request.content_length or 0) > MOST_BYTES:
        raise RequestEntityTooLarge
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Deliveries are application/json")
    secrets = github_apps.identity().webhook_secrets
    if not secrets:
        raise Unavailable("No webhook secret is configured", "webhook_secret_missing", retry_after=RETRY_SECONDS)
    body = request.get_data()
    given = SIGNATURE.fullmatch(request.headers.get("X-Hub-Signature-256", ""))
    signed = [_signs(secret, body, given[1]) for secret in secrets] if given else []  # all, to take the same time
    if not any(signed):
        raise Unauthorized("The signature is not one of ours", "invalid_signature")
    return body


def _signs(secret: str, body: bytes, signature: str) -> bool:
    return hmac.compare_digest(hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(), signature)


def headers() -> commands.Heads:
    """What GitHub says about the delivery. Raises BadRequest."""
    return commands.Heads(
        delivery_id=_named("X-GitHub-Delivery"),
        event=_named("X-GitHub-Event"),
        hook_id=_optional("X-GitHub-Hook-ID"),
        hook_target=_optional("X-GitHub-Hook-Installation-Target-Type"),
    )


def _named(header: str) -> str:
    value = _optional(header)
    if value is None:
        raise BadRequest(f"{header} is missing, or not a name")
    return value


def _optional(header: str) -> str | None:
    value = request.headers.get(header, "")
    return value if NAME.fullmatch(value) else None
