"""Redaction: secrets in a text, in every form they are likely to take, are replaced by their names."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus

from models import config

SHORTEST = 8  # characters; a shorter value would be found everywhere
SHORTEST_LINE = 24  # of a secret of many lines; shorter ones are often not secret
LINE_LENGTHS = (64, 76)  # of base64 as programs break it
MARK = "[secret:{}]"


class Redactor:
    """`values`: {name: secret}. False if there is nothing to look for."""

    def __init__(self, *values: dict[str, str]) -> None:
        pairs = (pair for each in values for pair in each.items())
        found = {form: MARK.format(name) for name, value in pairs for form in forms(value)}
        self._forms = sorted(found.items(), key=lambda item: -len(item[0]))

    def __bool__(self) -> bool:
        return bool(self._forms)

    def clean(self, text: str) -> str:
        for form, mark in self._forms:
            if form in text:
                text = text.replace(form, mark)
        return text

    def clean_all(self, value: Any) -> Any:
        """The same JSON value with every string in it cleaned, keys included."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, dict):
            return {self.clean(key): self.clean_all(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.clean_all(item) for item in value]
        return value

    def open_end(self, text: str) -> int:
        """Where a secret may begin that goes on beyond the end of `text`; its length if nowhere."""
        return min((_open_end(text, form) for form, _ in self._forms), default=len(text))


NOTHING = Redactor()


def _open_end(text: str, form: str) -> int:
    at = max(len(text) - len(form) + 1, 0)
    while (at := text.find(form[0], at)) >= 0:
        if form.startswith(text[at:]):
            return at
        at += 1
    return len(text)


class Stream:
    """Cleans a text that arrives in pieces: what may be the beginning of a secret is held back."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor, self._held = redactor, ""

    def feed(self, piece: str) -> str:
        """What can be said by now."""
        text = self._redactor.clean(self._held + piece)
        end = self._redactor.open_end(text)
        self._held = text[end:]
        return text[:end]

    def rest(self) -> str:
        """What was held back: no more will come."""
        held, self._held = self._held, ""
        return held


def forms(value: str) -> set[str]:
    """The texts that give a secret away: itself, in base64, for URLs and in JSON; and its long lines."""
    found = set(_encoded(value)) | set(_encoded(value.strip()))
    lines = {line.strip() for line in value.splitlines()}
    found |= {line for line in lines if len(line) >= SHORTEST_LINE and not line.startswith("-----")}
    return {form for form in found if len(form) >= SHORTEST} if len(value.strip()) >= SHORTEST else set()


def _encoded(text: str) -> Iterator[str]:
    yield text
    yield from (quote(text, safe=""), quote(text), quote_plus(text))
    yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole, *shifted = (_base64(encode, text.encode(), offset) for offset in range(3))
        yield from (whole, *shifted, *_lines(whole))


def _base64(encode: Callable[[bytes], bytes], data: bytes, offset: int) -> str:
    """As it stands in the encoding of a longer text, `offset` bytes from a boundary, without what neighbours share."""
    first, shared = -(-offset * 8 // 6), (offset + len(data)) * 8 // 6
    return encode(bytes(offset) + data).decode()[first:shared]


def _lines(encoded: str) -> Iterator[str]:
    for length in LINE_LENGTHS if len(encoded) > min(LINE_LENGTHS) else ():
        yield from (encoded[start : start + length] for start in range(0, len(encoded), length))


def server() -> Redactor:
    """For what the process's own environment holds, and what it has learned."""
    return Redactor(config.secret_values(), *_learned)


_active: list[Redactor] = []
_learned: list[dict[str, str]] = []
_known = NOTHING  # for what was learned


def learn(values: dict[str, str]) -> None:
    """For the life of the process none of these is written anywhere, not even once they have been replaced."""
    global _known
    fresh = [{name: value} for name, value in values.items() if {name: value} not in _learned]
    if fresh:
        _learned.extend(fresh)
        _known = Redactor(*_learned)


@contextmanager
def active(redactor: Redactor) -> Iterator[None]:
    """For the block, no log line of this process shows what the redactor knows."""
    _active.append(redactor)
    try:
        yield
    finally:
        _active.remove(redactor)


def log_processor() -> Any:
    """The last processor of the logs: it sees each line as it is written."""
    own = server()

    def clean(_: Any, __: str, line: str) -> str:
        for redactor in (own, _known, *_active):
            line = redactor.clean(line)
        return line

    return clean
