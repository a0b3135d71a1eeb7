"""GET /v1/runs/{id}/diff/{other}."""

from __future__ import annotations

import pytest

from api.resources.control_schemas import DiffSchema, StepDiffSchema
from models import database
from tests.api import factories
from tests.api.test_control import CHAIN
from tests.engine import Engine


@pytest.fixture
def pair(run_id):
    """Two runs of one pipeline: FIX differs in prompt, outputs and usage; TEST was entered on the right only."""
    other = factories.run("Mend the gate", tags=("x",), model_override="scripted/b", cost_usd=0.5, llm_calls=2)
    fixed = {"outputs": {"summary": "ok", "same": "1"}, "prompt": "Fix\nthe fence", "usage": {"tool_calls": 1}}
    factories.visit(run_id, "FIX", model="scripted/a", **fixed)
    fixed |= {"outputs": {"summary": "fine", "same": "1"}, "prompt": "Fix\nthe gate", "usage": {"tool_calls": 3}}
    factories.visit(other, "FIX", model="scripted/b", attempt=2, **fixed)
    factories.visit(other, "TEST", 2)
    return run_id, other


def diff(api, pair, query=""):
    return api.get(f"/v1/runs/{pair[0]}/diff/{pair[1]}?{query}").json


def names(schema):
    return {field.data_key or name for name, field in schema().fields.items()}


# --- works ---


def test_two_runs_are_shown_side_by_side(api, pair):
    answer = diff(api, pair)
    assert answer.keys() == names(DiffSchema) and answer["steps"][0].keys() == names(StepDiffSchema)
    assert (answer["left"]["id"], answer["right"]["id"], answer["same_pipeline"]) == (*pair, True)
    assert "steps" not in answer["left"]
    assert answer["totals"]["cost_usd"] == {"left": 0, "right": 0.5}
    assert answer["totals"]["llm_calls"] == {"left": 0, "right": 2}


def test_only_inputs_that_differ_are_named(api, pair):
    inputs = diff(api, pair)["inputs"]
    assert inputs.keys() == {"task_description", "model_override", "tags"}
    assert inputs["task_description"] == {"left": "Mend the fence", "right": "Mend the gate"}
    assert inputs["tags"] == {"left": [], "right": ["x"]}


def test_a_step_says_in_what_it_differs(api, pair):
    fix, test = diff(api, pair)["steps"]
    assert (fix["step_id"], fix["in"]) == ("FIX", "both")
    assert fix["differs"] == ["attempts", "model", "prompt", "outputs", "tool_calls", "usage"]
    assert fix["outputs"]["summary"] == {"left": "ok", "right": "fine", "same": False}
    assert fix["outputs"]["same"]["same"]
    assert (fix["tool_calls"], fix["model"]["left"]) == ({"left": 1, "right": 3}, "scripted/a")
    assert fix["prompt_diff"].splitlines()[-3:] == [" Fix", "-the fence", "+the gate"]
    assert test["status"] == {"left": "pending", "right": "completed"}


def test_a_step_that_one_pipeline_does_not_have_stands_on_one_side(api, settings, run_id):
    other = Engine(CHAIN).finish().run_id
    answer = diff(api, (run_id, other))
    assert not answer["same_pipeline"]
    sides = {step["step_id"]: step["in"] for step in answer["steps"]}
    assert sides == {"FIX": "left", "TEST": "left", "A": "right", "B": "right", "C": "right"}
    last = answer["steps"][-1]
    assert (last["status"], last["prompt_diff"]) == ({"left": None, "right": "completed"}, None)
    assert "status" in last["differs"]


def test_a_run_does_not_differ_from_itself(api, pair):
    answer = diff(api, (pair[0], pair[0]))
    assert answer["inputs"] == {}
    assert [(step["differs"], step["prompt_diff"]) for step in answer["steps"]] == [([], None)] * 2


def test_one_step_can_be_asked_for(api, pair):
    assert [step["step_id"] for step in diff(api, pair, "step_id=TEST")["steps"]] == ["TEST"]


def test_long_texts_are_cut(api, run_id):
    left, right = factories.run("a" * 20_000), factories.run("b" * 20_000)
    factories.visit(left, "FIX", outputs={"summary": "x" * 20_000}, prompt="y" * 20_000)
    answer = diff(api, (left, right))
    assert len(answer["inputs"]["task_description"]["left"]) == 16_384
    assert len(answer["steps"][0]["outputs"]["summary"]["left"]) == 16_384
    assert len(answer["steps"][0]["prompt_diff"]) < 17_000


# --- missing ---


def test_what_does_not_exist_is_not_found(api, pair):
    for missing in (("run_x", pair[1]), (pair[0], "run_x")):
        assert diff(api, missing)["code"] == "run_not_found"
    assert diff(api, pair, "step_id=NONE")["code"] == "step_not_found"


# --- cost ---


def test_an_answer_takes_four_statements_a_run(api, pair, monkeypatch):
    diff(api, pair)
    seen, execute = [], database.db.obj.execute_sql
    monkeypatch.setattr(database.db.obj, "execute_sql", lambda sql, *rest: seen.append(sql) or execute(sql, *rest))
    assert diff(api, pair)["steps"]
    assert len(seen) == 8
