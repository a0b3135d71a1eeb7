"""Events in the spelling of the older DjinnBot clients: frames without a name, camelCase, a few types of their own."""

from __future__ import annotations

from typing import Any

import orjson

from api.schemas import camel
from models import chats
from models.errors import NotFound
from models.events import SEPARATORS

Object = dict[str, Any]
ENVELOPE = ("type", "seq", "timestamp", "run_id", "step_id", "agent_id", "session_id", "attempt")
LEFT_OUT = (*ENVELOPE, "epoch", "visit", "item_index")
RENAMED = {"agent_output": "STEP_OUTPUT", "agent_thinking": "STEP_THINKING"}
STATUS_AFTER = {
    "run_paused": "paused",
    "run_resumed": "running",
    "run_started": "running",
    "run_cancelled": "cancelled",
}
TEXT = tuple(RENAMED)


def line(frame: Object, number: int | None = None) -> bytes:
    """The frame as it is sent; only one with a number moves the client's cursor."""
    text = orjson.dumps(frame).decode()
    text = text if text.isascii() else text.translate(SEPARATORS)
    return (f"id: {number}\n" if number is not None else "").encode() + f"data: {text}\n\n".encode()


def lines(frames: list[Object], number: int) -> bytes:
    """The frames of one event; its number goes with the last of them."""
    last = len(frames) - 1
    return b"".join(line(frame, number if index == last else None) for index, frame in enumerate(frames))


def of_run(event: Object) -> list[Object]:
    """What a client that follows a run gets for one event."""
    payload = {camel(name): value for name, value in event.items() if name not in LEFT_OUT}
    if event["type"] in STATUS_AFTER:
        changed = _frame(event, "RUN_STATUS_CHANGED", payload | {"status": STATUS_AFTER[event["type"]]})
        if event["type"] != "run_cancelled":
            return [changed]
        return [changed, _frame(event, "RUN_FAILED", payload | {"error": "Run cancelled", "cancelled": True})]
    if event["type"] in TEXT:
        payload["chunk"] = payload.pop("text")
    elif event["type"] == "tool_call_start":
        payload["args"] = orjson.dumps(payload.pop("arguments")).decode()
    elif event["type"] == "run_created":
        payload["task"] = payload.get("taskDescription")
    return [_frame(event, RENAMED.get(event["type"], event["type"].upper()), payload)]


def _frame(event: Object, type: str, payload: Object) -> Object:
    return {camel(name): event[name] for name in ENVELOPE} | {"type": type} | payload


def of_chat(event: Object) -> list[Object]:
    """What a client that follows a chat gets for one event: nothing for most types."""
    made = _OF_CHAT.get(event["type"])
    found = made(event) if made else []
    return [{"type": type, "timestamp": event["timestamp"], "data": data} for type, data in found]


def _called(event: Object, **data: Any) -> Object:
    named = {"toolCallId": event["tool_call_id"], "requestId": event["message_id"], "toolName": event["tool_name"]}
    return named | data


def _ended(event: Object) -> list[tuple[str, Object]]:
    """Why it ended, then that it did: clients stop waiting at `turn_end`."""
    success = event["status"] == "completed"
    done = {"result": _said(event) if success else "", "success": success}
    reasons = {
        "stopped": [("response_aborted", {"reason": "stopped"})],
        "failed": [("session_error", {"message": event.get("error")})],
    }
    end = ("turn_end", {"success": success, "messageId": event["message_id"]})
    return [*reasons.get(event["status"], []), ("step_end", done), end]


def _said(event: Object) -> str:
    """The answer's text; "" if it was removed meanwhile."""
    try:
        return chats.message(event["message_id"], event["session_id"]).content
    except NotFound:
        return ""


def _result(event: Object) -> Object:
    outcome = {"result": event["result"], "success": not event["is_error"], "durationMs": event["duration_ms"]}
    return _called(event, **outcome)


_OF_CHAT = {
    "agent_output": lambda event: [("output", {"content": event["text"], "messageId": event["message_id"]})],
    "agent_thinking": lambda event: [("thinking", {"thinking": event["text"], "messageId": event["message_id"]})],
    "tool_call_start": lambda event: [("tool_start", _called(event, args=event["arguments"]))],
    "tool_call_end": lambda event: [("tool_end", _result(event))],
    "chat_turn_end": _ended,
    "chat_session_ended": lambda event: [("session_complete", {"reason": event["reason"]})],
}
