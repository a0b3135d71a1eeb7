"""What servers of one protocol disagree on, and finding out: call, read the refusal, adjust, call again, remember."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType

from workers.clients.llm import wire
from workers.clients.llm.base import Request, ToolSpec

Adjusted = frozenset[str]

# The ways to a structured answer, in this order: a response format, a forced tool, a plea in the prompt.
OUTPUT_FIELDS = {
    "response_format": ("response_format", "output_config.format", "output_format", "json_schema", "structured output"),
    "tool_choice": ("tool_choice", "tools", "tool use"),
}


class Dialect:
    """`fields`: each field that may be refused with the words that name it in a refusal (400 or 422)."""

    def __init__(self, sdk: ModuleType, fields: dict[str, tuple[str, ...]]) -> None:
        self._sdk, self._fields = sdk, fields
        self._known: dict[tuple[str, str], Adjusted] = {}

    @contextlib.contextmanager
    def open(self, request: Request, call: Callable) -> Iterator[tuple[Iterable[bytes], Adjusted]]:
        """The bytes of a successful answer to `call(request, adjusted)`, and what had to be adjusted for it."""
        place = (request.model, request.output_schema.name if request.output_schema else "")
        adjusted = self._known.get(place, frozenset())
        with contextlib.ExitStack() as stack:
            answer = None
            while answer is None:
                try:
                    answer = stack.enter_context(call(request, adjusted)).http_response
                except self._sdk.APIStatusError as error:
                    adjusted |= {self._refused(error, adjusted)}
            self._known[place] = adjusted
            yield answer.iter_bytes() if "content-encoding" in answer.headers else answer.iter_raw(), adjusted

    def _refused(self, error, adjusted: Adjusted) -> str:
        """The field to adjust next. Raises `error` if it is not about one, or adjusting did not help."""
        text = f"{error.message} {error.body}".lower()
        if error.status_code not in (400, 422) or any(word in text for word in wire.TOO_LONG):
            raise error
        for name, words in self._fields.items():
            if name not in adjusted and any(word in text for word in words):
                return name
        raise error


def output_tool(request: Request, adjusted: Adjusted) -> ToolSpec | None:
    """The forced tool whose arguments are the answer, where that is the way."""
    wanted = request.output_method == "tool_use" or "response_format" in adjusted
    if request.output_schema is None or not wanted or "tool_choice" in adjusted:
        return None
    return ToolSpec(f"submit_{request.output_schema.name}", "Hand in the answer.", request.output_schema.schema)


def has_response_format(request: Request, adjusted: Adjusted) -> bool:
    wanted = request.output_method == "response_format" and "response_format" not in adjusted
    return request.output_schema is not None and wanted


def system_prompt(request: Request, adjusted: Adjusted) -> str:
    """The system prompt, with the schema in it where nothing else tells the model."""
    if request.output_schema is None or has_response_format(request, adjusted) or output_tool(request, adjusted):
        return request.system
    schema = json.dumps(request.output_schema.schema, ensure_ascii=False)
    return f"{request.system}\n\nAnswer with one JSON value and nothing else. It must match this JSON Schema:\n{schema}"
