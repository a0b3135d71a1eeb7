"""The pages for people before anything else: what this is, signing in by a link, signing out."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, redirect, render_template, request

from api import cookies
from api.audited import recorded
from api.blueprint import needs
from api.resources.logins import sign_out
from models import config, logins, tokens
from models.errors import Unauthorized
from workers.version import VERSION

blueprint = Blueprint("door", __name__, template_folder="../templates")
CSP = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


@blueprint.get("/")
@needs("public")
def home():
    """What this is; to who is signed in, where to go"""
    return page("home.html", caller=g.token, login=g.login, version=VERSION)


@blueprint.get("/login")
@needs("public")
def login():
    """Exchanges the link's code for a cookie; not for a browser that only looks ahead"""
    if request.method == "HEAD" or "prefetch" in request.headers.get("Sec-Purpose", ""):
        return page("link.html", 503)
    try:
        made, cookie = logins.redeem(request.args.get("code", ""), request.remote_addr, config.get().api_token)
    except Unauthorized as error:
        return page("link.html", 410, why=error.message)
    g.token = tokens.of_hash(made.token_hash, config.get().api_token)
    with recorded("login.begin", "login", made.id):
        response = redirect("/", 303)
    cookies.give(response, request, made, cookie)
    return response


login.takes_query = True


@blueprint.post("/logout")
@needs("any")
def logout():
    """The button: signs this browser out"""
    response = redirect("/", 303)
    sign_out(response)
    return response


logout.takes_form = True


def page(template: str, status: int = 200, **values: Any) -> Response:
    return Response(render_template(template, **values), status, {"Content-Security-Policy": CSP})
