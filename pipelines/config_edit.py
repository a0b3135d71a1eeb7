"""Edits of an agent's `config.yml` that leave everything else in it alone: comments, order, keys nobody knows."""

from __future__ import annotations

import io
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from pipelines.agent_config import DEFAULTS
from pipelines.fields import camel, snake
from pipelines.text import YamlError, read

INDENTED_LIST = re.compile(r"^ +- ", re.MULTILINE)


def edited(text: str, changes: dict[str, Any]) -> str:
    """The text with {snake_case key: value, None to remove it}; the same text if nothing changes. Raises YamlError."""
    source = read(text)  # refuses what must not be loaded
    if source.duplicates or not isinstance(source.value, dict | None):
        raise YamlError("yaml_syntax", "not a map whose keys stand there once")
    yaml = _round_trip(text)
    root = _loaded(yaml, text)
    if not _apply(root, changes):
        return text
    out = io.StringIO()
    yaml.dump(root, out)
    head = text.rstrip("\n") + "\n" if source.value is None and text.strip() else ""  # comments alone
    return head + (out.getvalue() if root else "")


def _round_trip(text: str) -> YAML:
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 10_000
    if INDENTED_LIST.search(text):
        yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _loaded(yaml: YAML, text: str) -> CommentedMap:
    try:
        return yaml.load(text) or CommentedMap()
    except YAMLError as error:
        raise YamlError("yaml_syntax", str(error).splitlines()[0]) from error


def _apply(root: CommentedMap, changes: dict[str, Any]) -> bool:
    """Whether anything changed. Of a key in both spellings the snake_case one stays."""
    doubled = [name for name in root if snake(name) != name and snake(name) in root and snake(name) in DEFAULTS]
    for name in doubled:
        del root[name]
    changed = bool(doubled)
    for key, value in changes.items():
        name = camel(key) if camel(key) in root else key
        if value is None and name in root:
            del root[name]
        elif value is not None and (name not in root or root[name] != value):
            root[name] = value
        else:
            continue
        changed = True
    return changed
