"""What is not the API proper: health checks, the OpenAPI document and a page to read it."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, render_template

from api.blueprint import needs
from models import database

blueprint = Blueprint("site", __name__, template_folder="../templates")
DOCS_CSP = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@blueprint.get("/healthz")
@needs("public")
def healthz():
    """This process answers"""
    return jsonify(status="ok")


@blueprint.get("/readyz")
@needs("public")
def readyz():
    """This process can serve: the database answers"""
    with database.connection():
        database.execute("SELECT 1 FROM runs LIMIT 1").fetchone()
    return jsonify(status="ok")


@blueprint.get("/openapi.json")
@needs("public")
def openapi():
    """The OpenAPI document"""
    return jsonify(document())


@blueprint.get("/docs")
@needs("public")
def docs():
    """The OpenAPI document for people"""
    page = Response(render_template("docs.html", spec=document(), operations=by_tag(document())))
    page.headers["Content-Security-Policy"] = DOCS_CSP
    return page


@blueprint.get("/docs/style.css")
@needs("public")
def docs_style():
    """How that page looks"""
    return Response(_style(), content_type="text/css; charset=utf-8")


def document() -> dict[str, Any]:
    return current_app.extensions["openapi"]


def by_tag(spec: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """`{tag: [operation with its path and method]}` in the order of the document."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path, item in spec["paths"].items():
        shared = item.get("parameters", [])
        for method in item.keys() - {"parameters"}:
            operation = {"parameters": [], **item[method], "path": path, "method": method}
            found.setdefault(operation["tags"][0], []).append(operation | {"shared": shared})
    return found


@functools.cache
def _style() -> bytes:
    return (files("api") / "templates" / "docs.css").read_bytes()
