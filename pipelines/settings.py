"""The settings that step, agent entry and `defaults` share, and which of them wins."""

from __future__ import annotations

from typing import Any

from models.setting_keys import THINKING_LEVELS
from pipelines.definition import MAX_RETRIES, MAX_TURNS, TIMEOUT_SECONDS, Retry
from pipelines.fields import Fields, Kind, Value, integer, naming, number, one_of, several, snake

LONGEST_SECONDS = 86_400

# What holds where nobody says otherwise, as the API shows it.
DEFAULTS: dict[str, Any] = {
    "maxRetries": MAX_RETRIES,
    "timeoutSeconds": TIMEOUT_SECONDS,
    "idleTimeoutSeconds": 300,
    "queueTimeoutSeconds": None,
    "maxTurns": MAX_TURNS,
    "workspaceOnRetry": "keep",
}


def read_retry(value: Value) -> Retry:
    fields = Fields(value)
    given = {
        "delay_seconds": fields.take("delaySeconds", number(0, LONGEST_SECONDS)),
        "factor": fields.take("factor", number(1, 100)),
        "max_delay_seconds": fields.take("maxDelaySeconds", number(0, LONGEST_SECONDS)),
    }
    fields.done()
    return Retry(**{name: found for name, found in given.items() if found is not None})


AGENT_KINDS: dict[str, Kind] = {
    "model": naming("model"),
    "fallbackModels": several(naming("model"), 5),
    "tools": several(naming("tool")),
    "thinkingLevel": one_of(*THINKING_LEVELS),
}
_STEP_KINDS: dict[str, Kind] = {
    **AGENT_KINDS,
    "maxRetries": integer(0, 20),
    "retry": read_retry,
    "idleTimeoutSeconds": number(1, LONGEST_SECONDS),
    "queueTimeoutSeconds": number(1, LONGEST_SECONDS),
    "maxTurns": integer(1, 2000),
    "maxOutputTokens": integer(1, 10_000_000),
    "temperature": number(0, 2),
    "workspaceOnRetry": one_of("keep", "reset"),
}


def read_settings(fields: Fields) -> dict[str, Any]:
    """{field name: value} of the settings a step or `defaults` gives."""
    given = read_kinds(fields, _STEP_KINDS)
    seconds = number(1, LONGEST_SECONDS)
    timeout, old_timeout = fields.take("timeoutSeconds", seconds), fields.take("timeout", seconds)
    if timeout is not None and old_timeout is not None:
        fields.find("timeout").warn("timeout_twice", "'timeoutSeconds' wins over 'timeout'")
    if timeout is not None or old_timeout is not None:
        given["timeout_seconds"] = old_timeout if timeout is None else timeout
    return given


def read_kinds(fields: Fields, kinds: dict[str, Kind]) -> dict[str, Any]:
    found = {snake(name): fields.take(name, kind) for name, kind in kinds.items()}
    return {name: value for name, value in found.items() if value is not None}


def resolve(step: dict[str, Any], agent: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Step over agent entry over defaults; fallback models come from the level that gives the model."""
    levels = (step, agent, defaults)
    resolved = {**defaults, **agent, **step}
    model_level = next((level for level in levels if "model" in level), resolved)
    return {**resolved, "fallback_models": model_level.get("fallback_models")}


def effective_defaults(written: dict[str, Any]) -> dict[str, Any]:
    """`defaults` as the API shows them: the file's over the format's."""
    shown = {name: value for name, value in written.items() if name != "timeout"}
    if "timeout" in written:
        shown.setdefault("timeoutSeconds", written["timeout"])
    return {**DEFAULTS, **shown}
