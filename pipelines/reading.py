"""Reading of a whole file into a Pipeline."""

from __future__ import annotations

from typing import Any

from pipelines import names
from pipelines.definition import AgentEntry, Budget, Pipeline, Step
from pipelines.fields import Fields, Value, integer, matching, naming, number, one_of, several, text
from pipelines.flow import in_sequence, is_sequence
from pipelines.problems import Report
from pipelines.settings import AGENT_KINDS, read_kinds, read_settings
from pipelines.steps import SLUG, read_step, slug

MAX_STEPS = 200
MAX_AGENTS = 100
LONGEST_RUN_SECONDS = 2_592_000


def read_pipeline(report: Report) -> Pipeline | None:
    """The pipeline as far as it can be read, None if there is no map or no step. Mistakes go to `report`."""
    if not isinstance(report.source.value, dict):
        report.error("not_a_mapping", (), "the file must hold a map")
        return None
    report.report_duplicates()
    fields = Fields(Value(report, (), report.source.value))
    agents = fields.take("agents", _read_agents, {})
    defaults = fields.take("defaults", _read_defaults, {})
    max_visits = fields.take("maxVisits", integer(1, 1000), 10)
    steps = _read_steps(fields, agents, defaults, max_visits)
    head = _read_head(fields)
    fields.done()
    if is_sequence(steps):
        report.warn("implicit_sequence", ("steps",), "no step says what follows it: they run in file order")
    return assemble(steps, agents=agents, max_visits=max_visits, **head) if steps else None


def _read_head(fields: Fields) -> dict[str, Any]:
    id = fields.need("id", slug, "")
    return {
        "id": id,
        "name": fields.take("name", text) or id,
        "version": fields.take("version", text),
        "description": fields.take("description", text, ""),
        "max_duration_seconds": fields.take("maxDurationSeconds", integer(1, LONGEST_RUN_SECONDS), 86_400),
        "max_parallel": fields.take("maxParallel", integer(1, 16), 4),
        "budget": fields.take("budget", _read_budget, Budget()),
    }


def _read_defaults(value: Value) -> dict[str, Any]:
    fields = Fields(value)
    settings = read_settings(fields)
    fields.done()
    return settings


def _read_budget(value: Value) -> Budget:
    fields = Fields(value)
    budget = Budget(
        max_cost_usd=fields.take("maxCostUsd", number(0, 100_000)),
        max_tokens=fields.take("maxTokens", integer(1, 2**53)),
        on_budget=fields.take("onBudget", one_of("fail", "pause")),
    )
    fields.done()
    return budget


def _read_agents(value: Value) -> dict[str, AgentEntry]:
    entries: dict[str, AgentEntry] = {}
    for index, entry in enumerate(several(_read_agent, MAX_AGENTS)(value)):
        if entry.id in entries:
            value.report.error("duplicate_agent", (*value.path, index), f"the agent '{entry.id}' is listed twice")
        elif entry.id:
            entries[entry.id] = entry
    return entries


def _read_agent(value: Value) -> AgentEntry:
    fields = Fields(value)
    id = fields.need("id", naming("listed agent", matching(SLUG, "agent id", "bad_id")), "")
    name, persona = fields.take("name", text) or id, fields.take("persona", text)
    entry = AgentEntry(id, name, persona, **read_kinds(fields, AGENT_KINDS))
    fields.done()
    return entry


def _read_steps(
    fields: Fields, agents: dict[str, AgentEntry], defaults: dict[str, Any], max_visits: int
) -> dict[str, Step]:
    found = fields.find("steps")
    if found is None or found.raw == []:
        fields.value.report.error("no_steps", ("steps",), "a pipeline needs at least one step")
        return {}
    read = several(lambda value: (value, read_step(value, agents, defaults, max_visits)), MAX_STEPS)
    steps: dict[str, Step] = {}
    for value, step in found.try_read(read, ()):
        if step.key in steps:
            value.error("duplicate_step", f"the step '{step.key}' stands in the file twice")
        elif step.key:
            steps[step.key] = step
    return steps


def assemble(steps: dict[str, Step], **head: Any) -> Pipeline:
    """The pipeline of these steps, with what follows from all of them together."""
    entries = tuple(key for key, step in steps.items() if step.needs == () or key == next(iter(steps)))
    steps = in_sequence(steps) if is_sequence(steps) else steps
    return Pipeline(steps=steps, entry_steps=entries, **names.of(steps), **head)
