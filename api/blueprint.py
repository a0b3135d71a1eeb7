"""The Blueprint of every resource: flask-smorest's, plus the scope a view needs and the errors it may answer."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import flask_smorest
from flask import Flask, Request

from api.bodies import Parser

GATE = (401, 403, 421)  # what any operation may answer before its view runs

BODY = (400, 413, 415)  # and with a body


class Blueprint(flask_smorest.Blueprint):
    ARGUMENTS_PARSER = Parser()

    def arguments(self, schema: Any, *, location: str = "json", **options: Any) -> Callable:
        """As flask-smorest's; a view without `location="query"` takes no query at all."""
        # An instance: a class would be made into one for every request.
        schema = schema() if isinstance(schema, type) else schema
        decorate = super().arguments(schema, location=location, **options)

        def decorator(view: Callable) -> Callable:
            wrapped = decorate(view)
            wrapped.takes_query = location == "query" or getattr(view, "takes_query", False)
            return wrapped

        return decorator

    def errors(self, *statuses: int) -> Callable:
        """Documents the errors that are particular to a view."""

        def decorator(view: Callable) -> Callable:
            for status in statuses:
                view = self.alt_response(status, HTTPStatus(status).name)(view)
            return view

        return decorator

    def _store_endpoint_docs(self, endpoint: str, obj: Any, *args: Any, **options: Any) -> None:
        """Adds what follows from the code: the operation's id, its scope, the errors of the gate."""
        super()._store_endpoint_docs(endpoint, obj, *args, **options)
        for method, doc in self._docs[endpoint].items():
            if method == "parameters":
                continue
            function = getattr(obj, method)
            shared = {"operationId": function.__qualname__, "x-scope": function.scope}
            if function.scope == "public":
                shared["security"] = [{"token": []}, {}]
            doc["manual_doc"] = shared | doc.get("manual_doc", {})
            answers = doc.setdefault("response", {}).setdefault("responses", {})
            has_body = any(item.get("in") == "json" for item in doc.get("arguments", {}).get("parameters", []))
            for status in GATE + (BODY if has_body else ()):
                answers.setdefault(status, [HTTPStatus(status).name])


def needs(scope: str, beside: str | None = None) -> Callable:
    """Declares the least scope of a view: `public`, `read`, `run`, `admin` or `worker`. Undeclared means `admin`.

    `beside`: a scope that is let in too.
    """

    def decorator(view: Callable) -> Callable:
        view.scope, view.beside = scope, beside
        return view

    return decorator


def view_of(app: Flask, request: Request) -> Callable | None:
    """The function that will answer: of a class the method, HEAD and OPTIONS as GET."""
    view = app.view_functions.get(request.endpoint or "")
    kind = getattr(view, "view_class", None)
    if kind is None:
        return view
    method = "get" if request.method == "HEAD" else request.method.lower()
    return getattr(kind, method, None)
