"""Ways between steps, their checks and their picture."""

import json

import pytest

from pipelines import flow
from pipelines.checking import check, parse
from pipelines.graph import graph


def text(**steps):
    listed = [{"id": key, "agent": "d", "input": "x", "onComplete": [], **step} for key, step in steps.items()]
    return json.dumps({"id": "p", "steps": listed})


def codes(**steps):
    problems = check(text(**steps), agents={"d"}).problems
    return sorted(problem.code for problem in problems if problem.code != "unmatched_result")


def test_edges_tell_every_way_and_its_kind():
    steps = parse(
        text(
            A={"onComplete": "B", "onResult": {"X": "C"}, "onFailure": "C"},
            B={"needs": ["C"]},
            C={"loop": {"over": "w", "onEachComplete": "D", "onAllComplete": "A"}},
            D={"onResult": {"OK": {"continueLoop": True}}},
        )
    ).steps
    found = [(edge.source, edge.target, edge.kind, edge.label) for edge in flow.edges(steps)]
    assert found == [
        ("A", "B", "next", None),
        ("A", "C", "result", "X"),
        ("A", "C", "failure", None),
        ("C", "B", "needs", None),
        ("C", "D", "loop_each", None),
        ("C", "A", "loop_all", None),
        ("D", "C", "continue", "OK"),
    ]


def test_a_cycle_of_sure_ways_never_ends():
    assert codes(A={"onComplete": "B"}, B={"onComplete": "A"}) == ["endless_cycle"]
    assert codes(A={"onComplete": "A"}) == ["endless_cycle"]
    assert codes(A={"onResult": {"default": "A"}}) == ["endless_cycle"]


@pytest.mark.parametrize(
    "second", [{"onResult": {"X": "A"}}, {"onComplete": "A", "onResult": {"X": {"fail": "f"}}}, {"onFailure": "A"}]
)
def test_a_cycle_with_a_way_out_is_fine(second):
    assert codes(A={"onComplete": "B"}, B=second) == []


def test_a_condition_on_a_step_is_a_way_out():
    assert codes(A={"onComplete": "B"}, B={"onComplete": "A", "when": {"status": "x"}}) == []


def test_a_step_needs_no_circle():
    assert codes(A={}, B={"needs": ["B"]}) == ["needs_cycle", "unreachable_step"]


def test_steps_are_reached_through_every_kind_of_way():
    assert codes(A={"onFailure": "B"}, B={"onResult": {"X": "C"}}, C={}, D={"needs": ["C"]}, E={"needs": []}) == []
    assert codes(A={}, B={"onComplete": "C"}, C={}) == ["unreachable_step", "unreachable_step"]


def test_a_join_starves_if_a_result_may_skip_one_of_its_needs():
    base = {"A": {"onComplete": ["B", "C"]}, "B": {"onResult": {"X": "D"}}, "C": {}, "D": {}}
    assert codes(**base, E={"needs": ["C", "D"]}) == ["join_after_branch"]
    assert codes(**base, E={"needs": ["C", "B"]}) == []


def test_a_join_inside_one_branch_does_not_starve():
    assert codes(A={"onResult": {"X": "B"}}, B={"onComplete": ["C", "D"]}, C={}, D={}, E={"needs": ["C", "D"]}) == []


def test_alternative_branches_starve_a_join_of_both():
    steps = {"A": {"onResult": {"X": "B", "Y": "C"}}, "B": {}, "C": {}, "D": {"needs": ["B", "C"]}}
    assert codes(**steps) == ["join_after_branch"]


LOOP = {"loop": {"over": "result", "onEachComplete": "R", "onAllComplete": "Z"}}


def test_a_loop_is_left_by_its_own_ways_only():
    def leaving(target):
        return codes(S={"onComplete": "L"}, L=LOOP, R={"onResult": {"X": target}}, Z={})

    assert leaving("L") == leaving("Z") == leaving({"continueLoop": True}) == []
    assert leaving("S") == ["goto_out_of_loop"]


