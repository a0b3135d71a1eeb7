"""The Blueprint of aliases: routes that stand for others, marked as such in the document."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from api import blueprint
from api.schemas import AnswerSchema


class OlderSchema(AnswerSchema):
    """An object in the spelling of the older clients."""

    class Meta:
        unknown = ma.INCLUDE


class Aliases(blueprint.Blueprint):
    def _store_endpoint_docs(self, endpoint: str, obj: Any, *args: Any, **options: Any) -> None:
        super()._store_endpoint_docs(endpoint, obj, *args, **options)
        for method, doc in self._docs[endpoint].items():
            if method != "parameters":
                doc["manual_doc"] |= {"x-alias": True, "operationId": f"{obj.__name__}.{method}"}
