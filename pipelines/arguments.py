"""Arguments of a tool call against a schema from outside, which must not be able to keep us busy.

Regular expressions of such a schema are not run, and only so many keywords are looked at: both can take for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from jsonschema import Draft202012Validator, validators
from referencing import Registry

MAX_PROBLEMS = 5
MAX_CHECKS = 20_000
MAX_DEPTH = 100  # keywords inside keywords; Python's own limit would be hit inside a library that does not survive it
UNRUN = ("pattern", "patternProperties", "format")
_left: ContextVar[int] = ContextVar("checks_left")
_depth: ContextVar[int] = ContextVar("depth")


class TooMuch(Exception):
    """The schema asks for more checks than we make."""


def problems(schema: dict[str, Any], given: Any) -> list[str]:
    """Why `given` does not match; references to other documents are not followed."""
    _left.set(MAX_CHECKS)
    _depth.set(0)
    try:
        errors = _first(_Bounded(schema, registry=Registry()).iter_errors(given))
    except Exception as error:  # a schema from outside can be broken in any way
        return [f"the tool's own schema is broken: {error}"[:500]]
    return [f"{error.json_path}: {error.message}"[:500] for error in errors]


def _first(errors: Iterator[Any]) -> list[Any]:
    return [error for error, _ in zip(errors, range(MAX_PROBLEMS), strict=False)]


def _counted(check: Callable) -> Callable:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        left, depth = _left.get() - 1, _depth.get() + 1
        if left < 0:
            raise TooMuch(f"it takes more than {MAX_CHECKS} checks")
        if depth > MAX_DEPTH:
            raise TooMuch(f"it is deeper than {MAX_DEPTH}")
        _left.set(left)
        _depth.set(depth)
        yield from check(validator, value, instance, schema) or ()
        _depth.set(depth - 1)

    return counted


def _unrun(*_: Any) -> Iterator[Any]:
    return iter(())


_CHECKS = {name: _counted(check) for name, check in Draft202012Validator.VALIDATORS.items()}
_Bounded = validators.extend(Draft202012Validator, _CHECKS | dict.fromkeys(UNRUN, _unrun))
