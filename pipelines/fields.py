"""Typed reading of the maps of a file: camelCase or snake_case, every mistake reported, none fatal."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.problems import Report, nearest
from pipelines.text import Path


class Wrong(Exception):
    """The value is not what its key wants."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code, self.hint = code, hint


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the file and where it stands."""

    report: Report
    path: Path
    raw: Any

    @property
    def written(self) -> str:
        return self.report.source.places[self.path].written or ""

    def child(self, key: str | int) -> Value:
        return Value(self.report, (*self.path, key), self.raw[key])

    def error(self, code: str, message: str, hint: str | None = None) -> None:
        self.report.error(code, self.path, message, hint)

    def warn(self, code: str, message: str, hint: str | None = None) -> None:
        self.report.warn(code, self.path, message, hint)

    def try_read(self, kind: Kind, default: Any = None) -> Any:
        """The value as `kind`; a wrong one is reported and answered with `default`."""
        try:
            return kind(self)
        except Wrong as wrong:
            self.error(wrong.code, str(wrong), wrong.hint)
            return default


Kind = Callable[[Value], Any]


def camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


class Fields:
    """One mapping. Ask for every key the format knows, then call `done`."""

    def __init__(self, value: Value) -> None:
        if not isinstance(value.raw, dict):
            raise _type("a map", value)
        self.value = value
        self.spelling: dict[str, str] = {}  # key as asked -> key as written
        self.asked: list[str] = []

    def given(self, name: str) -> bool:
        return self.find(name) is not None

    def find(self, name: str) -> Value | None:
        """The value of `name` in either spelling, None if absent or null."""
        spellings = [key for key in dict.fromkeys((name, snake(name))) if key in self.value.raw]
        if name not in self.asked:
            self.asked.append(name)
            if len(spellings) > 1:
                self.value.child(spellings[1]).error("duplicate_key", f"'{name}' is given in both spellings")
        if not spellings:
            return None
        self.spelling[spellings[0]] = name
        return None if self.value.raw[spellings[0]] is None else self.value.child(spellings[0])

    def take(self, name: str, kind: Kind, default: Any = None) -> Any:
        found = self.find(name)
        return default if found is None else found.try_read(kind, default)

    def need(self, name: str, kind: Kind, default: Any = None) -> Any:
        """Like `take`, but a missing or blank value is reported."""
        found = self.find(name)
        if found is None or (isinstance(found.raw, str) and not found.raw.strip()):
            self.value.error("missing_key", f"'{name}' is required")
            return default
        return found.try_read(kind, default)

    def done(self) -> None:
        """Reports the keys nobody asked for and keeps the map as written, known keys in camelCase."""
        raw, report = self.value.raw, self.value.report
        report.documents[self.value.path] = {self.spelling.get(key, key): raw[key] for key in raw}
        for key in raw:
            if camel(key) not in self.asked:
                path = (*self.value.path, key)
                hint = nearest(key, self.asked)
                report.warn("unknown_key", path, f"unknown key '{key}' is ignored", hint, report.source.keys[path])


def _type(expected: str, value: Value) -> Wrong:
    return Wrong("bad_type", f"expected {expected}, got {_kind_of(value.raw)}")


def _kind_of(raw: Any) -> str:
    if raw is None:
        return "nothing"
    return {bool: "true or false", dict: "a map", list: "a list", str: "text"}.get(type(raw), "a number")


def text(value: Value) -> str:
    """A text; a number is taken as written."""
    if isinstance(value.raw, str):
        return value.raw
    if type(value.raw) in (int, float):
        return value.written
    raise _type("text", value)


def scalar(value: Value) -> str:
    """A text, number or boolean, as written."""
    return value.written if isinstance(value.raw, bool) else text(value)


def flag(value: Value) -> bool:
    if not isinstance(value.raw, bool):
        raise _type("true or false", value)
    return value.raw


def any_map(value: Value) -> dict:
    if not isinstance(value.raw, dict):
        raise _type("a map", value)
    return value.raw


def number(low: float, high: float) -> Kind:
    def read(value: Value) -> float:
        if type(value.raw) not in (int, float):
            raise _type("a number", value)
        return _within(value.raw, low, high)

    return read


def integer(low: int, high: int) -> Kind:
    def read(value: Value) -> int:
        if type(value.raw) is not int:
            raise _type("a whole number", value)
        return _within(value.raw, low, high)

    return read


def _within(raw: float, low: float, high: float) -> Any:
    if not low <= raw <= high:
        raise Wrong("bad_value", f"expected {low} to {high}, got {raw}")
    return raw


def one_of(*options: str) -> Kind:
    def read(value: Value) -> str:
        if value.written not in options:
            raise Wrong("bad_value", f"expected one of {', '.join(options)}", nearest(value.written, options))
        return value.written

    return read


def matching(pattern: str, what: str, code: str = "bad_value") -> Kind:
    compiled = re.compile(pattern)

    def read(value: Value) -> str:
        found = text(value)
        if not compiled.fullmatch(found):
            raise Wrong(code, f"'{found[:80]}' is no {what}")
        return found

    return read


def several(kind: Kind, most: int = 200) -> Kind:
    """A list of `kind`, as a tuple without the wrong ones."""

    def read(value: Value) -> tuple:
        if not isinstance(value.raw, list):
            raise _type("a list", value)
        if len(value.raw) > most:
            raise Wrong("bad_value", f"more than {most} entries")
        found = (value.child(index).try_read(kind) for index in range(len(value.raw)))
        return tuple(item for item in found if item is not None)

    return read


def one_or_several(kind: Kind) -> Kind:
    """A list of `kind`, or one of it without the list."""
    many = several(kind)

    def read(value: Value) -> tuple:
        return many(value) if isinstance(value.raw, list) else (kind(value),)

    return read


def map_of(kind: Kind) -> Kind:
    """A map from any text to `kind`, without the wrong ones."""

    def read(value: Value) -> dict[str, Any]:
        found = {key: value.child(key).try_read(kind) for key in any_map(value)}
        return {key: item for key, item in found.items() if item is not None}

    return read


def naming(what: str, kind: Kind = text) -> Kind:
    """`kind`, noted as a mention of a step, an agent, a tool ... to be checked when everything is read."""

    def read(value: Value) -> Any:
        found = kind(value)
        value.report.mentions[what].append((value, found))
        return found

    return read
