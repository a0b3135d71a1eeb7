"""Structured answers."""

import socketserver

import pytest
from referencing.exceptions import Unresolvable

from pipelines.definition import Step
from pipelines.structured import instructions, is_hollow, repair_message, schema_error, to_outputs, validate

SCHEMA = {
    "type": "object",
    "properties": {"tasks": {"type": "array", "items": {"$ref": "#/$defs/task"}}},
    "required": ["tasks"],
    "$defs": {"task": {"type": "string"}},
}


def test_a_valid_answer_has_no_messages():
    assert validate(SCHEMA, '{"tasks": ["a"]}') == ({"tasks": ["a"]}, [])
    assert validate(SCHEMA, '```json\n{"tasks": []}\n```') == ({"tasks": []}, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "not JSON"),
        ('{"tasks": ["a', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"tasks": NaN}', "not JSON"),
        ("{}", "$: 'tasks' is a required property"),
        ('{"tasks": [1]}', "$.tasks[0]: 1 is not of type 'string'"),
    ],
)
def test_a_bad_answer_has_messages_that_say_where(text, message):
    assert message in validate(SCHEMA, text)[1][0]


def test_messages_are_few_and_short():
    _, messages = validate(SCHEMA, '{"tasks": [' + ",".join(["1"] * 50) + "]}")
    assert len(messages) == 10
    assert max(map(len, validate({"type": "null"}, '"' + "x" * 9999 + '"')[1])) == 300
    assert "- $.tasks[0]" in repair_message(messages)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "https://example.com/x.json"},
        {"properties": {"a": {"items": [{"$ref": "other.json"}]}}},
        {"$ref": "#/$defs/none"},
        {"$ref": "#"},
    ],
)
def test_schemas_that_cannot_be_used_are_refused(schema):
    assert schema_error(schema)


@pytest.mark.timeout(10)
def test_a_remote_reference_is_named_and_never_fetched():
    assert "is not local" in schema_error({"$ref": "https://example.com/x.json"})
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        server.timeout = 0
        fetched = []
        server.process_request = lambda *request: fetched.append(request)
        with pytest.raises(Unresolvable):
            validate({"$ref": f"http://127.0.0.1:{server.server_address[1]}/x.json"}, "{}")
        server.handle_request()
    assert fetched == []


def test_an_answer_deeper_than_the_validator_reaches_is_refused():
    nested = '{"child": ' * 99 + "{}" + "}" * 99
    child = {"$ref": "#"}
    assert validate({"properties": {"child": child}}, nested)[1] == []
    for _ in range(15):
        child = {"allOf": [child]}
    assert validate({"properties": {"child": child}}, nested) == (None, ["nested too deep"])


def test_a_schema_with_local_references_is_fine():
    assert schema_error(SCHEMA) is None
    assert schema_error({"properties": {"child": {"$ref": "#"}}}) is None


def test_an_answer_of_empty_lists_is_hollow():
    assert is_hollow({"tasks": [], "more": [], "text": "x"})
    assert not is_hollow({"tasks": [], "more": [1]})
    assert not is_hollow({"text": ""})
    assert not is_hollow([])


def test_declared_outputs_take_the_keys_of_the_answer():
    step = Step("A", outputs=("title", "points"), optional_outputs=("note",))
    assert to_outputs(step, {"Title": "t", "points": [1], "other": 2}) == {"title": "t", "points": "[1]"}


def test_a_single_output_that_is_no_key_takes_the_whole():
    step = Step("A", outputs=("breakdown",))
    assert to_outputs(step, {"tasks": ["é"]}) == {"breakdown": '{"tasks": ["é"]}'}
    assert to_outputs(step, {"breakdown": "b"}) == {"breakdown": "b"}


def test_files_that_ask_for_it_get_the_whole_answer():
    found = to_outputs(Step("A", outputs=("a",)), {"a": 1}, frozenset({"structured", "_structured_json", "b"}))
    assert found == {"a": "1", "structured": '{"a": 1}', "_structured_json": '{"a": 1}'}


def test_models_without_schema_support_are_told_the_schema():
    assert '"required": ["tasks"]' in instructions(SCHEMA)
