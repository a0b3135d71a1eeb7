"""Calling the model: room in the budget, the stream, fallbacks, the ledger."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from models import redaction
from models.base import new_id
from models.errors import ConfigError, ContextTooLong, ProviderRejected, ProviderTransient, Refused, StepError
from workers.agent.budget import WRAP_UP, Budget
from workers.agent.feed import Feed
from workers.agent.journal import Journal, Turn
from workers.clients.llm import registry
from workers.clients.llm.base import Done, Message, Piece, Provider, Request, Text, Thinking, Usage, assistant_message
from workers.clients.llm.tries import stream_with_tries

KEPT_WHOLE = 6  # messages at the end that condensing leaves alone
CUT = "(This result was shortened to make room.)"

Build = Callable[[int, str], Request]


class Caller:
    """The calls of one attempt. `models`: the chosen one, then its fallbacks; a fallback holds to the end."""

    def __init__(self, journal: Journal, feed: Feed, budget: Budget, models: tuple[str, ...]) -> None:
        self.journal, self.feed, self.budget = journal, feed, budget
        self.models = list(models)
        self.fallback_from: str | None = None
        self.condensed, self.heard = False, True

    def ask(self, number: int, build: Build, messages: list[Message], heard: bool = True) -> Turn:
        """The model's next turn; a model that cannot answer is replaced by the next fallback.

        `build(number, model)` makes the request of `messages`, which may be condensed here. What is not to be `heard`
        does not go into the feed. Raises a StepError.
        """
        self.heard = heard
        while True:
            try:
                return self._call(number, build, messages)
            except ContextTooLong as error:
                if not self._condense(messages):
                    self._fall_back(error)
            except (ProviderTransient, ProviderRejected, Refused, ConfigError) as error:
                self._fall_back(error)

    def _fall_back(self, error: StepError) -> None:
        if len(self.models) == 1:
            raise error
        self.fallback_from = self.models.pop(0)

    def _condense(self, messages: list[Message]) -> bool:
        """Shortens old tool results, once. False if it was done before."""
        old = messages[1:-KEPT_WHOLE]
        messages[1:-KEPT_WHOLE] = [
            dataclasses.replace(message, content=CUT) if message.role == "tool" else message for message in old
        ]
        first, self.condensed = not self.condensed, True
        return first and bool(old)

    def _call(self, number: int, build: Build, messages: list[Message]) -> Turn:
        client, model = registry.resolve(self.models[0])
        provider = self.models[0].partition("/")[0]
        held, wrap_up = self.budget.reserve(build(number, model), provider, self.journal.work.line(number))
        if wrap_up:
            messages.append(WRAP_UP)
        request, started = build(number, model), time.monotonic()
        call_id = held.call_id if held else new_id("llm_")
        try:
            message, usage, done, first = self._listen(client, request, number, started)
        except StepError as error:
            self.journal.failed(number, call_id, provider, model, error, _ms_since(started))
            raise
        facts = {"finish_reason": done.finish_reason, "duration_ms": _ms_since(started), "first_token_ms": first}
        facts |= {"id": call_id, "fallback_from": self.fallback_from}
        return self.journal.turn(number, provider, request, message, usage, **facts)

    def _listen(
        self, client: Provider, request: Request, number: int, started: float
    ) -> tuple[Message, Usage, Done, int | None]:
        pieces, usage, done, first = [], Usage(), Done("stop", request.model), None
        stream = stream_with_tries(client, request)
        try:
            for piece in stream:
                first = first or _ms_since(started)
                self._feed(piece, number)
                if isinstance(piece, Usage):
                    usage = piece
                elif isinstance(piece, Done):
                    done = piece
                else:
                    pieces.append(piece)
        finally:
            stream.close()
        return _cleaned(assistant_message(pieces), self.feed.redactor), usage, done, first

    def _feed(self, piece: Piece, number: int) -> None:
        if not self.heard:
            self.feed.hold.check()
        elif isinstance(piece, Text):
            self.feed.add("agent_output", number, piece.text)
        elif isinstance(piece, Thinking):
            self.feed.add("agent_thinking", number, piece.text)
        else:
            self.feed.hold.check()


def _cleaned(message: Message, redactor: redaction.Redactor) -> Message:
    """Before anybody sees it. A thinking block that had to be changed is left out: its signature would not match."""
    if not redactor:
        return message
    clean = redactor.clean_all
    calls = (
        dataclasses.replace(call, arguments=clean(call.arguments), problem=clean(call.problem))
        for call in message.tool_calls
    )
    thinking = (block for block in message.thinking if redactor.clean(block.text) == block.text)
    content = clean(message.content)
    return dataclasses.replace(message, content=content, tool_calls=tuple(calls), thinking=tuple(thinking))


def _ms_since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)
