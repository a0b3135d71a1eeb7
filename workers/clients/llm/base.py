"""What every model provider speaks: one request in, a stream of pieces out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

Role = Literal["system", "user", "assistant", "tool"]

MAX_ANSWER_BYTES = 8 * 1024 * 1024  # text, thinking and arguments of one call; more is a fault of the model


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """`signature` proves a finished block to the provider that wrote it; it arrives last, beside an empty text."""

    text: str
    signature: str = ""
    redacted: bool = False  # the provider hid the text, `signature` is its sealed form


@dataclass(frozen=True, slots=True)
class ToolCall:
    """`problem` says why `arguments` is empty: they were not a JSON object."""

    id: str
    name: str
    arguments: dict[str, Any]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """`input_tokens` includes what was read from and written to the cache, `output_tokens` includes reasoning."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """The last piece. `finish_reason`: stop, length or tool_calls; `model`: what the provider says answered."""

    finish_reason: str
    model: str


Piece = Text | Thinking | ToolCall | Usage | Done


@dataclass(frozen=True, slots=True)
class ToolSpec:
    name: str
    description: str
    parameters: dict[str, Any]  # JSON Schema of an object


@dataclass(frozen=True, slots=True)
class Message:
    """`tool_call_id` names the call that a message of role `tool` answers."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    thinking: tuple[Thinking, ...] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """Where a call stands in its run: what the scripted provider chooses its reply by."""

    key: str
    item_index: int | None = None
    opening: int = 0  # 0-based: the n-th attempt of that key in the run
    item_opening: int = 0  # 0-based: the n-th attempt of that key and item in the run
    turn: int = 0  # 0-based: the n-th call of that attempt


class OutputSchema(NamedTuple):
    name: str
    strict: bool
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `model` has no provider prefix; `thinking_level` is off, minimal, low, medium, high or xhigh."""

    model: str
    messages: tuple[Message, ...]
    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    max_output_tokens: int | None = None
    temperature: float | None = None
    thinking_level: str | None = None
    output_schema: OutputSchema | None = None
    output_method: Literal["response_format", "tool_use"] = "response_format"
    script: Script | None = None
    idle_seconds: float = 300.0  # no byte from the provider for this long is a failure


class Provider(Protocol):
    def stream(self, request: Request) -> Iterator[Piece]:
        """Pieces in order of arrival, `Usage` (if known) and `Done` last; closing it hangs up at once.

        Raises ProviderTransient, ProviderRejected, ContextTooLong, Refused or BadOutput.
        """


def assistant_message(pieces: Iterable[Piece]) -> Message:
    """The whole answer as the message that continues the conversation."""
    pieces = list(pieces)
    return Message(
        role="assistant",
        content="".join(piece.text for piece in pieces if isinstance(piece, Text)),
        tool_calls=tuple(piece for piece in pieces if isinstance(piece, ToolCall)),
        thinking=_blocks(piece for piece in pieces if isinstance(piece, Thinking)),
    )


def _blocks(pieces: Iterable[Thinking]) -> tuple[Thinking, ...]:
    """Fragments joined to blocks; a signature ends its block."""
    blocks: list[Thinking] = []
    text = ""
    for piece in pieces:
        text += piece.text
        if piece.signature:
            blocks.append(Thinking(text, piece.signature, piece.redacted))
            text = ""
    return (*blocks, Thinking(text)) if text else tuple(blocks)
