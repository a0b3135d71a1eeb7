"""Reading of one step of a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pipelines import template
from pipelines.definition import Action, AgentEntry, Approval, Loop, Map, Notify, OutputSchema, Step, fold
from pipelines.fields import (
    Fields,
    Kind,
    Value,
    Wrong,
    any_map,
    flag,
    integer,
    map_of,
    matching,
    naming,
    number,
    one_of,
    one_or_several,
    scalar,
    several,
    snake,
    text,
)
from pipelines.settings import LONGEST_SECONDS, read_settings, resolve
from pipelines.structured import schema_error

SLUG = r"[a-z0-9][a-z0-9_-]{0,63}"
STEP_KEY = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
OUTPUT_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
KINDS = ("loop", "map", "approval", "pipeline")
WITH_AGENT = ("agent", "loop", "map")

slug = matching(SLUG, "slug (a-z, 0-9, - and _, at most 64 characters)", "bad_id")
_written_name = matching(OUTPUT_NAME, "name for an output")
step_name = naming("step")
step_names = one_or_several(step_name)
on_item_failure = one_of("fail", "continue")


def output_name(value: Value) -> str:
    return fold(_written_name(value))


def read_template(value: Value) -> str:
    found = text(value)
    try:
        template.uses(found)
    except template.TemplateError as error:
        line = found.count("\n", 0, error.offset) + 1
        raise Wrong("bad_value", f"{error} (line {line} of the text)")
    value.report.mentions["template"].append((value, found))
    return found


def read_loop(value: Value) -> Loop:
    fields = Fields(value)
    loop = Loop(
        over=fields.need("over", naming("loop source"), ""),
        on_each_complete=fields.take("onEachComplete", step_names, ()),
        on_all_complete=fields.take("onAllComplete", step_names, ()),
        max_items=fields.take("maxItems", integer(1, 10_000), 200),
        on_item_failure=fields.take("onItemFailure", on_item_failure, "fail"),
    )
    fields.done()
    return loop


def read_map(value: Value) -> Map:
    fields = Fields(value)
    found = Map(
        over=fields.need("over", naming("loop source"), ""),
        concurrency=fields.take("concurrency", integer(1, 100), 4),
        max_items=fields.take("maxItems", integer(1, 10_000), 200),
        on_item_failure=fields.take("onItemFailure", on_item_failure, "fail"),
    )
    fields.done()
    return found


def read_schema(value: Value) -> OutputSchema:
    fields = Fields(value)
    found = OutputSchema(
        name=fields.take("name", matching(r"[A-Za-z0-9_-]{1,64}", "name for a schema"), "answer"),
        strict=fields.take("strict", flag, True),
        schema=fields.need("schema", _json_schema, {}),
    )
    fields.done()
    value.report.mentions["schema"].append((value, found.strict))
    return found


def _json_schema(value: Value) -> dict[str, Any]:
    wrong = schema_error(any_map(value))
    if wrong:
        raise Wrong("bad_schema", wrong)
    return value.raw


def read_approval(value: Value) -> Approval:
    fields = Fields(value)
    options = fields.take("options", several(text, 20), ()) or ("approve", "reject")
    found = Approval(
        prompt=fields.take("prompt", read_template, ""),
        options=options,
        timeout_seconds=fields.take("timeoutSeconds", number(1, 366 * LONGEST_SECONDS)),
        on_timeout=fields.take("onTimeout", one_of(*options, "fail"), "reject" if "reject" in options else "fail"),
        approvers=fields.take("approvers", several(text), ()),
    )
    fields.done()
    return found


def read_with(value: Value) -> dict[str, str]:
    fields = Fields(value)
    found = {name: fields.take(name, read_template) for name in ("task", "context", "project")}
    fields.done()
    return {name: given for name, given in found.items() if given is not None}


def read_action(value: Value) -> Action:
    """A map, or a bare step key, which means `goto`; nothing means going on."""
    if value.raw is None:
        return Action()
    if not isinstance(value.raw, dict):
        return Action(goto=_goto(value))
    fields = Fields(value)
    action = Action(
        goto=fields.take("goto", _goto),
        retry=fields.take("retry", flag, False),
        max_retries=fields.take("maxRetries", integer(0, 20)),
        notify=fields.take("notify", _notifications, ()),
        continue_loop=fields.take("continueLoop", flag, False),
        fail=fields.take("fail", text),
    )
    fields.done()
    if action.continue_loop:
        value.report.mentions["continue"].append((value, ""))
    return action


def _goto(value: Value) -> str:
    found = step_name(value)
    value.report.mentions["goto"].append((value, found))
    return found


def _notify(value: Value) -> Notify:
    fields = Fields(value)
    found = Notify(fields.need("agent", naming("notified agent"), ""), fields.need("message", text, ""))
    fields.done()
    return found


_notifications = one_or_several(_notify)


def read_step(value: Value, agents: dict[str, AgentEntry], defaults: dict[str, Any], max_visits: int) -> Step:
    """The step with its settings resolved; `key` is "" where the file gives none that can be used."""
    fields = Fields(value)
    kind = _type(fields)
    ask = fields.need if kind in WITH_AGENT else fields.take
    agent = ask("agent", naming("agent"))
    parts = {name: fields.take(name, read, default) for name, (read, default) in _PARTS.items()}
    settings = resolve(read_settings(fields), _agent_settings(agents.get(agent)), defaults)
    step = Step(
        key=fields.need("id", naming("id", matching(STEP_KEY, "step key", "bad_id")), ""),
        type=kind,
        agent=agent,
        input=ask("input", read_template, ""),
        needs=_needs(fields),
        with_=fields.take("with", read_with, {}),
        approval=fields.take("approval", read_approval, Approval() if kind == "approval" else None),
        max_visits=fields.take("maxVisits", integer(1, 1000), max_visits),
        **{snake(name): part for name, part in parts.items()},
        **settings,
    )
    fields.done()
    used = (name for given in templates(step) for name in template.names(given))
    return replace(step, template_names=frozenset(used))


_PARTS: dict[str, tuple[Kind, Any]] = {
    "loop": (read_loop, None),
    "map": (read_map, None),
    "pipeline": (naming("pipeline", slug), None),
    "description": (text, ""),
    "outputs": (several(output_name), ()),
    "optionalOutputs": (several(output_name), ()),
    "resultFrom": (output_name, None),
    "onResult": (map_of(read_action), {}),
    "onComplete": (step_names, ()),
    "onFailure": (read_action, None),
    "when": (map_of(one_or_several(scalar)), {}),
    "outputSchema": (read_schema, None),
    "outputMethod": (one_of("response_format", "tool_use"), "response_format"),
    "maxRepairs": (integer(0, 5), 2),
}


def _type(fields: Fields) -> str:
    """What the keys present make the step; a `loop` key makes a loop of a step declared `agent`."""
    present = [name for name in KINDS if fields.given(name)]
    declared = fields.take("type", one_of("agent", "standard", *KINDS))
    declared = "agent" if declared == "standard" else declared
    kind = present[0] if present else "approval" if declared == "approval" else "agent"
    if len(present) > 1:
        fields.value.error("loop_and_map", f"{' and '.join(present)} exclude each other")
    elif declared not in (None, kind) and (declared, kind) != ("agent", "loop"):
        wanted = f"no '{kind}' key" if declared == "agent" else f"a '{declared}' key"
        fields.find("type").error("type_mismatch", f"type '{declared}' wants {wanted}")
    return kind


def _needs(fields: Fields) -> tuple[str, ...] | None:
    needs, depends = fields.take("needs", step_names), fields.take("dependsOn", step_names)
    return depends if needs is None else needs


def _agent_settings(entry: AgentEntry | None) -> dict[str, Any]:
    names = ("model", "fallback_models", "tools", "thinking_level")
    given = {name: getattr(entry, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def templates(step: Step) -> Iterator[str]:
    """Every template of the step."""
    yield step.input
    yield from step.with_.values()
    if step.approval:
        yield step.approval.prompt
