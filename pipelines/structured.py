"""Structured output, the local side: every answer is validated here, whatever the provider promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from pipelines.definition import Step, fold
from pipelines.outputs import as_text, loads, unfenced

MAX_MESSAGES = 10
MAX_MESSAGE_CHARS = 300
# Names under which templates reach the whole answer: `STEP.structured`, and `_structured_json`.
WHOLE = ("structured", "_structured_json")


def schema_error(schema: dict[str, Any]) -> str | None:
    """Why `schema` cannot be used, None if it can: JSON Schema 2020-12 with local references only."""
    remote = next((ref for ref in _references(schema) if not ref.startswith("#")), None)
    if remote:
        return f"the reference '{remote[:200]}' is not local"
    try:
        Draft202012Validator.check_schema(schema)
        for sample in ({}, [], ""):
            list(_validator(schema).iter_errors(sample))
    except SchemaError as error:
        return _message(error)
    except Unresolvable as error:
        return f"the reference '{error.ref}' leads nowhere"
    except RecursionError:
        return "a reference leads back to itself"
    return None


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    # The library's default registry would fetch what it does not know.
    return Draft202012Validator(schema, registry=EMPTY_REGISTRY)


def validate(schema: dict[str, Any], text: str) -> tuple[Any, list[str]]:
    """The value that `text` is, and what is wrong with it, as sentences for a repair turn. No messages: it is valid."""
    try:
        value = loads(unfenced(text.strip()))
    except ValueError as error:
        return None, [f"not JSON: {error}"]
    try:
        errors = sorted(_validator(schema).iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
    except RecursionError:
        return None, ["nested too deep"]
    return value, [_message(error) for error in errors[:MAX_MESSAGES]]


def _message(error: ValidationError | SchemaError) -> str:
    return f"{error.json_path}: {error.message}"[:MAX_MESSAGE_CHARS]


def is_hollow(value: Any) -> bool:
    """Whether there are arrays at the top and all of them are empty: valid, but seldom meant."""
    arrays = [item for item in value.values() if isinstance(item, list)] if isinstance(value, dict) else []
    return bool(arrays) and not any(arrays)


def to_outputs(step: Step, value: Any, extra_names: frozenset[str] = frozenset()) -> dict[str, str]:
    """{declared output: text} of a valid answer, with the whole of it under the names of WHOLE that the file uses."""
    whole = as_text(value)
    keys = {fold(key): item for key, item in value.items()} if isinstance(value, dict) else {}
    outputs = {name: as_text(keys[name]) for name in step.declared if name in keys}
    if len(step.outputs) == 1 and not outputs.get(step.outputs[0]):
        outputs[step.outputs[0]] = whole
    return outputs | {name: whole for name in WHOLE if name in extra_names}


def instructions(schema: dict[str, Any]) -> str:
    """What to tell a model whose provider cannot enforce the schema."""
    return f"Answer with JSON only, no other text. It must match this JSON Schema:\n{as_text(schema)}"


def repair_message(messages: list[str]) -> str:
    """What to tell the model about an answer that `validate` refused."""
    listed = "\n".join(f"- {message}" for message in messages)
    return f"Your answer cannot be used:\n{listed}\nAnswer again with the complete, corrected JSON and nothing else."
