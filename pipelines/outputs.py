"""From an agent's answer to its declared outputs, and the words that ask for them."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from pipelines.definition import Step, fold
from pipelines.results import allowed, result_name
from pipelines.text import YamlError, read

ALWAYS = ("status", "result", "summary", "error")
FILE_SUFFIXES = (".md", ".json", ".txt", ".sql", ".yaml", ".yml")
MAX_FILE_BYTES = 1024 * 1024
MAX_ERROR_CHARS = 4_000
MAX_LIST_BYTES = 1024 * 1024
MAX_DEPTH = 100

_LINE = re.compile(
    r" {0,3}(?:(?:[-*+]|#{1,6}|\d{1,3}[.)])[ \t]+)?(?P<marks>\*{0,3}|_{0,3}|`?)"
    r"(?P<name>[A-Za-z_][A-Za-z0-9_-]{0,63})(?P<closed>[*_`]{0,3})[ \t]*:(?P<late>[*_`]{0,3})(?:[ \t]+(?P<rest>.*)|)"
)
_LATE_FENCE = re.compile(r"^([^\n:`]{1,80}:)[ \t]*+(`{3,}[a-z]*+)$", re.MULTILINE)  # NAME: ```json
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)")


def recognised(step: Step, extra_names: frozenset[str] = frozenset()) -> frozenset[str]:
    """The names an answer of this step may give a value to."""
    return frozenset((*step.declared, *ALWAYS, *extra_names))


def from_tool(
    outputs: dict[str, Any], summary: str | None, step: Step, extra_names: frozenset[str] = frozenset()
) -> dict[str, str]:
    """What a call of `complete` gives; goes before everything that `parse` finds."""
    given = _of_object(outputs, recognised(step, extra_names))
    return first_of({"summary": summary or ""}, given) if not given.get("summary") else given


def parse(
    answer: str, step: Step, extra_names: frozenset[str] = frozenset(), files: dict[str, str] | None = None
) -> dict[str, str]:
    """The outputs in a final answer and in `files` (path -> text) of the visit; of each name the first source wins."""
    names = recognised(step, extra_names)
    found = first_of(_of_json(answer, names), _of_lines(answer, names), _of_files(files or {}, names))
    if len(step.outputs) == 1 and answer.strip():
        found.setdefault(step.outputs[0], clean(answer).strip())
    return found


def first_of(*sources: dict[str, str]) -> dict[str, str]:
    """For each name the first value that is not blank."""
    merged: dict[str, str] = {}
    for source in sources:
        for name, value in source.items():
            if value.strip():
                merged.setdefault(name, value)
    return merged


def clean(text: str) -> str:
    """Without what no database takes: NUL and lone surrogates."""
    return text.replace("\0", "").encode(errors="replace").decode()


def loads(text: str) -> Any:
    """JSON as a database can hold it: no NaN, no NUL, no lone surrogates. Raises ValueError."""
    try:
        return _sound(json.loads(text, parse_constant=_refuse), 0)
    except RecursionError:
        raise ValueError("nested too deep")


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _sound(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        return {clean(key): _sound(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_sound(item, depth + 1) for item in value]
    return clean(value) if isinstance(value, str) else value


def _of_object(found: dict[str, Any], names: frozenset[str]) -> dict[str, str]:
    texts = {fold(str(key)): clean(as_text(value)) for key, value in found.items()}
    return {name: value for name, value in texts.items() if name in names}


def as_text(value: Any) -> str:
    """Texts as they are, nothing for null, anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _of_json(answer: str, names: frozenset[str]) -> dict[str, str]:
    """The whole answer or its last fenced block, if it is an object that holds a recognised name."""
    for text in (answer, *reversed(_blocks(answer))):
        found = _of_object(_object(text), names)
        if found:
            return found
    return {}


