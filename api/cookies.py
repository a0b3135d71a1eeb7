"""The cookie of a person who signed in with a browser."""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

from flask import Request, Response, g

from models import config, logins
from models.base import now_ms
from models.errors import Forbidden, Unauthorized, Unavailable
from models.logins import Login
from models.tokens import Token

OWN_PAGES = (None, "none", "same-origin")  # of Sec-Fetch-Site; `none`: typed, or opened from outside the browser


def name(request: Request) -> str:
    """Cookies know no ports, so servers on one machine have names of their own."""
    return "__Host-djinnbot" if request.is_secure else f"djinnbot_{config.get().port}"


def caller(request: Request, scope: str) -> Token | None:
    """The token of who signed in; None without a cookie. Raises Unauthorized, Forbidden."""
    cookie = request.cookies.get(name(request))
    if not cookie:
        return None
    try:
        login, token = logins.find(cookie, config.get().api_token)
    except Unauthorized:
        if scope == "public":  # as for anybody who never signed in
            return None
        raise
    check_page(request)
    g.login = login
    with contextlib.suppress(Unavailable):  # a note of the use, not worth failing the request for
        logins.touch(login)
    return token


def check_page(request: Request) -> None:
    """A browser sends the cookie by itself, so only our own pages may use it: not another port's, nor CORS_ORIGINS."""
    origin = request.headers.get("Origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.host
    if foreign or request.headers.get("Sec-Fetch-Site") not in OWN_PAGES:
        raise Forbidden("Requests from other sites' pages are refused", "foreign_origin")


def give(response: Response, request: Request, login: Login, cookie: str) -> None:
    options = {"httponly": True, "samesite": "Strict", "secure": request.is_secure, "path": "/"}
    response.set_cookie(name(request), cookie, max_age=(login.expires_at - now_ms()) // 1000, **options)


def take_back(response: Response, request: Request) -> None:
    response.delete_cookie(name(request), path="/", secure=request.is_secure, httponly=True, samesite="Strict")
