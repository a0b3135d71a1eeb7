"""The OpenAPI document: its frame, and the answers that every operation shares."""

from __future__ import annotations

from http import HTTPStatus

import flask_smorest

from api.errors import MEDIA_TYPE
from api.schemas import ProblemSchema
from workers.version import VERSION

OPTIONS = {
    "API_TITLE": "DjinnBot",
    "API_VERSION": VERSION,
    "OPENAPI_VERSION": "3.1.0",
    "API_SPEC_OPTIONS": {
        "info": {"description": "Runs teams of AI agents through durable pipelines."},
        "security": [{"token": []}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    },
}


class Api(flask_smorest.Api):
    """flask-smorest's, with refusals as RFC 9457 problems."""

    ERROR_SCHEMA = ProblemSchema

    def _register_responses(self) -> None:
        content = {MEDIA_TYPE: {"schema": ProblemSchema}}
        for status in HTTPStatus:
            if status >= 400:
                response = {"description": status.phrase, "content": content}
                self.spec.components.response(status.name, response, lazy=True)
        refusal = {"description": "Refused", "content": content}
        self.spec.components.response(self.DEFAULT_ERROR_RESPONSE_NAME, refusal, lazy=True)
