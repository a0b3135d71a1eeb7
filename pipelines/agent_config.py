"""What an agent's `config.yml` may say."""

from __future__ import annotations

import json
import re
from typing import Any

from pipelines.fields import Fields, Kind, Value, Wrong, camel, integer, number, one_of, several, snake, text
from pipelines.problems import Report
from pipelines.settings import THINKING_LEVELS, read_kinds
from pipelines.text import YamlError, read

MAX_MODEL_CHARS = 200
UNKNOWN = "unknown key"

# What an agent does where its file says nothing; None: the setting or the engine decides.
DEFAULTS: dict[str, Any] = {
    "model": "",
    "thinking_model": "",
    "planning_model": "",
    "executor_model": "",
    "thinking_level": "off",
    "thinking_model_thinking_level": "off",
    "temperature": None,
    "max_tokens": None,
    "max_turns": None,
    "timeout": None,
    "max_retries": None,
    "max_concurrent_steps": 2,
    "tools": ["read", "write", "bash"],
    "fallback_models": [],
    "budget_usd_per_run": None,
}


def _model(value: Value) -> str:
    """`provider/name`; blank means unset."""
    found = text(value).strip()
    if len(found) > MAX_MODEL_CHARS or (found and "/" not in found):
        raise Wrong("bad_value", f"expected provider/name of at most {MAX_MODEL_CHARS} characters")
    return found


KINDS: dict[str, Kind] = {
    "model": _model,
    "thinkingModel": _model,
    "planningModel": _model,
    "executorModel": _model,
    "thinkingLevel": one_of(*THINKING_LEVELS),
    "thinkingModelThinkingLevel": one_of(*THINKING_LEVELS),
    "temperature": number(0, 2),
    "maxTokens": integer(1, 1_000_000),
    "maxTurns": integer(1, 2_000),
    "timeout": integer(1, 86_400),  # seconds
    "maxRetries": integer(0, 20),
    "maxConcurrentSteps": integer(1, 64),
    "tools": several(text),
    "fallbackModels": several(_model, 5),
    "budgetUsdPerRun": number(0, 1_000_000),
}


def read_config(content: str) -> tuple[dict[str, Any], list[str]]:
    """({snake_case key: value} of what the text gives, what is wrong with it). Keys nobody knows are let be."""
    try:
        source = read(content)
    except YamlError as error:
        return {}, [str(error)]
    report = Report(source)
    report.report_duplicates()
    if source.value is None:
        return {}, []
    value = Value(report, (), source.value)
    found = value.try_read(lambda root: read_kinds(Fields(_in_one_spelling(root)), KINDS), {})
    given = {name: _plain(item) for name, item in found.items() if item != ""}
    return given, [str(problem) for problem in report.sorted()]


def read_changes(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """({snake_case key: value, None to go back to the default}, {key as given: why it is refused})."""
    changes: dict[str, Any] = {}
    problems: dict[str, list[str]] = {}
    for name, value in given.items():
        key = snake(name)
        if key not in DEFAULTS:
            problems[name] = [UNKNOWN]
        elif changes.setdefault(key, value) != value:
            problems[name] = ["given in both spellings with different values"]
    report = Report(read(json.dumps({key: value for key, value in changes.items() if value is not None})))
    value = Value(report, (), report.source.value)
    value.try_read(lambda root: read_kinds(Fields(root), KINDS))
    for problem in report.problems:
        problems.setdefault(re.split(r"[.\[]", problem.path)[0], []).append(problem.message)
    return changes, problems


def shown(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with its defaults filled in, by the API's names."""
    return {camel(key): config.get(key, default) for key, default in DEFAULTS.items()}


def _in_one_spelling(root: Value) -> Value:
    """Without the camelCase keys that the file also gives in snake_case: the latter win."""
    if not isinstance(root.raw, dict):
        return root
    kept = {key: item for key, item in root.raw.items() if snake(key) == key or snake(key) not in root.raw}
    return Value(root.report, root.path, kept)


def _plain(item: Any) -> Any:
    return list(item) if isinstance(item, tuple) else item
