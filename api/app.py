"""The application: what every request passes through, and the resources."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import orjson
from flask import Flask, Response, g
from flask.json.provider import JSONProvider
from werkzeug.routing import BaseConverter

from api import auth, dashboard, errors, sse
from api.resources import (
    agents,
    approvals,
    audit,
    chat,
    control,
    door,
    events,
    github,
    github_approvals,
    github_deliveries,
    github_manifest,
    github_triggers,
    github_webhooks,
    ledger,
    lifecycle,
    logins,
    mcp,
    mcp_door,
    mcp_grants,
    mcp_logs,
    mcp_oauth,
    mcp_tools,
    memories,
    memory_care,
    memory_files,
    memory_items,
    pipelines,
    projects,
    providers,
    runs,
    secrets,
    settings,
    site,
    skill_grants,
    skill_imports,
    skills,
    status,
    steps,
    task_claims,
    tokens,
)
from api.spec import OPTIONS, Api
from models import config, crypto, database, schema
from models import skills as skill_rows
from models.logs import configure_logs
from models.tokens import first_token
from pipelines import skills as skill_pages
from pipelines.seeding import seed
from workers.broker import ringer
from workers.publisher import publisher

RESOURCES = (
    *(status, pipelines, runs, control, steps, events, lifecycle, approvals, ledger),
    *(agents, chat, projects, task_claims, skills, skill_grants, skill_imports, secrets),
    *(memories, memory_files, memory_items, memory_care),
    *(mcp_logs, mcp_tools, mcp_grants, mcp_oauth, mcp),
    *(settings, providers, tokens, logins, audit),
    *(github_webhooks, github_deliveries, github_triggers, github_approvals, github, github_manifest),
)
BODY_LIMIT = 1 << 20  # bytes
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Json(JSONProvider):
    def response(self, *args: Any, **kwargs: Any) -> Response:
        return Response(orjson.dumps(self._prepare_response_obj(args, kwargs)), content_type="application/json")

    def dumps(self, obj: Any, **_: Any) -> str:
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        return orjson.loads(s)


class NameConverter(BaseConverter):
    """Names that people give: an id, or one with spaces, dots and at signs."""

    regex = "[A-Za-z0-9][A-Za-z0-9 ._@-]{0,127}"


class NoteConverter(BaseConverter):
    """The path of a note in a vault."""

    regex = r"[^\0]{1,300}\.md"
    part_isolating = False


class IdConverter(BaseConverter):
    """Ids and slugs; anything else in a path leads nowhere."""

    regex = "[A-Za-z0-9_-]{1,128}"


class ToolConverter(BaseConverter):
    """The name of a tool of an MCP server."""

    regex = "[A-Za-z0-9_.-]{1,128}"


def create_app(start: bool = True) -> Flask:
    """The WSGI application. `start`: bring the database up to date and publish events, as a server does.

    Raises ValueError if the settings contradict each other.
    """
    app = Flask("api", static_folder=None)
    app.json = Json(app)
    app.config.update(OPTIONS, MAX_CONTENT_LENGTH=BODY_LIMIT)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    converters = {"id": IdConverter, "name": NameConverter, "note": NoteConverter, "tool": ToolConverter}
    app.url_map.converters |= converters
    documented = Api(app)
    for converter in converters.values():
        documented.register_converter(converter, pattern)
    errors.register(app)
    auth.register(app)
    app.after_request(protect)
    app.teardown_request(release)
    for resource in (*RESOURCES, *aliases()):
        documented.register_blueprint(resource.blueprint)
    app.extensions["openapi"] = documented.spec.to_dict()
    app.register_blueprint(site.blueprint)
    app.register_blueprint(door.blueprint)
    app.register_blueprint(mcp_door.blueprint)
    dashboard.mount(app)
    if start:
        begin()
    return app


def aliases() -> list[ModuleType]:
    """The routes for older clients, none if their folder was deleted."""
    if find_spec("api.compat") is None:
        return []
    return [import_module(f"api.compat.{name}") for name in ("runs", "streams", "chats", "memories", "mcp", "github")]


def pattern(converter: BaseConverter) -> dict[str, str]:
    """The parameter's schema in the document."""
    return {"type": "string", "pattern": f"^{converter.regex}$"}


def begin() -> None:
    """What a serving process does once."""
    configure_logs()
    database.init()
    schema.migrate()
    crypto.ring()
    if not config.get().api_token:
        with database.connection():
            first_token(config.get().token_file)
    seed(config.get().agents_dir)
    begin_skills()
    publisher.start()
    ringer.start()
    sse.hub.start()


def begin_skills() -> None:
    """The built-in skills, but for those that were deleted."""
    with database.connection():
        seed(config.get().skills_dir, skill_pages.BUILT_IN, skill_rows.deleted())


def protect(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if "request_id" in g:  # it stands in the audit log
        response.headers["X-Request-Id"] = g.request_id
    return response


def release(_: BaseException | None) -> None:
    database.release()
