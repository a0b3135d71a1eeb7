"""The agent loop of a chat: its conversation goes on until there is an answer to what the user said last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models import chat_views, chats, database
from models.errors import BadOutput, ContextTooLong
from workers import walks
from workers.agent import history, recall
from workers.agent.budget import Budget
from workers.agent.conversation import Conversation
from workers.agent.feed import Feed
from workers.agent.journal import Journal, Turn
from workers.agent.settings import ChatSettings
from workers.agent.work import ChatWork
from workers.clients.llm.base import Message, Request, Script

SHARES = (1.0, 0.5, 0.25)  # of the model's context that is counted on; less after each refusal
REFUSALS = {
    "tool": "Not run: {} needs the approval of a person, which only a run can ask for. Tell the user.",
    "effect": "The worker was lost while {} ran: it may or may not have taken effect. Look before you repeat it.",
}


@dataclass(slots=True)
class Said:
    """A finished answer: stored with the end of its turn in one transaction. `last` has not been stored yet."""

    content: str
    thinking: str | None
    last: Turn
    journal: Journal


class Reply(Conversation):
    """One answer in a chat."""

    def __init__(self, work: ChatWork, settings: ChatSettings, feed: Feed, idle_seconds: float) -> None:
        super().__init__(work, feed, Budget(work, None), settings.models, settings.toolbox, "The agent")
        self.session, self.message, self.settings = work.session, work.message, settings
        self.idle_seconds = idle_seconds
        self._begins = 0  # where in `messages` its own begin

    def write(self) -> Said:
        """The answer. Raises a StepError, or LeaseLost."""
        with database.connection():
            said = chats.message(self.message.in_reply_to, self.session.id).content
        if self.toolbox.own:
            said += recall.section(self.feed, self.session.agent_id, self.message.id, said)
        for share in SHARES:
            try:
                self.messages = self._opening(said, share)
                return self.converse(self.settings.max_turns)
            except ContextTooLong:
                if share == SHARES[-1] or any(message.tool_calls for message in self._own):
                    raise
        raise AssertionError("every share returns or raises")

    # --- what it is told ---

    def _opening(self, said: str, share: float) -> list[Message]:
        session, room = self.session, int(history.window(self.caller.models[0]) * share)
        with database.connection():
            exchanges = chats.exchanges(session.id, session.summary_turn, self.message.turn)
        plan = history.plan(exchanges, [self.settings.system, session.summary or "", said], room)
        for portion in history.portions(plan.fold, room):
            self._sum_up(portion, room)
        self._begins = len(told := history.opening(session.summary, plan.kept, said))
        return told

    @property
    def _own(self) -> list[Message]:
        """What has been said and done for this answer."""
        return self.messages[self._begins :]

    def _sum_up(self, exchanges: list[history.Exchange], room: int) -> None:
        """Takes the exchanges into the session's summary. Its turn in the journal is minus that of the last of them."""
        upto, asked = exchanges[-1][1].turn, history.to_sum_up(self.session.summary, exchanges, room)
        messages = [Message("user", asked)]
        turn = self.journal.recorded(-upto) or self.caller.ask(-upto, self._summary(messages), messages, heard=False)
        self.keep(turn)
        changes = {"summary": turn.message.content.strip(), "summary_turn": upto}
        walks.patiently(self.hold, lambda: self._store(changes))
        self.session.summary, self.session.summary_turn = changes["summary"], upto

    def _store(self, changes: dict[str, Any]) -> None:
        with database.transaction():
            chats.write(self.session.id, fence=self.work.fence, **changes)

    def _summary(self, messages: list[Message]):
        script = Script(f"summary:{self.session.agent_id}", opening=self.message.turn - 1)
        return lambda number, model: Request(
            model=model,
            system=history.SUMMARY_SYSTEM,
            messages=tuple(messages),
            script=script,
            idle_seconds=self.idle_seconds,
        )

    # --- the conversation ---

    def request(self, number: int, model: str) -> Request:
        return Request(
            model=model,
            system=self.settings.system,
            messages=tuple(self.messages),
            tools=self.toolbox.own,
            max_output_tokens=self.settings.max_output_tokens,
            temperature=self.settings.temperature,
            thinking_level=self.settings.thinking_level,
            script=Script(f"chat:{self.session.agent_id}", opening=self.message.turn - 1, turn=number),
            idle_seconds=self.idle_seconds,
        )

    def ask_person(self, kind: str, use: dict[str, Any]) -> str:
        """Nobody can be asked within a turn: the model hears why the call was not made, and says so."""
        return REFUSALS[kind].format(use["tool_name"])

    def conclude(self, turn: Turn) -> Said:
        spoken = [message for message in self._own if message.role == "assistant"]
        content = chat_views.joined([message.content for message in spoken])
        if not content:
            self.keep(turn)
            raise BadOutput("The model answered with nothing")
        thinking = chat_views.joined([block.text for message in spoken for block in message.thinking])
        return Said(content, thinking or None, turn, self.journal)
