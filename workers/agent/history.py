"""What a model is told of a chat so far: all of it while it fits, then a summary of its older part and the rest."""

from __future__ import annotations

from dataclasses import dataclass

from models.chats import ChatMessage
from workers.clients.llm import local, prices
from workers.clients.llm.base import Message, ToolCall
from workers.tools.base import clip

CHARS_PER_TOKEN = 3  # a low guess, so that the estimate is high
DEFAULT_WINDOW = 32_768  # tokens of a model that nobody knows
ANSWER_SHARE = 0.25  # of the window, left for the answer and the tools on the way to it
KEPT_SHARE = 0.5  # of the room for history, that stays in full when the rest is summed up
MAX_RESULT_CHARS = 8_000  # of a tool's result in an earlier answer

Exchange = tuple[ChatMessage, ChatMessage]  # what the user said, the answer

SUMMARY_SYSTEM = (
    "You keep the notes of a conversation between a user and an assistant. Write down, briefly and completely, what a"
    " reader needs in order to go on with it: facts, decisions, names, numbers, open questions. No introduction."
)


@dataclass(frozen=True, slots=True)
class Plan:
    """`fold`: exchanges that must be summed up first; `kept`: those that are told in full."""

    fold: list[Exchange]
    kept: list[Exchange]


def window(model: str) -> int:
    """Tokens that `provider/model` reads and writes at once."""
    provider, _, name = model.partition("/")
    if model == local.MODEL_ID:
        return local.SLOT_TOKENS
    return prices.context_window(provider, name) or DEFAULT_WINDOW


def plan(exchanges: list[Exchange], fixed: list[str], window_tokens: int) -> Plan:
    """What must be summed up so that the rest fits beside the `fixed` texts."""
    room = int(window_tokens * (1 - ANSWER_SHARE)) - sum(map(tokens, fixed))
    costs = [_cost(exchange) for exchange in exchanges]
    if sum(costs) <= room:
        return Plan([], exchanges)
    first, left = len(exchanges), room * KEPT_SHARE
    while first and costs[first - 1] <= left:
        first -= 1
        left -= costs[first]
    return Plan(exchanges[:first], exchanges[first:])


def portions(exchanges: list[Exchange], window_tokens: int) -> list[list[Exchange]]:
    """The exchanges in groups that a model can sum up at once."""
    groups: list[list[Exchange]] = []
    left = 0.0
    for exchange in exchanges:
        cost = _cost(exchange)
        if not groups or cost > left:
            groups.append([])
            left = window_tokens * KEPT_SHARE
        groups[-1].append(exchange)
        left -= cost
    return groups


def to_sum_up(summary: str | None, exchanges: list[Exchange], window_tokens: int) -> str:
    """The request for a summary of the notes so far and of what followed."""
    most = int(window_tokens * KEPT_SHARE) * CHARS_PER_TOKEN
    said = "\n\n".join(f"User: {asked.content}\n\nAssistant: {answer.content}" for asked, answer in exchanges)
    notes = f"## Notes so far\n{summary}\n\n" if summary else ""
    return f"{notes}## What followed\n{clip(said, most)}\n\nWrite the notes anew, with what followed in them."


def opening(summary: str | None, exchanges: list[Exchange], said: str) -> list[Message]:
    """The conversation up to the message that is to be answered."""
    told = [Message("user", f"Notes of our conversation so far:\n{summary}")] if summary else []
    for exchange in exchanges:
        told += _told(*exchange)
    return [*told, Message("user", said)]


def _told(asked: ChatMessage, answer: ChatMessage) -> list[Message]:
    told = [Message("user", asked.content)]
    done = [call for call in answer.tool_calls if call["result"] is not None]
    if done:
        calls = tuple(ToolCall(call["tool_call_id"], call["tool_name"], call["arguments"]) for call in done)
        told.append(Message("assistant", "", tool_calls=calls))
        told += [Message("tool", _result(call), tool_call_id=call["tool_call_id"]) for call in done]
    return [*told, Message("assistant", answer.content)] if answer.content else told


def _result(call: dict) -> str:
    return clip(call["result"], MAX_RESULT_CHARS)


def tokens(text: str) -> int:
    """An estimate that is rather too high."""
    return len(text) // CHARS_PER_TOKEN + 4


def _cost(exchange: Exchange) -> int:
    return sum(tokens(message.content) for message in _told(*exchange))
