"""Templates: `{{ name }}`, `{{ STEP.name }}`, `{% if name %}`, `{% if not name %}`, `{% else %}`, `{% endif %}`.

Nothing else is code: no expressions, filters or calls. One pass: an inserted value is never looked at again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

MAX_DEPTH = 8
_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
_DOTTED = rf"(?:[A-Za-z0-9][A-Za-z0-9_-]{{0,63}}\.)?{_NAME}"
_PATH = rf"{_NAME}(?:\.{_NAME}){{0,7}}"


def _tags(name: str) -> re.Pattern[str]:
    """Possessive blanks and bounded names keep the scan linear, whatever the text."""
    return re.compile(
        rf"\{{\{{[ \t]*+(?P<name>{name})[ \t]*+\}}\}}"
        rf"|\{{%[ \t]*+if[ \t]++(?P<negated>not[ \t]++)?(?P<if>{name})[ \t]*+%\}}"
        r"|\{%[ \t]*+(?P<word>else|endif)[ \t]*+%\}"
        r"|(?P<open>\{(?=\{)|\{%)(?P<bad_if>[ \t]*+if\b)?"
    )


_TAG, _DEEP_TAG = _tags(_DOTTED), _tags(_PATH)


class TemplateError(ValueError):
    """The text is not a template: `offset` says where, in characters."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(slots=True)
class _If:
    name: str
    negated: bool
    offset: int
    then: list = field(default_factory=list)
    otherwise: list | None = None

    @property
    def open_branch(self) -> list:
        return self.then if self.otherwise is None else self.otherwise


def render(template: str, lookup: Callable[[str], str | None], deep: bool = False) -> tuple[str, list[str]]:
    """The text with every tag replaced, and the inserted names that `lookup` answered with None, in order.

    `deep`: names are paths into an object, `a.b.c`.
    """
    out: list[str] = []
    unknown: list[str] = []
    _write(_parsed(template, deep), lookup, out, unknown)
    return "".join(out), list(dict.fromkeys(unknown))


def names(template: str) -> frozenset[str]:
    """Every name the template uses, in tags and in conditions."""
    return frozenset(name for name, _ in uses(template))


def names_outside_if(template: str) -> frozenset[str]:
    """The names it inserts in any case."""
    return frozenset(name for name, guarded in uses(template) if not guarded)


def uses(template: str, deep: bool = False) -> list[tuple[str, bool]]:
    """(name, whether an `if` guards it) in order of appearance. Raises TemplateError."""
    return list(_uses(_parsed(template, deep), False))


def _uses(nodes: list, guarded: bool) -> Iterator[tuple[str, bool]]:
    for node in nodes:
        if isinstance(node, _Name):
            yield node.name, guarded
        elif isinstance(node, _If):
            yield node.name, True
            yield from _uses(node.then, True)
            yield from _uses(node.otherwise or [], True)


def _write(nodes: list, lookup: Callable[[str], str | None], out: list[str], unknown: list[str]) -> None:
    for node in nodes:
        if isinstance(node, str):
            out.append(node)
        elif isinstance(node, _Name):
            value = lookup(node.name)
            if value is None:
                unknown.append(node.name)
            out.append(value or "")
        else:
            true = bool((lookup(node.name) or "").strip()) != node.negated
            _write(node.then if true else node.otherwise or [], lookup, out, unknown)


@functools.lru_cache(maxsize=2048)
def _parsed(template: str, deep: bool) -> list:
    root: list = []
    opened: list[_If] = []
    end = 0
    closing = {"{": template.rfind("}}"), "{%": template.rfind("%}")}
    for tag in (_DEEP_TAG if deep else _TAG).finditer(template):
        branch = opened[-1].open_branch if opened else root
        if tag["open"]:
            _refuse_unclosed(tag, closing)
            continue
        branch.append(template[end : tag.start()])
        end = tag.end()
        _apply(tag, branch, opened)
    if opened:
        raise TemplateError("{% if %} without {% endif %}", opened[-1].offset)
    root.append(template[end:])
    return root


def _refuse_unclosed(tag: re.Match, closing: dict[str, int]) -> None:
    """Braces that are no tag stay text, unless a tag was clearly begun."""
    if closing[tag["open"]] < tag.end():
        raise TemplateError("a tag is not closed", tag.start())
    if tag["open"] == "{%" and tag["bad_if"]:
        raise TemplateError("only {% if name %} and {% if not name %} are conditions", tag.start())


def _apply(tag: re.Match, branch: list, opened: list[_If]) -> None:
    if tag["name"]:
        branch.append(_Name(tag["name"]))
    elif tag["if"]:
        if len(opened) == MAX_DEPTH:
            raise TemplateError(f"conditions nest deeper than {MAX_DEPTH}", tag.start())
        branch.append(_If(tag["if"], bool(tag["negated"]), tag.start()))
        opened.append(branch[-1])
    elif not opened:
        raise TemplateError(f"{{% {tag['word']} %}} without {{% if %}}", tag.start())
    elif tag["word"] == "endif":
        opened.pop()
    elif opened[-1].otherwise is not None:
        raise TemplateError("a second {% else %}", tag.start())
    else:
        opened[-1].otherwise = []
