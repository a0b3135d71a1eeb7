"""Dramatiq's own dashboard under /dashboard, behind the gate; absent if its package is."""

from __future__ import annotations

from importlib.util import find_spec

from flask import Flask, Response, request

from api.blueprint import needs
from workers.broker import broker

PREFIX = "/dashboard"
METHODS = ["GET", "POST"]
CSP = "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; frame-ancestors 'none'"


def mount(app: Flask) -> None:
    """Its forms are posted as forms, and protected by its own token."""
    if find_spec("dramatiq_dashboard") is None:
        return
    from dramatiq_dashboard import DashboardApp

    inner = DashboardApp(broker=broker, prefix=PREFIX)

    @needs("admin")
    def dashboard(rest: str) -> Response:
        answer = Response.from_app(inner, request.environ | {"PATH_INFO": f"/{rest}"})
        answer.headers["Content-Security-Policy"] = CSP
        return answer

    dashboard.takes_query = dashboard.takes_form = True
    app.add_url_rule(f"{PREFIX}/", "dashboard", dashboard, methods=METHODS, defaults={"rest": ""})
    app.add_url_rule(f"{PREFIX}/<path:rest>", "dashboard", dashboard, methods=METHODS)
