"""Two runs side by side: what differs in what they were given, in each step, and in what they cost. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from models.errors import NotFound

LONGEST_TEXT = 16 * 1024  # characters
MOST_LINES = 1_000  # of a prompt; what a comparison costs grows faster than its lines
INPUTS = (
    *("pipeline_id", "pipeline_version", "pipeline_hash", "task_description", "human_context", "project_id"),
    *("project_name", "model_override", "max_cost_usd", "max_tokens", "max_duration_seconds", "on_budget"),
    *("tags", "metadata"),
)
TOTALS = ("cost_usd", "total_tokens", "duration_ms", "llm_calls", "tool_calls")
FACTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "status": lambda step: step["status"],
    "visits": lambda step: step["visit"],
    "attempts": lambda step: step["attempt"],
    "model": lambda step: step["model_used"],
    "prompt": lambda step: step["inputs"]["prompt"],
    "outputs": lambda step: step["outputs"],
    "tool_calls": lambda step: step["usage"]["tool_calls"],
    "usage": lambda step: step["usage"],
}

Detail = dict[str, Any]


def compare(left: Detail, right: Detail, step_id: str | None = None) -> dict[str, Any]:
    """The `diff` object of the API from two Run details; steps by key, each as it is in its latest visit.

    `step_id`: only that step. Raises NotFound if neither run has it.
    """
    steps = [{step["step_id"]: step for step in run["steps"]} for run in (left, right)]
    keys = list(dict.fromkeys([*steps[0], *steps[1]]))
    if step_id is not None and step_id not in keys:
        raise NotFound(f"Neither run has a step {step_id}", "step_not_found")
    return {
        "left": _without_steps(left),
        "right": _without_steps(right),
        "same_pipeline": left["pipeline_hash"] == right["pipeline_hash"],
        "inputs": _inputs(left | left["limits"], right | right["limits"]),
        "totals": {name: _pair(left | left["usage"], right | right["usage"], name) for name in TOTALS},
        "steps": [_step(key, *(run.get(key) for run in steps)) for key in keys if step_id in (None, key)],
    }


def _without_steps(run: Detail) -> dict[str, Any]:
    return {name: value for name, value in run.items() if name != "steps"}


def _inputs(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return {name: _pair(left, right, name) for name in INPUTS if left[name] != right[name]}


def _pair(left: dict[str, Any], right: dict[str, Any], name: str) -> dict[str, Any]:
    return {"left": _cut(left.get(name)), "right": _cut(right.get(name))}


def _cut(value: Any) -> Any:
    return value[:LONGEST_TEXT] if isinstance(value, str) else value


def _step(key: str, left: dict[str, Any] | None, right: dict[str, Any] | None) -> dict[str, Any]:
    ours, theirs = _facts(left), _facts(right)
    both = left is not None and right is not None
    return {
        "step_id": key,
        "in": "both" if both else "right" if left is None else "left",
        "differs": [name for name in FACTS if ours[name] != theirs[name]],
        **{name: _pair(ours, theirs, name) for name in ("status", "model", "usage", "tool_calls")},
        "prompt_diff": _unified(ours["prompt"], theirs["prompt"]) if both else None,
        "outputs": _outputs(ours["outputs"] or {}, theirs["outputs"] or {}),
    }


def _facts(step: dict[str, Any] | None) -> dict[str, Any]:
    return {name: step and fact(step) for name, fact in FACTS.items()}


def _outputs(left: dict[str, str], right: dict[str, str]) -> dict[str, Any]:
    names = dict.fromkeys([*left, *right])
    return {name: _pair(left, right, name) | {"same": left.get(name) == right.get(name)} for name in names}


def _unified(left: str | None, right: str | None) -> str | None:
    """How the prompts differ, as `diff -u` writes it; None if they do not."""
    if left == right:
        return None
    lines = [_cut(text or "").splitlines()[:MOST_LINES] for text in (left, right)]
    return "\n".join(difflib.unified_diff(*lines, "left", "right", lineterm=""))
