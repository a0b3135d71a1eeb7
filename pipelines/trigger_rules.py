"""Whether a GitHub event is one that a trigger waits for, and what the trigger makes of it; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pipelines import github_events, template
from pipelines.github_events import Facts
from pipelines.template import TemplateError

COMMAND = re.compile(r"/[a-z][a-z0-9_-]{0,31}")
GLOB = re.compile(r"[^\s\0-\x1f]{1,256}")
LISTS = ("labels_any", "labels_none", "branches", "paths", "authors", "authors_exclude")
MAX_KEY_CHARS = 512


def reasons(trigger: Any, facts: Facts) -> list[str]:
    """Why it does not match; empty if it does. All conditions must hold, an empty one always does."""
    given = trigger.conditions
    checks = {
        f"the event is {facts.event}": facts.event == trigger.event,
        f"the action is {facts.action}": not trigger.actions or facts.action in trigger.actions,
        f"the repository is {facts.repository}": _any(trigger.repositories, facts.repository),
        f"the labels are {', '.join(facts.labels) or 'none'}": _labels(given, facts),
        f"the branch is {facts.branch}": _any(given.get("branches"), facts.branch),
        "no such file was changed": _some(given.get("paths"), facts.paths),
        f"the author is {facts.author}": _author(given, facts),
        f"the first line is not {given.get('command')}": _command(given.get("command"), facts),
        "the title does not contain the text": (given.get("title_contains") or "").lower() in facts.title.lower(),
        f"draft is {facts.draft}": given.get("draft") is None or facts.draft == given["draft"],
    }
    return [why for why, holds in checks.items() if not holds]


def _labels(given: dict[str, Any], facts: Facts) -> bool:
    wanted, refused = given.get("labels_any") or (), given.get("labels_none") or ()
    found = {label.lower() for label in facts.labels}
    return (not wanted or bool(found & _lower(wanted))) and not found & _lower(refused)


def _lower(names: Sequence[str]) -> set[str]:
    return {name.lower() for name in names}


def _author(given: dict[str, Any], facts: Facts) -> bool:
    excluded = given.get("authors_exclude")
    return _any(given.get("authors"), facts.author) and not (excluded and _any(excluded, facts.author))


def _command(command: str | None, facts: Facts) -> bool:
    return not command or github_events.first_line(facts).split(maxsplit=1)[:1] == [command]


def _any(globs: Sequence[str] | None, text: str | None) -> bool:
    return not globs or (text is not None and any(matches(pattern, text) for pattern in globs))


def _some(globs: Sequence[str] | None, texts: Sequence[str] | None) -> bool:
    return not globs or any(_any(globs, text) for text in texts or ())


def matches(pattern: str, text: str) -> bool:
    """`*` is any text, `?` one character, the rest is itself; without case."""
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in re.sub(r"\*+", "*", pattern))
    return re.fullmatch("".join(parts), text, re.IGNORECASE | re.DOTALL) is not None


def render(text: str, facts: Facts, payload: dict[str, Any]) -> str:
    """The template over the payload; `event`, `action`, `number`, `repository.full_name` are there in any case."""
    known = {"event": facts.event, "action": facts.action, "repository.full_name": facts.repository}
    known["number"] = None if facts.number is None else str(facts.number)
    return template.render(text, lambda path: known.get(path) or github_events.value(payload, path), deep=True)[0]


def key(trigger: Any, facts: Facts, payload: dict[str, Any]) -> str:
    """What only one run or task at a time may be about."""
    return render(trigger.concurrency_key, facts, payload)[:MAX_KEY_CHARS].lower()


def problems(fields: dict[str, Any]) -> dict[str, list[str]]:
    """{field path: reasons} of what is wrong with a trigger's own fields."""
    found: dict[str, list[str]] = {}
    if "event" in fields and fields["event"] not in github_events.KNOWN:
        found["event"] = ["GitHub sends no such event"]
    for path, globs in _globs(fields):
        if bad := [pattern for pattern in globs if not GLOB.fullmatch(pattern)]:
            found[path] = [f"{bad[0]!r} is no pattern"]
    command = fields.get("conditions", {}).get("command")
    if command is not None and not COMMAND.fullmatch(command):
        found["conditions.command"] = ["a slash and a word in lower case"]
    for name in ("task_template", "concurrency_key"):
        if why := _template_problem(fields.get(name, "")):
            found[name] = [why]
    return found


def _globs(fields: dict[str, Any]) -> list[tuple[str, list[str]]]:
    given = fields.get("conditions", {})
    lists = [(f"conditions.{name}", given.get(name) or []) for name in LISTS]
    return [("repositories", fields.get("repositories", [])), *lists]


def _template_problem(text: str) -> str | None:
    try:
        template.uses(text, deep=True)
    except TemplateError as error:
        return str(error)
    return None
