"""Running a tool: whatever goes wrong becomes text for the model."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from models.errors import AttemptTimeout, Invalid, LeaseLost
from workers.tools import base, registry
from workers.tools.base import Context, Outcome, Tool, ToolError, parameters


def tool(call=lambda *_: "done", schema=None) -> Tool:
    return Tool("probe", "", schema or parameters(("n",), n={"type": "integer"}), call)


def run(probe: Tool, tmp_path, **arguments) -> Outcome:
    return base.run(probe, Context(tmp_path), arguments)


def raising(error: BaseException):
    def call(*_):
        raise error

    return call


def test_a_result_is_handed_on(tmp_path):
    assert run(tool(), tmp_path, n=1) == Outcome("done", is_error=False)


@pytest.mark.parametrize(
    ("arguments", "reason"), [({}, "'n' is a required"), ({"n": "x"}, "$.n: 'x' is not"), ({"n": 1, "m": 2}, "'m' was")]
)
def test_wrong_arguments_are_explained_and_the_tool_is_not_called(tmp_path, arguments, reason):
    outcome = run(tool(raising(AssertionError("called"))), tmp_path, **arguments)
    assert outcome.is_error
    assert reason in outcome.text


@pytest.mark.parametrize("error", [ToolError("because"), Invalid("because"), OSError("because"), KeyError("because")])
def test_an_error_becomes_text(tmp_path, error):
    outcome = run(tool(raising(error)), tmp_path, n=1)
    assert outcome.is_error
    assert "because" in outcome.text


@pytest.mark.parametrize("error", [LeaseLost("gone"), AttemptTimeout("over"), KeyboardInterrupt()])
def test_what_ends_the_attempt_is_raised(tmp_path, error):
    with pytest.raises(type(error)):
        run(tool(raising(error)), tmp_path, n=1)


def test_a_long_result_keeps_its_head_and_tail(tmp_path):
    text = run(tool(lambda *_: "a" * 200_000 + "z"), tmp_path, n=1).text
    assert len(text) < 101_000
    assert text[0] + text[-1] == "az"
    assert "100001 characters left out" in text


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "http://127.0.0.1:9/x"}, {"type": "nonsense"}, {"pattern": "("}, {"$ref": "#/nowhere"}, {"type": 5}],
)
def test_a_broken_schema_is_a_problem_not_a_crash(schema):
    assert base.problems({"properties": {"n": schema}}, {"n": "x"})


def test_a_reference_to_another_document_is_not_fetched(monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", raising(AssertionError("fetched")))
    assert "fetched" not in str(base.problems({"$ref": "https://example.com/schema"}, {}))


def test_every_tool_has_a_valid_schema_and_a_description():
    for name, each in registry.tools().items():
        Draft202012Validator.check_schema(each.parameters)
        assert each.name == name
        assert each.description
        assert each.spec.parameters["additionalProperties"] is False


def test_the_default_tools_exist():
    assert set(base.DEFAULT_TOOLS) <= registry.tools().keys()


def test_the_loops_own_tools_are_described():
    for spec in (base.COMPLETE, base.FAIL):
        Draft202012Validator.check_schema(spec.parameters)
        assert json.dumps(spec.parameters)
    assert base.problems(base.COMPLETE.parameters, {"outputs": {"a": 1}, "summary": "x"}) == []
    assert base.problems(base.FAIL.parameters, {}) != []


def test_what_a_takeover_may_do_is_declared(setting):
    setting(SANDBOX="bwrap")
    effects = {name: each.effect for name, each in registry.tools().items()}
    assert {name for name, effect in effects.items() if effect == "pure"} == {
        "read",
        "ls",
        "find",
        "grep",
        "list_tasks",
    }
    assert effects["bash"] == "idempotent"
    setting(SANDBOX="none")
    assert registry.tools()["bash"].effect == "unsafe"
