"""YAML text to plain values with the place of each: 1.2 core types, and nothing that could be code or a bomb."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_ALIASES = 100  # expansions, each alias inside an alias counted
MAX_VALUES = 50_000  # scalars, lists and maps after expansion

Path = tuple[str | int, ...]

_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_PREFIXED = re.compile(r"0(?:o[0-7]{1,18}|x[0-9a-fA-F]{1,14})")
_FLOAT = re.compile(r"(?=[^.eE]*[.eE])[-+]?(?:\.[0-9]{1,300}|[0-9]{1,300}(?:\.[0-9]{0,300})?)(?:[eE][-+]?[0-9]{1,3})?")
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")}
_STR = "tag:yaml.org,2002:str"


class YamlError(ValueError):
    """The text cannot be read. `code` as in the format's list of errors; line and column count from 1."""

    def __init__(self, code: str, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.code, self.line, self.column = code, line, column


class _Loader(getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
    """Marks scalars without quotes and tag as `plain`; gives no scalar a meaning of its own."""


_Loader.add_implicit_resolver("plain", re.compile(""), None)


@dataclass(frozen=True, slots=True)
class Place:
    line: int
    column: int
    written: str | None = None  # a scalar as it stands in the file


@dataclass(slots=True)
class Source:
    """The value of a document, the place of every value and key by path, and the keys given twice."""

    value: Any = None
    places: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    duplicates: list[tuple[Path, Place]] = field(default_factory=list)


def read(text: bytes | str, max_bytes: int = MAX_BYTES) -> Source:
    """The one document of `text`. Raises YamlError."""
    text = _decoded(text, max_bytes)
    try:
        _refuse_unsafe(yaml.parse(text, _Loader))
        root = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise YamlError("yaml_syntax", error.problem or error.context or "not YAML", *where)
    except yaml.YAMLError as error:
        raise YamlError("yaml_syntax", str(error).splitlines()[0])
    source = Source()
    if root is not None:
        source.value = _Expansion(source).value(root, (), None)
    return source


def _decoded(text: bytes | str, max_bytes: int) -> str:
    try:
        data = text.encode() if isinstance(text, str) else text
        if len(data) > max_bytes:
            raise YamlError("too_large", f"larger than {max_bytes // 1024} KB")
        return data.decode("utf-8-sig")
    except UnicodeError:
        raise YamlError("yaml_syntax", "not UTF-8 text")


def _refuse_unsafe(events: Iterator[yaml.Event]) -> None:
    """A scan without recursion, so that the composer never sees what it could not survive."""
    depth = 0
    for event in events:
        tag = getattr(event, "tag", None)
        if tag and tag != "!" and tag not in _TAGS:
            raise _unsafe(event, f"the tag {tag[:80]} is refused")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _unsafe(event, f"nested deeper than {MAX_DEPTH}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _unsafe(event: yaml.Event | yaml.Node, message: str) -> YamlError:
    return YamlError("unsafe_yaml", message, *_line_and_column(event))


class _Expansion:
    """Walks the node tree into values, counting what aliases make of it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.edges: dict[int, tuple] = {}  # node -> where it stands itself; anywhere else it is an alias
        self.aliases = 0
        self.values = 0

    def value(self, node: yaml.Node, path: Path, parent: yaml.Node | None) -> Any:
        self.count(node, path, (id(parent), *path[-1:]))
        self.source.places[path] = _place(node)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index), node) for index, item in enumerate(node.value)]
        if "\0" in node.value:
            raise _unsafe(node, "NUL in a text")
        return node.value if node.tag == _STR else plain(node.value)

    def count(self, node: yaml.Node, path: Path, edge: tuple) -> None:
        self.aliases += self.edges.setdefault(id(node), edge) != edge
        self.values += 1
        if self.aliases > MAX_ALIASES or self.values > MAX_VALUES or len(path) > MAX_DEPTH:
            raise _unsafe(node, "too much comes out of the aliases, or too many values stand in one file")

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode) or "\0" in key.value:
                raise YamlError("yaml_syntax", "a key must be text", *_line_and_column(key))
            here = (*path, key.value)
            if key.value in values:
                self.source.duplicates.append((here, _place(key)))
                continue
            self.source.keys[here] = _place(key)
            values[key.value] = self.value(item, here, node)
        return values


def _place(node: yaml.Node) -> Place:
    return Place(*_line_and_column(node), node.value if isinstance(node, yaml.ScalarNode) else None)


def _line_and_column(node: yaml.Node | yaml.Event) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def plain(text: str) -> Any:
    """A scalar without quotes by the core schema; what JSON cannot hold (infinity, huge numbers) stays text."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _PREFIXED.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text
