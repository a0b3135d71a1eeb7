"""What MCP servers say, made harmless: capped, and without characters that hide or reorder what a reader sees."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import orjson

MAX_NAME, MAX_TITLE, MAX_DESCRIPTION = 128, 256, 4096  # characters
MAX_SCHEMA = 65_536  # bytes of JSON
MAX_TOOLS = 500
MAX_TEXT = 100_000  # characters of one result, all its parts together
MAX_PARTS = 100
MAX_STRUCTURED = 65_536  # bytes of JSON
MAX_DEPTH = 32

# Control characters but for new line and tab; soft hyphen, zero-width, direction marks and overrides, tags.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
    "\ud800-\udfff]"
)


def clean(text: str, limit: int) -> str:
    return UNSEEN.sub("", text[: 2 * limit])[:limit]


def clean_all(value: Any, depth: int = 0) -> Any:
    """The same JSON value with every string in it cleaned. Raises ValueError if it is nested too deep."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        return UNSEEN.sub("", value)
    if isinstance(value, dict):
        return {UNSEEN.sub("", str(key)): clean_all(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [clean_all(item, depth + 1) for item in value]
    return value


def tools(found: Iterable[Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """(the tools as they are stored, why others were left out)."""
    kept: dict[str, dict[str, Any]] = {}
    left_out = []
    for tool in found:
        if len(kept) == MAX_TOOLS:
            left_out.append(f"only the first {MAX_TOOLS} tools are kept")
            break
        name = clean(tool.name, MAX_NAME)
        if name != tool.name or not name.strip() or name in kept:
            left_out.append(f"a tool's name is not usable: {name[:40]!r}")
        elif why := _refused(tool.input_schema):
            left_out.append(f"{name}: its schema is {why}")
        else:
            kept[name] = _tool(tool, name)
    return list(kept.values()), left_out[:5]


def _refused(schema: Any) -> str | None:
    try:
        size = len(orjson.dumps(clean_all(schema)))
    except (ValueError, TypeError, RecursionError) as error:
        return str(error)
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        return "not of an object"
    return f"larger than {MAX_SCHEMA} bytes" if size > MAX_SCHEMA else None


def _tool(tool: Any, name: str) -> dict[str, Any]:
    said = tool.annotations
    hints = {"readOnlyHint": said.read_only_hint, "destructiveHint": said.destructive_hint} if said else {}
    hints |= {"idempotentHint": said.idempotent_hint, "openWorldHint": said.open_world_hint} if said else {}
    return {
        "name": name,
        "title": clean(tool.title, MAX_TITLE) if tool.title else None,
        "description": clean(tool.description or "", MAX_DESCRIPTION),
        "input_schema": clean_all(tool.input_schema),
        "annotations": {hint: value for hint, value in hints.items() if value is not None},
    }


def result(answer: Any) -> dict[str, Any]:
    """`{content, structured, is_error}`; what is not text is named, not carried."""
    parts, left = [], MAX_TEXT
    for part in answer.content[:MAX_PARTS]:
        shown = _part(part, left)
        left -= len(shown.get("text", ""))
        parts.append(shown)
    return {"content": parts, "structured": _structured(answer.structured_content), "is_error": bool(answer.is_error)}


def _part(part: Any, room: int) -> dict[str, Any]:
    if part.type == "text":
        text = clean(part.text, room)
        cut = len(part.text) > 2 * room or len(UNSEEN.sub("", part.text)) > room
        return {"type": "text", "text": text, "truncated": cut}
    if part.type == "resource" and (text := getattr(part.resource, "text", None)) is not None:
        uri = clean(str(part.resource.uri), 500)
        return {"type": "resource", "uri": uri, "text": clean(text, room), "truncated": len(text) > room}
    if part.type in ("image", "audio"):
        return {"type": part.type, "mime_type": clean(part.mime_type, 100), "bytes": len(part.data) * 3 // 4}
    return {"type": clean(part.type, 40), "uri": clean(str(getattr(part, "uri", "")), 500)}


def _structured(value: Any) -> Any:
    try:
        cleaned = clean_all(value)
        return cleaned if len(orjson.dumps(cleaned)) <= MAX_STRUCTURED else None
    except (ValueError, TypeError):
        return None


def as_text(answer: dict[str, Any]) -> str:
    """A result as a model reads it."""
    lines = []
    for part in answer["content"]:
        if "text" in part:
            lines.append(part["text"] + ("\n[... cut ...]" if part["truncated"] else ""))
        else:
            about = ", ".join(f"{name} {value}" for name, value in part.items() if name != "type")
            lines.append(f"[{part['type']}: {about}]")
    if not lines and answer["structured"] is not None:
        lines.append(orjson.dumps(answer["structured"]).decode())
    return "\n".join(lines) or "(no content)"
