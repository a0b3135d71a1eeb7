"""Results: which output decides where a run goes on, and which action of `onResult` it means."""

from __future__ import annotations

import re

from pipelines.definition import Action, Step

DEFAULTS = ("default", "*")
MAX_RESULT_CHARS = 64
_ENDINGS = ("result", "status", "decision", "verdict")
_OF_TYPE = {"approval": "decision", "pipeline": "status"}
_MARKS = " \t\r\n\"'`´‘’“”«»*_~#<>()[]{}.,;:!?…"
_FAMILIES = (
    ("pass", "passed"),
    ("fail", "failed", "failure"),
    ("approve", "approved"),
    ("reject", "rejected"),
    ("success", "succeeded", "successful"),
    ("changes_requested", "request_changes", "changes_required"),
)


def result_name(step: Step) -> str | None:
    """The output that `onResult` looks at, if its name or the step's type tells."""
    if step.result_from:
        return step.result_from
    named = (name for name in step.declared if name.endswith(_ENDINGS))
    only = step.outputs[0] if len(step.outputs) == 1 else None
    return next(named, None) or _OF_TYPE.get(step.type) or only


def result_of(step: Step, outputs: dict[str, str]) -> str:
    """The step's result: the named output, else the first short one that means an action, else the first short one."""
    name = result_name(step)
    if name:
        return outputs.get(name, "")
    values = [outputs.get(name, "") for name in step.declared]
    short = [value for value in values if value.strip() and len(value) <= MAX_RESULT_CHARS]
    return next((value for value in short if match(step, value)), short[0] if short else "")


def allowed(step: Step) -> list[str]:
    """The values that lead somewhere, as the file writes them."""
    return [key for key in step.on_result if key not in DEFAULTS]


def default(step: Step) -> Action | None:
    """The action for a result that matches nothing else."""
    return next((step.on_result[key] for key in DEFAULTS if key in step.on_result), None)


def match(step: Step, value: str) -> Action | None:
    """The action that `value` means, None if none; the default is the caller's to ask for."""
    key = matched_key(allowed(step), value)
    return None if key is None else step.on_result[key]


def same(written: str, value: str) -> bool:
    """Whether `value` means `written`, as a `when` compares."""
    return matched_key([written], value) is not None


def matched_key(keys: list[str], value: str) -> str | None:
    """Equal, else beginning with a key, else the same for the words of a key's family; the longest key first."""
    keys = sorted(keys, key=len, reverse=True)
    own = {key: (_normal(key),) for key in keys}
    related = {key: _family(_normal(key)) for key in keys}
    text = value.strip(_MARKS).casefold()
    for words in (own, related):
        for test in (_equal, _begins):
            found = next((key for key in keys if test(key, words, text)), None)
            if found is not None:
                return found
    return None


def _normal(text: str) -> str:
    return re.sub(r"[\s_-]+", "_", text.strip(_MARKS).casefold())


def _family(word: str) -> tuple[str, ...]:
    return next((family for family in _FAMILIES if word in family), (word,))


def _equal(key: str, words: dict[str, tuple[str, ...]], text: str) -> bool:
    return len(text) <= 200 and _normal(text) in words[key]


def _begins(key: str, words: dict[str, tuple[str, ...]], text: str) -> bool:
    """Whether `text` begins with a word of `key` and its first line holds no word of another key after that."""
    for word in words[key]:
        begin = re.match(rf"{_pattern(word)}(?!\w|-\w)", text) if word else None
        if begin:
            rest = text[begin.end() :].split("\n", 1)[0]
            others = (other for name in words if name != key for other in words[name] if other)
            return not any(re.search(rf"(?<!\w){_pattern(other)}(?!\w)", rest) for other in others)
    return False


def _pattern(word: str) -> str:
    """A normalised word, with blanks, `-` and `_` alike."""
    return r"[\s_-]+".join(map(re.escape, word.split("_")))
