"""What the providers' wires have in common: server-sent JSON, its limits, and what their errors mean."""

from __future__ import annotations

import contextlib
import email.utils
import time
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

import httpx2
import orjson

from models.errors import BadOutput, ContextTooLong, ProviderRejected, ProviderTransient, Refused, StepError
from workers.clients.llm.base import MAX_ANSWER_BYTES, Request, ToolCall

CONNECT_SECONDS = 10.0

TOO_LONG = (
    "context_length_exceeded",
    "context length",
    "context window",
    "context size",
    "context limit",
    "prompt is too long",
    "input is too long",
    "maximum prompt length",
    "exceeds the maximum number of tokens",
)
FILTERED = ("content_filter", "content_policy", "content management policy", "data_inspection_failed")
UNPAID = ("insufficient_quota", "insufficient credits", "credit balance")
TRANSIENT = frozenset({408, 409, 425, 429, *range(500, 600)})


def options(request: Request) -> dict[str, Any]:
    """How every call is made: streaming, uncompressed, given up when nothing arrives for too long."""
    connect = min(CONNECT_SECONDS, request.idle_seconds)
    return {
        "stream": True,
        "timeout": httpx2.Timeout(request.idle_seconds, connect=connect),
        "extra_headers": {"Accept-Encoding": "identity"},
    }


def events(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects of `data:` lines up to `[DONE]`. Raises ProviderTransient on garbage, BadOutput on a flood."""
    for data in _data_lines(chunks):
        if data == b"[DONE]":
            return
        event = _decoded(data)
        if error := event.get("error"):
            raise meaning(error.get("code") if isinstance(error, dict) else None, error, {})
        yield event


def _data_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
        if len(rest) > MAX_ANSWER_BYTES:
            raise too_big()


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ProviderTransient(f"the provider sent a broken event: {error}")
    if not isinstance(event, dict):
        raise ProviderTransient("the provider sent an event that is not an object")
    return event


@contextlib.contextmanager
def shaped():
    """An event of the wrong shape is the provider's fault, not ours."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ProviderTransient(f"the provider sent an event of an unknown shape: {error!r}") from error


class Counter:
    """Keeps an answer below MAX_ANSWER_BYTES."""

    def __init__(self) -> None:
        self._size = 0

    def __call__(self, text: str) -> str:
        self._size += len(text)
        if self._size > MAX_ANSWER_BYTES:
            raise too_big()
        return text


def too_big() -> BadOutput:
    return BadOutput(f"the answer is larger than {MAX_ANSWER_BYTES // 2**20} MiB")


def cut_short() -> ProviderTransient:
    return ProviderTransient("the provider's stream ended before the answer did")


def tool_call(call_id: str, name: str, arguments: str) -> ToolCall:
    """A call whose `arguments` came as text."""
    try:
        decoded = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError as error:
        return ToolCall(call_id, name, {}, f"the arguments are not JSON: {error}")
    if not isinstance(decoded, dict):
        return ToolCall(call_id, name, {}, "the arguments are not a JSON object")
    return ToolCall(call_id, name, decoded)


@contextlib.contextmanager
def translated(sdk: ModuleType):
    """Errors of the SDK (both are made by one generator) and of the connection as ours."""
    try:
        yield
    except sdk.APIStatusError as error:
        raise meaning(error.status_code, error.body or error.message, error.response.headers) from error
    except sdk.APIConnectionError as error:
        raise _interruption(error) from error
    except httpx2.RequestError as error:
        raise _unanswered(error) from error


def _interruption(error: Exception) -> BaseException:
    """The SDKs wrap whatever interrupts a call, also what was thrown in to cancel it: that is handed on as it is."""
    cause = error.__cause__ or error
    if isinstance(cause, (httpx2.RequestError, OSError)) or cause is error:
        return _unanswered(cause)
    return cause


def _unanswered(error: BaseException) -> ProviderTransient:
    return ProviderTransient(f"no answer from the provider: {error or type(error).__name__}")


def meaning(status: Any, body: Any, headers: Mapping[str, str]) -> StepError:
    """The error that an HTTP status, or an error event in a stream (`status` None or a word), stands for."""
    error = _meaning(status, body, headers)
    if isinstance(status, int):
        error.details["http_status"] = status
    return error


def _meaning(status: Any, body: Any, headers: Mapping[str, str]) -> StepError:
    message = _message(body)
    text = f"{status} {body}".lower()
    if any(word in text for word in UNPAID):
        return ProviderRejected(message)
    if status in TRANSIENT:
        return ProviderTransient(message, retry_after=retry_after(headers))
    if status == 413 or any(word in text for word in TOO_LONG):
        return ContextTooLong(message)
    if any(word in text for word in FILTERED):
        return Refused(message)
    return ProviderRejected(message) if isinstance(status, int) else ProviderTransient(message)


def _message(body: Any) -> str:
    """The provider's own sentence, wherever it put it."""
    while isinstance(body, (dict, list)) and body:
        inner = body[0] if isinstance(body, list) else body.get("error") or body.get("message") or body.get("detail")
        if not inner:
            break
        body = inner
    return str(body)[:2000]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait; a header may hold milliseconds, seconds or a date."""
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (milliseconds := _number(headers.get(name, ""))) is not None:
            return milliseconds / 1000
    value = headers.get("retry-after", "")
    date = email.utils.parsedate_tz(value) if _number(value) is None else None
    return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else _number(value)


def _number(text: str) -> float | None:
    return float(text) if text.replace(".", "", 1).isdigit() else None
