"""Checking of one text: everything that is wrong with it, and the pipeline if nothing is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

from pipelines.checks import Known, check_names, check_schemas
from pipelines.children import check_children
from pipelines.definition import Pipeline
from pipelines.flow_checks import FlowChecks
from pipelines.problems import Problem, Report, from_yaml_error
from pipelines.reading import read_pipeline
from pipelines.settings import effective_defaults
from pipelines.text import YamlError, read


@dataclass(frozen=True, slots=True)
class Checked:
    """`pipeline` is None if there is an error. `document`: id, name, version, description, defaults, agents, steps."""

    pipeline: Pipeline | None
    document: dict[str, Any]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> list[str]:
        return [str(problem) for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[str]:
        return [str(problem) for problem in self.problems if problem.severity == "warning"]


def check(
    text: bytes | str,
    *,
    agents: Container[str] = frozenset(),
    tools: Container[str] | None = None,
    providers: Container[str] | None = None,
    strict_providers: Container[str] | None = None,
    pipelines: Callable[[str], Pipeline | None] | None = None,
) -> Checked:
    """All problems of a pipeline file at once. `agents`: the installed ones; None elsewhere: not checked.

    `pipelines` finds a valid pipeline by id, for the steps that start one.
    """
    try:
        report = Report(read(text))
    except YamlError as error:
        return Checked(None, _document(None, None), (from_yaml_error(error),))
    pipeline = read_pipeline(report)
    if pipeline:
        known = Known(agents, tools, providers, strict_providers)
        check_names(report, pipeline, known)
        check_schemas(report, pipeline, known)
        FlowChecks(report, pipeline).run()
        if pipelines:
            check_children(report, pipeline, pipelines)
    broken = any(problem.severity == "error" for problem in report.problems)
    return Checked(None if broken else pipeline, _document(report, pipeline), report.sorted())


@functools.lru_cache(maxsize=256)
def parse(text: str) -> Pipeline:
    """The pipeline of a snapshot, which was valid when it was taken. Raises ValueError if there is none in it."""
    pipeline = read_pipeline(Report(read(text)))
    if pipeline is None:
        raise ValueError("the text holds no pipeline")
    return pipeline


def _document(report: Report | None, pipeline: Pipeline | None) -> dict[str, Any]:
    maps = report.documents if report else {}
    return {
        "id": pipeline.id if pipeline else _text(maps, "id"),
        "name": pipeline.name if pipeline else _text(maps, "name"),
        "version": pipeline.version if pipeline else None,
        "description": pipeline.description if pipeline else "",
        "defaults": effective_defaults(maps.get(("defaults",), {})),
        "agents": _listed(maps, "agents"),
        "steps": [_step(step) for step in _listed(maps, "steps")],
    }


def _text(maps: dict, key: str) -> str:
    return str(maps.get((), {}).get(key) or "")


def _listed(maps: dict, key: str) -> list[dict[str, Any]]:
    return [written for path, written in sorted(maps.items(), key=_index) if len(path) == 2 and path[0] == key]


def _index(item: tuple) -> int:
    return item[0][1] if len(item[0]) == 2 and isinstance(item[0][1], int) else 0


def _step(written: dict[str, Any]) -> dict[str, Any]:
    return {"id": "", "agent": None, "description": "", **written}
