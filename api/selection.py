"""Which events a stream is asked for: the feed, the filter over it, and where it begins."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from api import definitions
from api.feeds import Frame, GlobalFeed, StreamFeed, belonging
from models import chats, run_views
from models.errors import Invalid, NotFound

SESSION = re.compile(r"(run_[0-9a-z]{26})_(.+)")  # the agent session of a step
MOST_HISTORY = 1_000

Feed = StreamFeed | GlobalFeed
Wants = Callable[[Frame], bool]


def select(query: dict[str, Any]) -> tuple[Feed, Wants | None]:
    """(the feed, which of its frames; None: all). Raises NotFound, Invalid."""
    stream = check(query["run_id"], query["session_id"])
    tests = [_types(query["types"])] if query["types"] else []
    if query["session_id"] and stream != query["session_id"]:
        tests.append(lambda frame: frame.event["session_id"] == query["session_id"])
    if query["agent_id"]:
        tests.append(lambda frame: frame.event["agent_id"] == query["agent_id"])
    for name in ("pipeline_id", "project_id"):
        if query[name]:
            tests.append(lambda frame, name=name: _of(frame, name) == query[name])
    if query["tag"]:
        tests.append(lambda frame: query["tag"] in _run(frame)["tags"])
    feed = StreamFeed(stream) if stream else GlobalFeed()
    return feed, (lambda frame: all(test(frame) for test in tests)) if tests else None


def check(run_id: str | None, session_id: str | None) -> str | None:
    """The run or chat session whose log it is, None for the global one. Raises NotFound, Invalid."""
    if run_id and session_id:
        raise Invalid("Ask for a run or for a session", errors={"session_id": ["not together with run_id"]})
    if session_id and session_id.startswith(chats.PREFIX):
        return chats.get(session_id).id
    if session_id:
        return _run_of_session(session_id)
    if run_id:
        run_views.fetch(run_id)
    return run_id or None


def _run_of_session(session_id: str) -> str:
    found = SESSION.fullmatch(session_id)
    try:
        row = run_views.fetch(found[1]) if found else None
    except NotFound:
        row = None
    if row is None or found[2] not in {step.key for step in definitions.pinned(row["pipeline_hash"])}:
        raise NotFound(f"Session {session_id} not found", "session_not_found")
    return row["id"]


def _types(patterns: list[str]) -> Wants:
    names = [re.sub(r"[\[?]", "", pattern) for pattern in patterns]
    return lambda frame: any(fnmatchcase(frame.type, name) for name in names)


def _of(frame: Frame, name: str) -> str | None:
    """Said by the event itself, or by its run."""
    return frame.event.get(name) or _run(frame).get(name)


def _run(frame: Frame) -> dict[str, Any]:
    return belonging(frame.event["run_id"] or "")


def start(feed: Feed, history: str | None) -> int:
    """After which event a stream without a last id begins. Raises Invalid."""
    history = history or ("none" if isinstance(feed, GlobalFeed) else "all")
    if history == "all":
        return 0
    if history != "none" and not (re.fullmatch(r"\d{1,4}", history) and 1 <= int(history) <= MOST_HISTORY):
        raise Invalid("`history` is all, none, or 1..1000", errors={"history": ["all, none, or 1..1000"]})
    return max(feed.head() - (0 if history == "none" else int(history)), 0)
