"""Checks of child pipelines: they exist, and none starts itself."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.definition import Pipeline
from pipelines.problems import Report

MAX_DEPTH = 5

Lookup = Callable[[str], Pipeline | None]


def check_children(report: Report, pipeline: Pipeline, lookup: Lookup) -> None:
    for value, name in report.mentions["pipeline"]:
        if name != pipeline.id and lookup(name) is None:
            value.error("unknown_pipeline", f"there is no valid pipeline '{name}'")
            continue
        trail = _circle_or_depth((pipeline.id, name), lookup)
        if trail:
            value.error("pipeline_cycle", f"starts itself, or nests deeper than {MAX_DEPTH}: {' → '.join(trail)}")


def _circle_or_depth(trail: tuple[str, ...], lookup: Lookup) -> tuple[str, ...] | None:
    """The first way through the children that comes back to where it was or goes too deep."""
    if trail[-1] in trail[:-1] or len(trail) > MAX_DEPTH + 1:
        return trail
    child = lookup(trail[-1])
    names = [step.pipeline for step in child.steps.values() if step.pipeline] if child else []
    return next((found for name in names if (found := _circle_or_depth((*trail, name), lookup))), None)
