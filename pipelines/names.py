"""The names a file uses: which come from steps, which from outside, and which outputs are worth asking for again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipelines import template
from pipelines.definition import Step, fold
from pipelines.results import result_name
from pipelines.steps import templates

ITEM_NAMES = frozenset({"current_item", "item_index", "item_number", "total_items", "completed_items", "progress_file"})
BUILT_IN = ITEM_NAMES | {
    "task_description",
    "human_context",
    "additional_context",
    "project_id",
    "project_name",
    "project_vision",
    "run_id",
    "step_id",
    "pipeline_id",
    "visit",
    "attempt",
    "previous_error",
    "last_result",
}
ALWAYS = frozenset({"status", "result", "summary", "error"})  # outputs that every step may give
WHOLE = frozenset({"structured", "_structured_json"})  # a structured answer as a whole
ENGINE = frozenset({"items"})  # `STEP.items`, a loop's outputs
_OF_TYPE = {"approval": ("decision", "comment"), "pipeline": ("status",)}


@dataclass(frozen=True, slots=True)
class Use:
    """A name in a template: `owner` is the step of `STEP.name`, `guarded` whether an `if` stands around it."""

    name: str
    owner: str | None
    guarded: bool


def uses(steps: dict[str, Step]) -> Iterator[Use]:
    for step in steps.values():
        for text in templates(step):
            yield from uses_in(text)


def uses_in(text: str) -> Iterator[Use]:
    for written, guarded in template.uses(text):
        owner, _, name = written.rpartition(".")
        yield Use(name, owner or None, guarded)


def is_known(use: Use, steps: dict[str, Step]) -> bool:
    """Whether the engine or a step gives the name a value."""
    name = fold(use.name)
    if use.owner:
        step = steps.get(use.owner)
        return step is not None and name in (produced(step) | ALWAYS | WHOLE | ENGINE)
    return use.name in BUILT_IN or name in ALWAYS | WHOLE or any(name in produced(step) for step in steps.values())


def produced(step: Step) -> frozenset[str]:
    return frozenset((*step.declared, *_OF_TYPE.get(step.type, ())))


def of(steps: dict[str, Step]) -> dict[str, Any]:
    """The fields of a Pipeline that follow from the names its steps use."""
    used = list(uses(steps))
    unknown = [use for use in used if not is_known(use, steps)]
    return {
        "needed_outputs": _needed(steps, used),
        "extra_names": _extra(steps, used, unknown),
        "required_variables": _variables(unknown),
        "strict_variables": _variables([use for use in unknown if not use.guarded]),
    }


def _variables(unknown: list[Use]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(use.name for use in unknown if not use.owner))


def _extra(steps: dict[str, Step], used: list[Use], unknown: list[Use]) -> frozenset[str]:
    declared = frozenset().union(*map(produced, steps.values()))
    whole = {fold(use.name) for use in used} & WHOLE
    keys = {fold(name) for step in steps.values() for name in _key_names(step)}
    return ({fold(use.name) for use in unknown} | whole | keys) - declared - ALWAYS


def _key_names(step: Step) -> Iterator[str]:
    """Names that keys other than templates look at."""
    yield from step.when
    if step.result_from:
        yield step.result_from
    yield from sources(step)


def sources(step: Step) -> tuple[str, ...]:
    """The name of the list a loop or map goes over."""
    return tuple(part.over for part in (step.loop, step.map) if part and part.over)


def _needed(steps: dict[str, Step], used: list[Use]) -> dict[str, tuple[str, ...]]:
    wanted = {(use.owner, fold(use.name)) for use in used if not use.guarded}
    wanted |= {(None, fold(name)) for step in steps.values() for name in sources(step)}
    return {key: tuple(_needed_of(step, wanted)) for key, step in steps.items()}


def _needed_of(step: Step, wanted: set[tuple[str | None, str]]) -> Iterator[str]:
    decisive = result_name(step) if step.on_result else None
    for name in step.outputs:
        if name == decisive or (None, name) in wanted or (step.key, name) in wanted:
            yield name
