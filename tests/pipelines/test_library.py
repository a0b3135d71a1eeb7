"""The built-in pipelines and agents, as they are shipped."""

import pytest

from pipelines.catalog import LIBRARY, Catalog, Known
from pipelines.personas import installed, load
from pipelines.seeding import BUILT_IN

TOOLS = frozenset({"read", "write", "edit", "bash", "open_pull_request"})
CATALOG = Catalog((LIBRARY,), lambda: Known(agents=installed(BUILT_IN), tools=TOOLS))
FLOWS = {
    "execute": ["EXECUTE"],
    "bugfix": ["FIX", "VALIDATE"],
    "feature": ["DESIGN", "IMPLEMENT", "REVIEW", "TEST"],
    "resolve": ["ANALYZE", "IMPLEMENT", "VALIDATE", "PR"],
    "import": ["CLONE", "ANALYZE_ARCHITECTURE", "CODE_QUALITY", "MARKET_RESEARCH", "GENERATE_TASKS"],
    "planning": ["DECOMPOSE", "VALIDATE", "DECOMPOSE_SUBTASKS", "VALIDATE_SUBTASKS"],
    "planning-agentic": ["PLAN"],
    "engineering": ["SPEC", "DESIGN", "UX", "IMPLEMENT", "REVIEW", "TEST", "DEPLOY", "DX"],
    "quickstart": ["OUTLINE", "EXPAND", "SUMMARISE"],
}
EXPECTED_WARNINGS = {"unmatched_result", "undeclared_variable", "unreachable_step"}


def test_the_library_is_complete():
    assert {entry.id: [step["id"] for step in entry.steps] for entry in CATALOG.list()} == dict(sorted(FLOWS.items()))


@pytest.mark.parametrize("id", FLOWS)
def test_every_pipeline_is_valid_and_says_what_it_is_for(id):
    entry = CATALOG.get(id)
    assert entry.errors == []
    assert {problem.code for problem in entry.problems} <= EXPECTED_WARNINGS
    assert entry.description
    assert all(step["description"] for step in entry.steps)


def test_only_resolve_needs_variables_and_none_of_them_is_strict():
    needy = {entry.id: entry.required_variables for entry in CATALOG.list() if entry.required_variables}
    assert needy == {"resolve": ["repo_full_name", "issue_title", "issue_number", "issue_url", "issue_body"]}
    assert CATALOG.get("resolve").pipeline.strict_variables == ()


def test_only_dx_is_never_reached():
    unreached = [
        problem for entry in CATALOG.list() for problem in entry.problems if problem.code == "unreachable_step"
    ]
    assert [problem.path for problem in unreached] == ["steps[7]"]


def test_the_plans_are_structured_with_one_output_each():
    steps = CATALOG.get("planning").pipeline.steps.values()
    assert [len(step.outputs) for step in steps] == [1] * 4
    roots = [list(step.output_schema.schema["properties"]) for step in steps]
    assert roots == [["tasks"], ["tasks"], ["subtasks"], ["subtasks"]]


def test_engineering_loops_over_the_breakdown_without_saying_its_type():
    step = CATALOG.get("engineering").pipeline.steps["IMPLEMENT"]
    assert (step.type, step.loop.over, step.loop.on_each_complete) == ("loop", "task_breakdown_json", ("REVIEW",))
    assert "type" not in CATALOG.get("engineering").steps[3]


def test_the_quick_start_suits_a_tiny_model():
    steps = CATALOG.get("quickstart").pipeline.steps.values()
    assert all(step.tools == () and step.max_output_tokens <= 220 and len(step.input) < 400 for step in steps)


@pytest.mark.parametrize("id", sorted(installed(BUILT_IN)))
def test_every_agent_is_whole(id):
    agent = load(BUILT_IN, id)
    assert agent.problems == ()
    assert None not in (agent.emoji, agent.role, agent.description)
    assert agent.name != id
    assert len(agent.persona) > 150


def test_the_agents_of_the_library_are_all_there():
    wanted = {"product-owner", "architect", "ux", "senior-engineer", "tester", "sre", "developer-experience", "writer"}
    assert installed(BUILT_IN) == wanted
    assert {agent["id"] for entry in CATALOG.list() for agent in entry.agents} == wanted
