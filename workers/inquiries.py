"""What providers are asked about themselves: which models they have, and whether a key works."""

from __future__ import annotations

import time
from typing import Any

import gevent
import structlog

from models import catalogue, database, endpoints, outbox, provider_checks, redaction
from models.base import now_ms
from models.errors import DjinnBotError, Unavailable
from models.provider_checks import ProviderTest
from workers.broker import actor
from workers.clients.llm import listing, registry
from workers.clients.llm.base import Message, Request

log = structlog.get_logger(__name__)

PROBE = Message("user", "Answer with the word ok.")
PROBE_TOKENS = 16  # some models refuse to answer in fewer
SHOWN_CHARS = 500  # of an error


@actor
def provider_models(provider_id: str) -> None:
    """Lists the provider's models and keeps them; without an answer the old list stays."""
    models, error = None, None
    try:
        with _patience():
            models = listing.models(endpoints.endpoint(catalogue.find(provider_id)))
    except DjinnBotError as failure:
        error = _shown(failure)
        log.warning("models_not_listed", provider=provider_id, error=error)
    with database.transaction():
        provider_checks.listed(provider_id, models, error)
        outbox.answered(provider_id, "")


@actor
def provider_test(test_id: str) -> None:
    """Makes one small call, unless nobody waits for it any more."""
    with database.connection():
        test = provider_checks.asked(test_id)
    result = _tried(test) if test is not None and test.answer is None else None
    with database.transaction():
        if result is not None:
            provider_checks.answer(test, result)
        outbox.answered(test_id, "")


def _tried(test: ProviderTest) -> dict[str, Any]:
    started, failure = time.monotonic(), None
    try:
        with _patience():
            _call(test.provider_id, test.model)
    except DjinnBotError as error:
        failure = error
    return {
        "ok": failure is None,
        "latencyMs": round((time.monotonic() - started) * 1000),
        "status": 200 if failure is None else failure.details.get("http_status"),
        "error": failure and _shown(failure),
        "model": test.model,
        "checkedAt": now_ms(),
    }


def _patience() -> gevent.Timeout:
    return gevent.Timeout(listing.SECONDS, Unavailable(f"No answer within {listing.SECONDS:g} s"))


def _call(provider_id: str, model: str | None) -> None:
    if model is None:
        listing.models(endpoints.endpoint(catalogue.find(provider_id)))
        return
    client, name = registry.resolve(f"{provider_id}/{model}")
    request = Request(name, (PROBE,), max_output_tokens=PROBE_TOKENS, idle_seconds=listing.SECONDS)
    for _ in client.stream(request):
        pass


def _shown(error: DjinnBotError) -> str:
    return redaction.server().clean(error.message)[:SHOWN_CHARS]
