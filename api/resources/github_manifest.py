"""Making the GitHub App with two clicks: GitHub gets a manifest, and gives back what only the key ring may know."""

from __future__ import annotations

import secrets
from typing import Any

from flask import g, request
from flask.views import MethodView

from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.resources import github_schemas as schemas
from api.resources.github import asked
from models import config, github_cache, github_views, tokens
from models.base import now_ms
from models.errors import Forbidden, OutsideError

blueprint = Blueprint("github_manifest", "github_manifest", url_prefix="/v1", description="Making the GitHub App")
STATE_MS = 3_600_000  # how long a browser may take
CONVERT_SECONDS = 15.0
EVENTS = ("issues", "issue_comment", "pull_request", "pull_request_review", "push", "release")
PERMISSIONS = {"checks": "write", "contents": "write", "issues": "write", "pull_requests": "write", "metadata": "read"}


@blueprint.route("/github/manifest")
class GitHubManifest(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.ManifestQuerySchema, location="query")
    @blueprint.response(200, schemas.AppManifestSchema)
    def get(self, query):
        """What a browser posts to GitHub to make the App, and where"""
        state = secrets.token_urlsafe(32)
        with recorded("github.manifest", "github", "app"):
            github_cache.put(_name(state), {"by": g.token.name})
        owner = f"organizations/{query['organization']}/" if query["organization"] else ""
        url = f"{config.get().github_url}/{owner}settings/apps/new?state={state}"
        return {"url": url, "manifest": manifest(request.host_url), "state": state, "expires_at": now_ms() + STATE_MS}


@blueprint.route("/github/manifest/callback")
class GitHubManifestCallback(MethodView):
    @needs("public")
    @blueprint.arguments(schemas.CallbackSchema, location="query")
    @blueprint.response(200, schemas.MadeAppSchema)
    @blueprint.errors(403, 502)
    def get(self, query):
        """Where GitHub sends the browser back to; good once, for who has asked for the manifest"""
        by = redeem(query["state"])
        made = asked("manifest", {"code": query["code"], "by": by}, CONVERT_SECONDS)
        if "error" in made:
            raise OutsideError(made["error"], "github_error")
        with recorded("github.app.create", "github_app", made["app_id"], by=by, slug=made["app_slug"]):
            pass
        return made | {"installation_url": github_views.installation_url(made["app_slug"])}

    get.lands = True  # github.com's page leads here


def _name(state: str) -> str:
    return f"manifest {tokens.digest(state)}"


def redeem(state: str) -> str:
    """Who has asked for the manifest; the state is of no use any more. Raises Forbidden."""
    with recorded("github.manifest.redeem", "github", "app") as entry:
        kept, at = github_cache.state(_name(state))
        entry.changed = github_cache.take(_name(state)) is not None
    if not entry.changed or now_ms() - at > STATE_MS:
        raise Forbidden("This link is not one of ours, was used, or is too old", "bad_state")
    return kept["by"]


def manifest(base: str) -> dict[str, Any]:
    """What the App is to be, in GitHub's words."""
    return {
        "name": "DjinnBot",
        "url": base,
        "hook_attributes": {"url": f"{base}v1/github/webhooks", "active": True},
        "redirect_url": f"{base}v1/github/manifest/callback",
        "public": False,
        "default_permissions": PERMISSIONS,
        "default_events": list(EVENTS),
    }
