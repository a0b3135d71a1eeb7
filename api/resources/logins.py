"""Signing in with a browser: links, and who is signed in."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Response, g, request
from flask.views import MethodView
from marshmallow import fields

from api import cookies
from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.paging import CatalogueSchema, decode, link
from api.schemas import AnswerSchema
from models import logins, tokens
from models.errors import Conflict

blueprint = Blueprint("logins", "logins", url_prefix="/v1/auth", description="Who is signed in with a browser")
LINK_EXAMPLE = {"url": "http://127.0.0.1:8000/login?code=pX2c...", "expires_at": 1790000600000}


class LinkSchema(AnswerSchema):
    url = fields.Str(required=True, metadata={"description": "Opens once"})
    expires_at = fields.Int(required=True)


class LoginSchema(AnswerSchema):
    """A person's browser that is signed in."""

    id = fields.Str(required=True)
    token_id = fields.Str(required=True, metadata={"description": "Of the token that made its link"})
    name = fields.Str(required=True, metadata={"description": "Of that token"})
    scope = fields.Str(required=True)
    created_at = fields.Int(required=True)
    created_ip = fields.Str(required=True, allow_none=True)
    expires_at = fields.Int(required=True)
    last_used_at = fields.Int(required=True, allow_none=True)


@blueprint.route("/logins")
class Logins(MethodView):
    @needs("admin")
    @blueprint.arguments(CatalogueSchema, location="query")
    @blueprint.response(200, LoginSchema(many=True))
    def get(self, query):
        """Browsers that are signed in, newest first"""
        cursor, limit = decode(query["cursor"]), query["limit"]
        page, headers = link(logins.page(limit + 1, cursor), limit, lambda login: login.id)
        return [login.as_dict() for login in page], headers

    @needs("read")
    @blueprint.response(201, LinkSchema, example=LINK_EXAMPLE)
    @blueprint.errors(409)
    def post(self):
        """A link that signs a browser in as the caller's token, once, within ten minutes"""
        if g.token.id == tokens.NOBODY:
            raise Conflict("Authentication is off: nobody needs to sign in", "auth_disabled")
        code, expires_at = logins.link(g.token)
        return {"url": f"{request.host_url}login?{urlencode({'code': code})}", "expires_at": expires_at}


@blueprint.route("/logins/<id:login_id>")
class LoginById(MethodView):
    @needs("admin")
    @blueprint.response(204)
    @blueprint.errors(404)
    def delete(self, login_id):
        """Sign a browser out"""
        with recorded("login.end", "login", login_id):
            logins.end(login_id)


@blueprint.route("/logout")
class Logout(MethodView):
    @needs("any")
    @blueprint.response(204)
    @blueprint.errors(404)
    def post(self):
        """Sign this browser out"""
        response = Response(status=204)
        sign_out(response)
        return response


def sign_out(response: Response) -> None:
    """Ends the login of the cookie at hand. Raises NotFound."""
    login_id = g.login.id if g.login else "of this request"
    with recorded("login.end", "login", login_id):
        logins.end(login_id)
    cookies.take_back(response, request)
