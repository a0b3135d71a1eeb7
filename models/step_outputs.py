"""What a step has said: the text of one attempt, put together from its `agent_output` events, and what came of it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import orjson

from models import database, step_views
from models.errors import NotFound
from models.step_views import Epoch, Pinned, decoded

PAGE = 200  # events read at once
FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Span:
    """Where the events of an attempt are: from `first` to `last` (None: until now) in the log of the run."""

    run_id: str
    step_key: str
    attempt: int
    item_index: int | None
    first: int
    last: int | None = None


@dataclass(slots=True)
class Slice:
    text: str
    length: int  # of the whole


def output(
    epoch: Epoch, pinned: Pinned, *, attempt: int | None, item_index: int | None, offset: int, length: int
) -> dict[str, Any]:
    """The step output object of the API: of the latest attempt, or of the one asked for. Raises NotFound."""
    step = step_views.step(epoch, pinned)
    found = _find(epoch, pinned.key, attempt, item_index)
    shown = {name: step[name] for name in ("run_id", "step_id", "status", "epoch", "visit", "attempt", "outputs")}
    shown |= {name: step[name] for name in ("error", "error_code", "started_at", "completed_at")}
    if found is None:
        return shown | _text(Slice("", 0), offset, None) | {"artifacts": []}
    visit, row, span = found
    if attempt is not None or item_index is not None:
        shown |= {name: row[name] for name in ("error", "error_code", "attempt", "started_at", "completed_at")}
        shown |= {"visit": visit["visit"], "status": step_views.attempt_status(visit, row)}
        shown["outputs"] = decoded(row["outputs"], {})
    shown["artifacts"] = decoded(row.get("artifacts"), [])
    return shown | _text(cut(span, offset, length), offset, decoded(row.get("structured")))


def _find(
    epoch: Epoch, key: str, attempt: int | None, item_index: int | None
) -> tuple[dict[str, Any], dict[str, Any], Span] | None:
    """(visit, row of the attempt, where its events are); None if the step was not started and none is asked for."""
    rows = step_views.attempt_rows(epoch, key)
    ends = [row["first_seq"] - 1 for _, row in rows[1:]]
    for (visit, row), end in reversed(list(zip_longest(rows, ends))):
        item = step_views.item_index(visit)
        if item_index in (None, item) and attempt in (None, row["attempt"]):
            span = Span(epoch.run_id, key, row["attempt"], item, row["first_seq"], row.get("last_seq") or end)
            return visit, row, span
    if attempt is None and item_index is None:
        return None
    raise NotFound(f"Step {key} has no such attempt", "attempt_not_found")


def _text(piece: Slice, offset: int, value: Any) -> dict[str, Any]:
    whole = offset == 0 and len(piece.text) == piece.length
    return {
        "structured": structured(piece.text) if value is None and whole else value,
        "raw_output": piece.text if piece.length else None,
        "raw_output_length": piece.length,
        "raw_output_truncated": not whole,
    }


def cut(span: Span, offset: int, length: int) -> Slice:
    """`length` characters from `offset` of the text, however long it is, without holding more than that."""
    kept, position = [], 0
    for piece in _pieces(span):
        kept.append(piece[max(offset - position, 0) : max(offset + length - position, 0)])
        position += len(piece)
    return Slice("".join(kept), position)


def _pieces(span: Span) -> Iterator[str]:
    """The text in order, without the turns that another worker did again."""
    resumed = _resumptions(span)
    for event in _events(span, "agent_output"):
        if not any(seq > event["seq"] and from_turn <= event["turn"] for seq, from_turn in resumed):
            yield event["text"]


def _resumptions(span: Span) -> list[tuple[int, int]]:
    return [(event["seq"], event["from_turn"]) for event in _events(span, "step_resumed")]


def _events(span: Span, type: str) -> Iterator[dict[str, Any]]:
    sql = (
        "SELECT seq, data FROM events WHERE stream = ? AND seq > ? AND seq <= ? AND type = ? AND step_key = ?"
        " ORDER BY seq LIMIT ?"
    )
    seq, last = span.first, span.last if span.last is not None else 2**31 - 1
    while True:
        with database.connection():
            rows = database.execute(sql, (span.run_id, seq, last, type, span.step_key, PAGE)).fetchall()
        for _, data in rows:
            event = orjson.loads(data)
            if (event["attempt"], event["item_index"]) == (span.attempt, span.item_index):
                yield event
        if len(rows) < PAGE:
            return
        seq = rows[-1][0]
        time.sleep(0)  # lets other requests of this process run


def structured(text: str) -> Any:
    """The JSON value that an answer is, or that its last fenced block holds; None if neither."""
    fenced = FENCED.findall(text)
    for candidate in (text.strip(), fenced[-1] if fenced else ""):
        if candidate[:1] in ("{", "["):
            try:
                return orjson.loads(candidate)
            except orjson.JSONDecodeError:
                continue
    return None