def _object(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return {}
    try:
        return loads(text)
    except ValueError:
        return {}


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").split("\n")


def _blocks(text: str) -> list[str]:
    """What stands in the code fences of a text."""
    lines = _lines(text)
    return ["\n".join(lines[start + 1 : end]) for start, end in _fences(lines)]


def _fences(lines: list[str]) -> list[tuple[int, int]]:
    """(line of the opening, line of the closing) of every closed code fence."""
    found, opened = [], None
    for index, line in enumerate(lines):
        fence = _FENCE.fullmatch(line)
        if not fence:
            continue
        if opened is None:
            opened = (index, fence[1])
        elif fence[1].startswith(opened[1]) and not fence[2].strip():
            found.append((opened[0], index))
            opened = None
    return found


def _of_lines(answer: str, names: frozenset[str]) -> dict[str, str]:
    """`NAME: value`, the value running to the next such line; the last one of a name wins."""
    lines = _lines(_LATE_FENCE.sub(r"\1\n\2", answer))
    found: dict[str, str] = {}
    for (index, match), (end, _) in pairwise([*_starts(lines, names), (len(lines), None)]):
        value = _value(match, lines[index + 1 : end])
        if value:
            found[fold(match["name"])] = clean(value)
    return found


def _starts(lines: list[str], names: frozenset[str]) -> Iterator[tuple[int, re.Match]]:
    """The lines that begin a value. A fence right after one belongs to it: what stands inside is data."""
    fences = dict(_fences(lines))
    inside_until = -1
    for index, line in enumerate(lines):
        match = _LINE.fullmatch(line)
        if index <= inside_until or not match or not _is_name(match["name"], names):
            continue
        yield index, match
        opening = next((at for at in range(index + 1, min(index + 3, len(lines))) if lines[at].strip()), -1)
        inside_until = -1 if (match["rest"] or "").strip() else fences.get(opening, -1)


def _is_name(written: str, names: frozenset[str]) -> bool:
    return written in (written.upper(), written.lower()) and fold(written) in names


def _value(match: re.Match, following: list[str]) -> str:
    first = (match["rest"] or "").strip()
    marks = match["marks"]
    if marks and not match["closed"] and not match["late"]:
        first = first.removesuffix(marks)
    rest = textwrap.dedent("\n".join(following)).rstrip()
    return unfenced(f"{first}\n{rest}".strip("\n") if first else rest.strip("\n"))


def unfenced(text: str) -> str:
    lines = _lines(text)
    return "\n".join(lines[1:-1]) if _fences(lines) == [(0, len(lines) - 1)] else text


def _of_files(files: dict[str, str], names: frozenset[str]) -> dict[str, str]:
    by_stem = {PurePosixPath(path).stem: path for path in files if path.endswith(FILE_SUFFIXES)}
    found = {}
    for name in names:
        path = next((by_stem[stem] for stem in file_stems(name) if stem in by_stem), None)
        if path and len(files[path].encode(errors="replace")) <= MAX_FILE_BYTES:
            found[name] = clean(files[path])
    return found


def file_stems(name: str) -> tuple[str, ...]:
    """The names, without ending, of files that may hold an output."""
    upper = name.upper()
    return upper, upper.removesuffix("_JSON") if upper.endswith("_JSON") else f"{upper}_JSON"


def missing(needed: tuple[str, ...], outputs: dict[str, str]) -> list[str]:
    return [name for name in needed if not outputs.get(name, "").strip()]


def failure(outputs: dict[str, str], answer: str) -> str | None:
    """Why the agent itself says that it failed, None if it does not."""
    status = outputs.get("status", "").strip().strip("\"'`*_.").casefold()
    if status not in ("fail", "failed", "error"):
        return None
    texts = (outputs.get("error", ""), outputs.get("result", ""), answer)
    return next((text.strip()[:MAX_ERROR_CHARS] for text in texts if text.strip()), "the agent reported a failure")


def parse_list(value: str) -> list[Any]:
    """The items of a loop: a JSON or YAML list, or an object around exactly one. Raises ValueError."""
    blocks = _blocks(value)
    found = _data(blocks[0].strip() if len(blocks) == 1 else value.strip())
    if isinstance(found, dict):
        lists = [item for item in found.values() if isinstance(item, list)]
        if len(lists) != 1:
            raise ValueError(f"expected a list, or an object around one list, got an object with {len(lists)} lists")
        return lists[0]
    if not isinstance(found, list):
        raise ValueError(f"expected a JSON list, got {value.strip()[:80]!r}")
    return found


def _data(text: str) -> Any:
    try:
        return loads(text)
    except ValueError as not_json:
        try:
            return read(text, MAX_LIST_BYTES).value
        except YamlError as not_yaml:
            reason = not_json if text[:1] in ("[", "{") else not_yaml
            raise ValueError(f"expected a JSON list: {reason}")


def answer_format(step: Step, extra_names: frozenset[str] = frozenset(), *, tool: bool | None = None) -> str:
    """The section "Answer format" of a prompt, "" if there is nothing to say.

    `tool`: whether `complete` can be called; None: if the step has tools. Without it a step with one output gets no
    section: there is nothing to choose, and small models stumble over every word more.
    """
    tool = step.tools != () if tool is None else tool
    if step.output_schema:
        return f"Answer with one JSON value of the form `{step.output_schema.name}`, and nothing else."
    wanted = [*step.declared]
    choice = _choice(step)
    if not wanted or (len(wanted) == 1 and not choice):
        return f"Your whole final answer is kept as `{wanted[0]}`." if wanted and tool else ""
    listed = "\n".join(f"- {name}{'' if name in step.outputs else ' (optional)'}" for name in wanted)
    call = "Call the tool `complete` with these outputs, or end" if tool else "End"
    lines = "\n".join(f"{name.upper()}: ..." for name in wanted)
    return f"Outputs of this step:\n{listed}\n{choice}{call} your answer with one line for each:\n{lines}"


def _choice(step: Step) -> str:
    values, name = allowed(step), result_name(step)
    if not values or not name:
        return ""
    return f"`{name}` decides what follows. It is compared with these values: {', '.join(values)}.\n"


def repair_message(step: Step, names: list[str], reason: str | None = None) -> str:
    """What to tell an agent whose answer lacks `names`, or cannot be used for `reason`."""
    problems = [f"The output `{name}` is missing." for name in names] + ([reason] if reason else [])
    lines = "\n".join(f"{name.upper()}: ..." for name in names or step.outputs)
    return "\n".join((*problems, _choice(step) + "Answer again, with one line for each in this form:", lines))


def unmatched_message(step: Step, value: str) -> str:
    """What to tell an agent whose result leads nowhere."""
    name = result_name(step) or "the result"
    return f"`{name}` is {value.strip()[:200]!r}, but only these values are possible: {', '.join(allowed(step))}."
