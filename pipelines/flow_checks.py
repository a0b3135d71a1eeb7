"""The checks of the ways between steps: circles, dead ends, joins that starve, loops that are left by mistake."""

from __future__ import annotations

from pipelines import flow, names
from pipelines.definition import Pipeline, Step
from pipelines.problems import Report
from pipelines.results import allowed, default, match, same
from pipelines.text import Path

MAX_LOOP_DEPTH = 3
RESERVED = names.BUILT_IN | names.WHOLE | names.ENGINE


class FlowChecks:
    """One file's ways, looked at from every side."""

    def __init__(self, report: Report, pipeline: Pipeline) -> None:
        self.report = report
        self.pipeline = pipeline
        self.steps = pipeline.steps
        self.edges = flow.edges(pipeline.steps)
        self.bodies = {key: flow.body(self.steps[key], self.edges) for key in flow.loops(self.steps)}
        self.paths: dict[str, Path] = {}
        for value, key in report.mentions["id"]:
            self.paths.setdefault(key, value.path[:-1])

    def run(self) -> None:
        self.check_cycles()
        self.check_reach()
        self.check_joins()
        self.check_loops()
        for step in self.steps.values():
            self.check_results(step)
            self.check_outputs(step)
            self.check_targets(step)

    def warn(self, code: str, key: str, part: str, message: str) -> None:
        self.report.warn(code, (*self.paths[key], *part.split(".", 1)) if part else self.paths[key], message)

    def check_cycles(self) -> None:
        needs = flow.cycle(edge for edge in self.edges if edge.kind == "needs")
        if needs:
            self.report.error("needs_cycle", (*self.paths[needs[0]], "needs"), f"a circle: {_circle(needs)}")
        endless = flow.cycle(edge for edge in self.edges if edge.sure and not (needs and edge.kind == "needs"))
        if endless:
            self.warn("endless_cycle", endless[0], "", f"nothing ends this cycle: {_circle(endless)}")

    def check_reach(self) -> None:
        for key in self.steps.keys() - flow.reached(self.pipeline.entry_steps, self.edges):
            self.warn("unreachable_step", key, "", f"no way leads to '{key}': it never runs")

    def check_joins(self) -> None:
        """A join starves where a branch reaches some of what it needs and not the rest."""
        base = flow.certain(self.pipeline.entry_steps, self.steps, self.edges)
        branches = {edge.target for edge in self.edges if not edge.sure and edge.kind != "needs"}
        runs = [base, *(flow.certain(base | {target}, self.steps, self.edges) for target in branches)]
        for key, step in self.steps.items():
            needs = set(step.needs or ()) & self.steps.keys()
            if any(needs & run and needs - run for run in runs):
                self.warn("join_after_branch", key, "needs", "a result may skip some of these and starve this step")

    def check_loops(self) -> None:
        for key, step in self.steps.items():
            depth = sum(key in body for body in self.bodies.values())
            if step.loop and depth >= MAX_LOOP_DEPTH:
                self.report.error("bad_value", (*self.paths[key], "loop"), f"loops nest deeper than {MAX_LOOP_DEPTH}")
            if depth == 0:
                self.check_continues(step)
        for key, body in self.bodies.items():
            self.check_exits(self.steps[key], body)

    def check_continues(self, step: Step) -> None:
        for part, action in flow.actions(step):
            if action.continue_loop:
                self.warn("continue_outside_loop", step.key, part, f"'{step.key}' is in no loop: nothing to continue")

    def check_exits(self, loop: Step, body: set[str]) -> None:
        others = [edge for edge in self.edges if (edge.source, edge.kind) != (loop.key, "loop_each")]
        outside = flow.reached(self.pipeline.entry_steps, others)
        legal = {loop.key, *loop.loop.on_all_complete}
        for key in body - outside:
            for part, action in flow.actions(self.steps[key]):
                if action.goto in outside - legal:
                    self.warn("goto_out_of_loop", key, part, f"'{action.goto}' is outside the loop '{loop.key}'")

    def check_results(self, step: Step) -> None:
        ends = step.on_complete or step.key == self.pipeline.last_step
        decided = step.approval and all(match(step, option) for option in step.approval.options)
        if step.on_result and not ends and not decided and default(step) is None:
            wanted = ", ".join(allowed(step))
            self.warn("unmatched_result", step.key, "onResult", f"a result other than {wanted} is asked for again")

    def check_outputs(self, step: Step) -> None:
        for name in {*step.declared} & RESERVED:
            self.warn("reserved_output", step.key, "outputs", f"'{name}' always means the engine's own value")
        failing = any(same("failed", key) or same("error", key) for key in allowed(step))
        if failing and "status" in step.declared:
            self.warn("reserved_output", step.key, "outputs", "'status' of fail or error fails the attempt itself")

    def check_targets(self, step: Step) -> None:
        for part, action in flow.actions(step):
            target = self.steps.get(action.goto or "")
            if target and target.needs:
                self.warn("needs_and_goto", step.key, part, f"this starts '{target.key}' without what it needs")
        for key in step.on_complete:
            target = self.steps.get(key)
            if target and set(target.needs or ()) - {step.key}:
                self.warn("needs_and_goto", step.key, "onComplete", f"this starts '{key}' without all that it needs")


def _circle(keys: list[str]) -> str:
    return " → ".join((*keys, keys[0]))
