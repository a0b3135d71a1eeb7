"""Which models a provider offers: one request to its list, for both wires."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from models.endpoints import Endpoint
from models.errors import ProviderTransient
from workers.clients import http
from workers.clients.llm import wire

SECONDS = 8.0  # for the whole answer: people wait for it
MOST_MODELS = 2_000
LONGEST_ID, LONGEST_TEXT = 200, 500  # characters
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff]")


def _openai(endpoint: Endpoint) -> tuple[str, dict[str, str]]:
    return "/models", {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}


def _anthropic(endpoint: Endpoint) -> tuple[str, dict[str, str]]:
    return "/v1/models?limit=1000", {"x-api-key": endpoint.key, "anthropic-version": "2023-06-01"}


WIRES: dict[str, Callable[[Endpoint], tuple[str, dict[str, str]]]] = {"openai": _openai, "anthropic": _anthropic}


def models(endpoint: Endpoint) -> list[dict[str, Any]]:
    """`[{id, name, description, reasoning}]` in the provider's order.

    Raises Forbidden, Unavailable, TooLarge, or a StepError with `http_status`.
    """
    path, headers = WIRES[endpoint.wire](endpoint)
    answer = http.request("GET", endpoint.base_url.rstrip("/") + path, headers=headers, timeout=SECONDS)
    body = _decoded(answer.content)
    if answer.status_code != 200:
        raise wire.meaning(answer.status_code, body, answer.headers)
    entries = body.get("data") if isinstance(body, dict) else body
    if not isinstance(entries, list):
        raise ProviderTransient("the provider's list of models has an unknown shape", http_status=200)
    found = (_model(entry) for entry in entries[:MOST_MODELS] if isinstance(entry, dict))
    return list({model["id"]: model for model in found if model["id"]}.values())


def _decoded(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return content[:LONGEST_TEXT].decode(errors="replace")


def _model(entry: dict[str, Any]) -> dict[str, Any]:
    able = entry.get("supported_parameters")
    model_id = _text(entry.get("id"), LONGEST_ID).removeprefix("models/")  # as Google puts it
    return {
        "id": model_id,
        "name": _text(entry.get("name") or entry.get("display_name"), LONGEST_ID) or model_id,
        "description": _text(entry.get("description"), LONGEST_TEXT) or None,
        "reasoning": isinstance(able, list) and "reasoning" in able,
    }


def _text(value: Any, longest: int) -> str:
    return CONTROL.sub(" ", value).strip()[:longest] if isinstance(value, str) else ""
