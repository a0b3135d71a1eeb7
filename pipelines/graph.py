"""A pipeline as a picture: nodes, edges and Mermaid text."""

from __future__ import annotations

from typing import Any

from pipelines import flow
from pipelines.definition import Pipeline, Step


def graph(pipeline: Pipeline) -> dict[str, Any]:
    """`{nodes, edges, mermaid}` as the API answers them; an edge that does not lead on in file order is `back`."""
    found = flow.edges(pipeline.steps)
    reachable = flow.reached(pipeline.entry_steps, found)
    place = {key: index for index, key in enumerate(pipeline.steps)}
    nodes = [
        {
            "id": step.key,
            "type": step.type,
            "agent_id": step.agent,
            "entry": step.key in pipeline.entry_steps,
            "terminal": _ends(step, pipeline, found),
            "reachable": step.key in reachable,
        }
        for step in pipeline.steps.values()
    ]
    ways = [
        {
            "from": edge.source,
            "to": edge.target,
            "kind": edge.kind,
            "label": edge.label,
            "back": place[edge.target] <= place[edge.source],
        }
        for edge in found
    ]
    return {"nodes": nodes, "edges": ways, "mermaid": _mermaid(nodes, ways)}


def _ends(step: Step, pipeline: Pipeline, found: list[flow.Edge]) -> bool:
    """Whether the run can end here: nothing follows, and some result leads nowhere else."""
    follows = any(edge.source == step.key and edge.kind in ("next", "needs", "loop_all") for edge in found)
    stays = not all(action.diverts for action in step.on_result.values())
    return not follows and (not step.on_result or stays or step.key == pipeline.last_step)


def _mermaid(nodes: list[dict[str, Any]], ways: list[dict[str, Any]]) -> str:
    names = {node["id"]: f"s{index}" for index, node in enumerate(nodes)}
    lines = ["flowchart TD"]
    lines += [f"  {names[node['id']]}{_box(node)}" for node in nodes]
    lines += [f"  {names[way['from']]} {_arrow(way)} {names[way['to']]}" for way in ways]
    return "\n".join(lines) + "\n"


def _box(node: dict[str, Any]) -> str:
    text = _quoted(node["id"] if node["agent_id"] is None else f"{node['id']} · {node['agent_id']}")
    return f"([{text}])" if node["entry"] else f"{{{{{text}}}}}" if node["type"] == "approval" else f"[{text}]"


def _arrow(way: dict[str, Any]) -> str:
    label = way["label"] or {"next": None, "needs": "needs"}.get(way["kind"], way["kind"].replace("_", " "))
    line = "-.->" if way["back"] or way["kind"] == "failure" else "-->"
    return f"{line}|{_quoted(label)}|" if label else line


def _quoted(text: str) -> str:
    # Mermaid reads entities written with # instead of &.
    return '"' + text.replace("#", "#35;").replace('"', "#quot;").replace("\n", " ") + '"'
