"""Front matter: YAML between two lines of `---` at the head of a document."""

from __future__ import annotations

import re
from typing import Any

import yaml

from pipelines import text

_HEAD = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)


def split(document: str) -> tuple[str | None, str]:
    """(the front matter, None if there is none; the content)."""
    document = document.replace("\r\n", "\n")
    match = _HEAD.match(document)
    return (match[1], document[match.end() :].removeprefix("\n")) if match else (None, document)


class _Dumper(yaml.SafeDumper):
    """Writes what `pipelines.text` reads as the same values."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = None if text.plain(value) == value else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _text)


def write(front: dict[str, Any], content: str) -> str:
    """The document."""
    head = yaml.dump(front, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{head}---\n\n{content}"