def test_there_is_nothing_to_continue_outside_a_loop():
    assert codes(A={"onResult": {"X": {"continueLoop": True}}}) == ["continue_outside_loop"]
    assert codes(A={"onFailure": {"continueLoop": True}}) == ["continue_outside_loop"]


def test_loops_nest_to_depth_three():
    def nested(depth):
        steps = {f"L{n}": {"loop": {"over": "result", "onEachComplete": f"L{n + 1}"}} for n in range(depth)}
        return codes(**steps, **{f"L{depth}": {}})

    assert nested(3) == []
    assert nested(4) == ["bad_value"]


def test_going_to_a_join_directly_is_a_warning():
    assert codes(A={"onComplete": "B"}, B={"needs": ["A"]}) == []
    assert codes(A={"onComplete": ["B", "C"]}, C={}, B={"needs": ["A", "C"]}) == ["needs_and_goto"]
    assert codes(A={"onFailure": "B"}, B={"needs": ["A"]}) == ["needs_and_goto"]


def test_a_result_that_nothing_catches_is_a_warning_unless_the_step_is_last():
    def warned(*, approval=None, **actions):
        first = {"onResult": {"X": "B", **actions}} | ({"approval": approval} if approval else {})
        return "unmatched_result" in [found.code for found in check(text(A=first, B={}), agents={"d"}).problems]

    assert warned()
    assert not warned(default={})
    assert warned(approval={"options": ["x", "y"]})
    assert not warned(approval={"options": ["x", "y"]}, Y={})
    assert check(text(A={"onResult": {"X": "A"}}), agents={"d"}).problems == ()


def test_outputs_that_the_engine_overrules_are_reserved():
    assert codes(A={"outputs": ["attempt", "items", "fine"]}) == ["reserved_output", "reserved_output"]
    assert codes(A={"outputs": ["status"], "onResult": {"FAILED": "A"}}) == ["reserved_output"]
    assert codes(A={"outputs": ["status"], "onResult": {"DONE": {}}}) == []


def test_the_graph_tells_where_a_run_begins_and_ends():
    found = graph(parse(text(A={"onComplete": "B"}, B={"onResult": {"BAD": "A"}}, C={"type": "approval"})))
    assert [(n["id"], n["entry"], n["terminal"], n["reachable"]) for n in found["nodes"]] == [
        ("A", True, False, True),
        ("B", False, False, True),
        ("C", False, True, False),
    ]
    assert [(e["from"], e["to"], e["kind"], e["label"], e["back"]) for e in found["edges"]] == [
        ("A", "B", "next", None, False),
        ("B", "A", "result", "BAD", True),
    ]


def test_a_step_ends_the_run_if_some_result_goes_nowhere():
    found = graph(parse(text(A={"onResult": {"X": "B", "Y": {"notify": {"agent": "d", "message": "m"}}}}, B={})))
    assert [node["terminal"] for node in found["nodes"]] == [True, True]


def test_mermaid_text_cannot_be_broken_by_a_label():
    mermaid = graph(parse(text(A={"onResult": {'"]; click #1\nx': "A"}})))["mermaid"]
    assert mermaid == 'flowchart TD\n  s0(["A · d"])\n  s0 -.->|"#quot;]; click #35;1 x"| s0\n'


def test_a_join_of_several_is_no_sure_way():
    steps = parse(text(A={}, B={"needs": ["A"]}, C={"needs": ["A", "B"]})).steps
    assert [edge.sure for edge in flow.edges(steps)] == [True, False, False]


def test_a_join_with_a_step_of_a_loop_may_starve():
    assert codes(L=LOOP, R={}, Z={}, J={"needs": ["R", "Z"]}) == ["join_after_branch"]


def test_a_step_that_also_runs_outside_a_loop_may_go_anywhere():
    assert codes(S={"onComplete": ["L", "X"]}, L=LOOP, R={"onComplete": "X"}, X={"onResult": {"A": "S"}}, Z={}) == []
