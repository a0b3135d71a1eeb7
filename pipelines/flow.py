"""The ways between the steps of a file, and what can be told from them without running it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from pipelines.definition import Action, Step
from pipelines.results import DEFAULTS

Steps = dict[str, Step]


@dataclass(frozen=True, slots=True)
class Edge:
    source: str
    target: str
    kind: str  # next, result, needs, loop_each, loop_all, continue, failure
    label: str | None = None
    sure: bool = False  # taken whenever the source completes


def is_sequence(steps: Steps) -> bool:
    """Whether no step says what follows, so that file order does."""
    return len(steps) > 1 and not any(map(_routes, steps.values()))


def _routes(step: Step) -> bool:
    in_loop = step.loop and (step.loop.on_each_complete or step.loop.on_all_complete)
    return bool(step.on_result or step.on_complete or step.on_failure or step.needs is not None or in_loop)


def in_sequence(steps: Steps) -> Steps:
    following = dict(pairwise(steps))
    return {
        key: replace(step, on_complete=(following[key],)) if key in following else step for key, step in steps.items()
    }


def edges(steps: Steps) -> list[Edge]:
    """Every way from one step of the file to another; `continue` leads back to the loop."""
    found = [edge for step in steps.values() for edge in _edges_of(step) if {edge.source, edge.target} <= steps.keys()]
    found = [replace(edge, sure=edge.sure and not steps[edge.target].when) for edge in found]
    return found + list(_continues(steps, found))


def _edges_of(step: Step) -> Iterator[Edge]:
    sure = not any(action.diverts for action in step.on_result.values())
    for target in step.on_complete:
        yield Edge(step.key, target, "next", sure=sure)
    for label, action in step.on_result.items():
        if action.goto:
            yield Edge(step.key, action.goto, "result", label, sure=set(step.on_result) <= set(DEFAULTS))
    if step.on_failure and step.on_failure.goto:
        yield Edge(step.key, step.on_failure.goto, "failure")
    for need in step.needs or ():
        yield Edge(need, step.key, "needs", sure=len(step.needs) == 1)
    if step.loop:
        yield from (Edge(step.key, target, "loop_each", sure=True) for target in step.loop.on_each_complete)
        yield from (Edge(step.key, target, "loop_all", sure=True) for target in step.loop.on_all_complete)


def _continues(steps: Steps, found: list[Edge]) -> Iterator[Edge]:
    for loop in loops(steps):
        for key in body(steps[loop], found):
            for label, action in steps[key].on_result.items():
                if action.continue_loop:
                    yield Edge(key, loop, "continue", label)


def loops(steps: Steps) -> list[str]:
    return [key for key, step in steps.items() if step.loop]


def body(step: Step, found: Iterable[Edge]) -> set[str]:
    """The steps that run inside an item of this loop."""
    outside = {step.key, *step.loop.on_all_complete}
    inner = [edge for edge in found if edge.target not in outside and edge.kind != "continue"]
    return reached({*step.loop.on_each_complete} - outside, inner)


def reached(starts: Iterable[str], found: Iterable[Edge]) -> set[str]:
    """All steps that some way leads to from `starts`, these included."""
    targets = defaultdict(list)
    for edge in found:
        targets[edge.source].append(edge.target)
    seen, todo = set(starts), list(starts)
    while todo:
        new = [target for target in targets[todo.pop()] if target not in seen]
        seen.update(new)
        todo.extend(new)
    return seen


def certain(starts: Iterable[str], steps: Steps, found: Iterable[Edge]) -> set[str]:
    """The steps that run whatever the results are, once `starts` run and nothing fails."""
    sure = [edge for edge in found if edge.sure and edge.kind not in ("needs", "loop_each")]
    seen: set[str] = set()
    more = set(starts)
    while more - seen:
        seen = reached(seen | more, sure)
        more = {key for key, step in steps.items() if step.needs and seen.issuperset(step.needs)}
    return seen


def cycle(found: Iterable[Edge]) -> list[str] | None:
    """The steps of one cycle of these edges in order, None if there is none."""
    targets = defaultdict(list)
    for edge in found:
        targets[edge.source].append(edge.target)
    done: set[str] = set()
    for start in list(targets):
        trail = _walk(start, targets, done)
        if trail:
            return trail
    return None


def _walk(start: str, targets: dict[str, list[str]], done: set[str]) -> list[str] | None:
    """Depth first from `start`, without recursion."""
    trail: list[str] = []
    todo = [(start, False)]
    while todo:
        key, leaving = todo.pop()
        if leaving:
            done.add(trail.pop())
        elif key in trail:
            return trail[trail.index(key) :]
        elif key not in done:
            trail.append(key)
            todo.append((key, True))
            todo.extend((target, False) for target in targets.get(key, ()))
    return None


def actions(step: Step) -> Iterator[tuple[str, Action]]:
    """(path below the step, action) of everything the step may do apart from going on."""
    for label, action in step.on_result.items():
        yield f"onResult.{label}", action
    if step.on_failure:
        yield "onFailure", step.on_failure
