"""The checks of every name a file mentions: steps, agents, tools, models, variables."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from pipelines import names
from pipelines.definition import Pipeline, Step
from pipelines.fields import Value
from pipelines.problems import Report, nearest


@dataclass(frozen=True, slots=True)
class Known:
    """What a file may name. None: nobody can tell, so it is not checked."""

    agents: Container[str] = frozenset()
    tools: Container[str] | None = None
    providers: Container[str] | None = None
    strict_providers: Container[str] | None = None  # those that enforce a schema


def check_names(report: Report, pipeline: Pipeline, known: Known) -> None:
    """Every name the file mentions."""
    for value, name in report.mentions["step"]:
        if name not in pipeline.steps:
            value.error("unknown_step", f"unknown step '{name}'", nearest(name, pipeline.steps))
    _check_agents(report, pipeline, known)
    for value, name in report.mentions["tool"]:
        if known.tools is not None and name not in known.tools:
            value.warn("unknown_tool", f"unknown tool '{name}' is left out")
    for value, name in report.mentions["model"]:
        _check_model(value, name, known)
    for value, name in report.mentions["loop source"]:
        if not names.is_known(names.Use(name, None, False), pipeline.steps):
            value.warn("loop_source_undeclared", f"no step declares '{name}'")
    _check_variables(report, pipeline)


def _check_agents(report: Report, pipeline: Pipeline, known: Known) -> None:
    for value, name in report.mentions["agent"]:
        if name not in pipeline.agents and name not in known.agents:
            value.error("unknown_agent", f"unknown agent '{name}'", nearest(name, pipeline.agents))
    for value, name in report.mentions["notified agent"]:
        if name not in pipeline.agents and name not in known.agents:
            value.warn("unknown_notify_agent", f"unknown agent '{name}' gets no message")
    for value, name in report.mentions["listed agent"]:
        if name not in known.agents:
            value.warn("agent_not_installed", f"the agent '{name}' has no folder: it works with a neutral persona")


def _check_model(value: Value, name: str, known: Known) -> None:
    provider, slash, _ = name.partition("/")
    if not slash:
        value.warn("unknown_model", f"'{name}' does not say its provider: expected provider/model")
    elif known.providers is not None and provider not in known.providers and not provider.startswith("custom-"):
        value.warn("unknown_model", f"unknown provider '{provider}'")


def _check_variables(report: Report, pipeline: Pipeline) -> None:
    """One warning a name, at its first use."""
    unknown: dict[str, Value] = {}
    for value, text in report.mentions["template"]:
        for use in names.uses_in(text):
            if not names.is_known(use, pipeline.steps):
                unknown.setdefault(f"{use.owner}.{use.name}" if use.owner else use.name, value)
    for name, value in unknown.items():
        value.warn("undeclared_variable", f"no step gives '{name}': it must come in with the run's context")


def check_schemas(report: Report, pipeline: Pipeline, known: Known) -> None:
    """Models whose provider cannot enforce the schema of their step."""
    if known.strict_providers is None:
        return
    for value, _ in report.mentions["schema"]:
        step = step_of(report, pipeline, value)
        provider = (step.model or "").partition("/")[0] if step else ""
        if provider and step.output_schema.strict and provider not in known.strict_providers:
            value.warn("vendor_schema", f"{provider} does not enforce a schema: answers are checked afterwards")


def step_of(report: Report, pipeline: Pipeline, value: Value) -> Step | None:
    """The step whose part `value` is."""
    keys = {found.path[:2]: key for found, key in report.mentions["id"]}
    return pipeline.steps.get(keys.get(value.path[:2], ""))
