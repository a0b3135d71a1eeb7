"""The prompt of an attempt: the step's input with its variables, then what the agent must know besides.

Texts of users, agents and tools go into the user message as marked sections, never into the system prompt.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from pipelines import outputs as output_rules
from pipelines import template
from pipelines.definition import Step
from pipelines.state import State, Visit

MAX_VALUE_CHARS = 256 * 1024  # of one inserted value
MAX_ERROR_CHARS = 4_000
TAIL_LINES = 40
PROGRESS_FILE = ".djinnbot/progress-{step}.txt"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a template may ask of the run itself."""

    run_id: str
    pipeline_id: str
    task_description: str
    human_context: str | None = None
    project_id: str | None = None
    project_name: str | None = None
    project_vision: str | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """`variables`: every name the template used, with its value; `unknown`: those that nothing defines."""

    text: str
    variables: dict[str, str]
    unknown: list[str]


def build(facts: Facts, state: State, visit: Visit, has_tools: bool) -> Prompt:
    """The user message that opens an attempt at `visit`."""
    step = state.step(visit)
    values: dict[str, str] = {}
    lookup = _recording(variables(facts, state, visit), values)
    task, unknown = template.render(step.input, lookup)
    answer_format = output_rules.answer_format(step, state.pipeline.extra_names, tool=has_tools)
    sections = [("Task", task), *_sections(facts, state, visit, step), ("Answer format", answer_format)]
    text = "\n\n".join(f"## {title}\n{body.strip()}" for title, body in sections if body and body.strip())
    return Prompt(text, values, [name for name in unknown if name not in values])


def task_of(text: str) -> str:
    """What a built prompt asks for, without what comes after the task itself."""
    return text.removeprefix("## Task\n").partition("\n\n## ")[0]


def variables(facts: Facts, state: State, visit: Visit) -> Callable[[str], str | None]:
    """A lookup over the four sources of names, first hit wins."""
    fixed = _item_variables(state, visit) | _built_in(facts, visit)

    def lookup(name: str) -> str | None:
        value = fixed[name] if name in fixed else state.lookup(name, visit.scope)
        return None if value is None else value[:MAX_VALUE_CHARS]

    return lookup


def _recording(lookup: Callable[[str], str | None], values: dict[str, str]) -> Callable[[str], str | None]:
    def recorded(name: str) -> str | None:
        value = lookup(name)
        if value is not None:
            values[name] = value
        return value

    return recorded


def _built_in(facts: Facts, visit: Visit) -> dict[str, str]:
    feedback = visit.feedback or {}
    return {
        "task_description": facts.task_description,
        "human_context": facts.human_context or "",
        "additional_context": facts.human_context or "",
        "project_id": facts.project_id or "",
        "project_name": facts.project_name or "",
        "project_vision": facts.project_vision or "",
        "run_id": facts.run_id,
        "step_id": visit.step_key,
        "pipeline_id": facts.pipeline_id,
        "visit": str(visit.visit),
        "attempt": str(visit.attempt),
        "previous_error": feedback.get("error") or "",
        "last_result": feedback.get("result") or "",
    }


def _item_variables(state: State, visit: Visit) -> dict[str, str]:
    if not visit.scope:
        return {}
    key, _, index = visit.scope[-1]
    items = state.entry(visit.scope).items
    done = state.items_of(key, visit.scope[:-1])[:index]
    return {
        "current_item": as_text(items[index]),
        "item_index": str(index),
        "item_number": str(index + 1),
        "total_items": str(len(items)),
        "completed_items": json.dumps([{"item": items[i], "outputs": out} for i, out in enumerate(done)]),
        "progress_file": PROGRESS_FILE.format(step=key),
    }


def as_text(value: object) -> str:
    """A value of a list or a context as a template shows it: strings as they are, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _sections(facts: Facts, state: State, visit: Visit, step: Step) -> list[tuple[str, str]]:
    return [
        ("Task description", _task_description(facts, state, visit)),
        ("Guidance", _guidance(facts, state, step)),
        ("Why you are here again", _return_reason(state, visit, step)),
        ("Previous attempt", _previous_attempt(visit)),
    ]


def _task_description(facts: Facts, state: State, visit: Visit) -> str:
    entry = visit.step_key in state.pipeline.entry_steps
    return facts.task_description if entry and not state.pipeline.uses_task_description else ""


def _guidance(facts: Facts, state: State, step: Step) -> str:
    used = step.template_names & ({"human_context", "additional_context"} | set(state.given))
    return "" if used else facts.human_context or ""


def _return_reason(state: State, visit: Visit, step: Step) -> str:
    if visit.reason not in ("goto", "failure") or not visit.entered_from:
        return ""
    source = next((v for v in reversed(state.visits[: visit.n - 1]) if v.step_key == visit.entered_from), None)
    if source is None:
        return ""
    if visit.reason == "failure":
        return f"Step {source.step_key} failed: {(source.error or '')[:MAX_ERROR_CHARS]}"
    lines = [f"Step {source.step_key} sent the work here with the result: {source.result or '(none)'}"]
    lines += [
        f"{name.upper()}:\n{value}"
        for name, value in (source.outputs or {}).items()
        if value and value != source.result and name not in step.template_names
    ]
    return "\n\n".join(lines)


def _previous_attempt(visit: Visit) -> str:
    if not visit.feedback or "attempt" not in visit.feedback:
        return ""
    output = "\n".join((visit.feedback.get("output") or "").splitlines()[-TAIL_LINES:])
    error = f"Attempt {visit.feedback['attempt']} failed ({visit.feedback['error_code']}): {visit.feedback['error']}"
    tail = f"\n\nThe end of its output:\n{output}" if output else ""
    return f"{error[:MAX_ERROR_CHARS]}{tail}\n\nDo not repeat the mistake."
