"""Who may call: one gate before every request, closed unless a route is declared open."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from flask import Flask, Request, Response, current_app, g, request
from werkzeug.exceptions import BadRequest, MisdirectedRequest, UnsupportedMediaType

from api import cookies
from api.audited import refusals
from api.blueprint import view_of
from models import config, tokens
from models.errors import Forbidden, Invalid, Unauthorized, Unavailable
from models.tokens import Token

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
BY_TICKET = "events.EventStream"
OPEN_WITHOUT_AUTH = Token(id=tokens.NOBODY, name="local", scope="admin", prefix="", hash="")
PREFLIGHT = "Access-Control-Request-Method"


def register(app: Flask) -> None:
    """Raises ValueError if authentication is off while the API is bound to more than loopback."""
    settings = config.get()
    if not settings.auth_enabled and settings.host not in LOOPBACK:
        raise ValueError(f"AUTH_ENABLED=false is accepted only on loopback, and HOST is {settings.host}")
    app.before_request(gate)
    app.after_request(allow_origin)


def gate() -> Response | None:
    """Everything that is checked before a view runs; who comes with a token and is refused is recorded."""
    try:
        return check(request)
    except (Unauthorized, Forbidden) as refusal:
        if "Authorization" in request.headers or cookies.name(request) in request.cookies:
            refusals.note(refusal)
        raise


def check(request: Request) -> Response | None:
    check_host(request)
    view = view_of(current_app, request)
    if not (getattr(view, "lands", False) and is_navigation(request)):
        check_origin(request)
    if request.method == "OPTIONS" and PREFLIGHT in request.headers:
        return Response(status=204)
    scope = getattr(view, "scope", "admin")
    g.login = None
    g.token = identify(request, scope, view)
    g.holder = (g.login or g.token).id if g.token else None  # whose open streams count together, and end together
    if g.token is not None and scope != "public":
        demand(scope, getattr(view, "beside", None))
    check_shape(request, view)
    return None


def demand(scope: str, beside: str | None = None) -> None:
    """Raises Forbidden unless the caller's token has at least this scope, or the one that stands beside it."""
    if not (g.token.allows(scope) or (beside and g.token.allows(beside))):
        raise Forbidden(f"This needs a token of scope {scope}; yours has {g.token.scope}")


def check_host(request: Request) -> None:
    """A page that points its own name at this machine is refused (DNS rebinding)."""
    settings = config.get()
    name = urlsplit(f"//{request.host}").hostname if request.host else None
    if name not in LOOPBACK and name != settings.host and name not in settings.allowed_hosts:
        raise MisdirectedRequest("This host name is not in ALLOWED_HOSTS")


def check_origin(request: Request) -> None:
    """Other sites' pages are refused, whatever the method."""
    origin = request.headers.get("Origin")
    if origin in config.get().cors_origins:
        return
    foreign = origin is not None and urlsplit(origin).netloc != request.host
    if foreign or request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise Forbidden("Requests from other sites' pages are refused", "foreign_origin")


def is_navigation(request: Request) -> bool:
    """A browser that another site has sent here with a link, and nothing that its page could read."""
    sent = request.headers
    return request.method == "GET" and sent.get("Sec-Fetch-Mode") == "navigate" and "Origin" not in sent


def identify(request: Request, scope: str, view: Callable | None) -> Token | None:
    """The caller's token; None only on public routes. Raises Unauthorized."""
    settings = config.get()
    excused = getattr(view, "ignores_token", False) and "Authorization" in request.headers
    if not excused and _has_token(request.args):
        raise BadRequest("A token in a URL ends up in logs; send it in the Authorization header")
    if not settings.auth_enabled:
        return OPEN_WITHOUT_AUTH
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and secret:
        token = tokens.find(secret.strip(), settings.api_token)
        # A note of the use, not worth failing the request for.
        with contextlib.suppress(Unavailable):
            tokens.touch(token, request.remote_addr)
        return token
    if request.endpoint == BY_TICKET and "ticket" in request.args:
        run_id, session_id = request.args.get("run_id"), request.args.get("session_id")
        return tokens.redeem(request.args["ticket"], run_id, session_id, settings.api_token)
    if not kind and (token := cookies.caller(request, scope)):
        return token
    if scope != "public" or kind:
        raise Unauthorized("Send a token: Authorization: Bearer <token>")
    return None


def _has_token(query: Mapping[str, str]) -> bool:
    return "token" in query or "access_token" in query or any(v.startswith(tokens.PREFIX) for v in query.values())


def check_shape(request: Request, view) -> None:
    """Bodies are JSON only (a form can be posted from any page); a view without a query takes none."""
    has_body = request.content_length or "Transfer-Encoding" in request.headers
    if has_body and request.mimetype != "application/json" and not getattr(view, "takes_form", False):
        raise UnsupportedMediaType("Send the body as application/json")
    if request.args and view is not None and not getattr(view, "takes_query", False):
        raise Invalid("This takes no query", errors={name: ["Unknown parameter"] for name in request.args})


def allow_origin(response: Response) -> Response:
    """CORS headers for the configured origins, for nobody else."""
    origin = request.headers.get("Origin")
    if origin is not None and origin in config.get().cors_origins:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Vary"] = "Origin"
        response.headers["Access-Control-Expose-Headers"] = "Link, Location, X-Total-Count, ETag"
        if PREFLIGHT in request.headers:
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE"
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Idempotency-Key, If-Match"
            response.headers["Access-Control-Max-Age"] = "600"
    return response
