"""Chat turns: the actor that writes the answers of a session, and what the end of one means."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import gevent
import structlog

from models import chat_views, chats, database, outbox, redaction
from models.base import now_ms
from models.chats import ChatMessage, ChatSession, MessageStatus
from models.errors import AttemptTimeout, LeaseLost, NotFound, StepError, Unavailable
from models.events import Event
from models.settings import get as setting
from workers import chat_queue, walks, workspaces
from workers.agent import settings
from workers.agent.feed import Feed
from workers.agent.replies import Reply, Said
from workers.agent.work import ChatWork
from workers.broker import actor
from workers.holds import GiveBack, Hold, holding
from workers.process import Process

log = structlog.get_logger(__name__)

Taken = tuple[ChatSession, ChatMessage]


@actor
def answer_chat(session_id: str) -> None:
    """Writes the answers that a session waits for, one after the other, until none is left."""
    taken = claim(session_id)
    while taken:
        taken = work(*taken)


def claim(session_id: str) -> Taken | None:
    """Takes the turn that waits for a worker; None if there is none to take."""
    if Process.stopping:
        return None
    with database.transaction():
        try:
            session = chats.lock(session_id)
        except NotFound:
            outbox.withdraw("answer_chat", session_id)
            return None
        return _take(session)


def _take(session: ChatSession) -> Taken | None:
    """A worker that is stopping takes nothing more and rings for another."""
    if Process.stopping:
        chat_queue.ring(session)
        return None
    message = chat_queue.take(session, Process.worker_id)
    outbox.answered(session.id, "")
    return (session, message) if message else None


def work(session: ChatSession, message: ChatMessage) -> Taken | None:
    """One answer and its settlement; returns the turn to go on with, already taken."""
    turn = ChatWork(session, message, Hold(session.id, 1, message.seq, message.token))
    facts = structlog.contextvars.bound_contextvars(session_id=session.id, message_id=message.id)
    with facts, holding(turn.hold), Feed(turn, eager=True) as feed, contextlib.ExitStack() as until_settled:
        try:
            outcome = _answer(turn, feed, until_settled)
        except Exception as error:
            outcome = error
        turn.hold.settling = True
        return settle(turn, outcome, feed.take())


def _answer(turn: ChatWork, feed: Feed, until_settled: contextlib.ExitStack) -> Said:
    chosen = settings.for_chat(turn.session, turn.message)
    if chosen.granted.redactor:
        feed.redactor = chosen.granted.redactor
        until_settled.enter_context(redaction.active(feed.redactor))
    workspace = workspaces.folder(turn.session.id)
    if chosen.toolbox.own:
        workspace.mkdir(parents=True, exist_ok=True)
    with feed.cleaned_errors(), _deadline(turn.message):
        reply = Reply(turn, chosen, feed, setting("chatInactivityTimeoutSec"))
        reply.in_workspace(workspace, chosen.granted.env)
        return reply.write()


@contextlib.contextmanager
def _deadline(message: ChatMessage) -> Iterator[None]:
    """Of one answer, all takeovers together."""
    limit = setting("chatHardTimeoutSec")
    left = limit - (now_ms() - message.started_at) / 1000
    with gevent.Timeout(max(left, 0.001), AttemptTimeout(f"The answer took longer than {limit} seconds")):
        yield


def settle(turn: ChatWork, outcome: Said | Exception, pending: list[Event]) -> Taken | None:
    """What the end of an answer means: the one place where its errors are judged."""
    match outcome:
        case Said():
            end = _complete
        case GiveBack():
            release(turn.session.id, turn.hold.n, turn.hold.token, outcome.why)
            return None
        case Unavailable(code=database.AWAY):
            place = (turn.session.id, turn.hold.n, turn.hold.token)
            walks.hand_back(turn.hold, lambda: release(*place, "database_away"))
            return None
        case LeaseLost():
            log.info("lease_lost", reason=outcome.message)
            return None
        case StepError():
            end = _fail
        case _:
            log.error("turn_crashed", exc_info=outcome)
            outcome = StepError(f"{type(outcome).__name__}: {outcome}", "internal_error")
            end = _fail
    try:
        return walks.patiently(turn.hold, lambda: _end(turn, end, outcome, pending))
    except LeaseLost as lost:
        log.info("settlement_refused", reason=lost.message)
        return None


def _end(turn: ChatWork, end: Any, outcome: Said | StepError, pending: list[Event]) -> Taken | None:
    with database.transaction():
        session = chats.lock(turn.session.id)
        end(turn, session, outcome, pending)
        return _take(session)


def _complete(turn: ChatWork, session: ChatSession, said: Said, pending: list[Event]) -> None:
    recorded, add, model = list(pending), {}, turn.message.model
    if not said.last.stored:
        recorded += said.journal.keep_last(said.last)
        add, model = said.last.add, said.last.model
    chats.write(session.id, recorded, fence=turn.fence, add=add)
    calls = chat_views.so_far(turn.message)["tool_calls"]
    usage = walks.attempt_usage(turn.hold, add)
    facts = {"content": said.content, "thinking": said.thinking, "tool_calls": calls, "usage": usage, "model": model}
    chat_queue.finish(session, turn.message, MessageStatus.COMPLETED, error=None, error_code=None, **facts)


def _fail(turn: ChatWork, session: ChatSession, error: StepError, pending: list[Event]) -> None:
    chats.write(session.id, pending, fence=turn.fence)
    facts = chat_views.so_far(turn.message) | {"error": error.message, "error_code": error.code}
    chat_queue.finish(session, turn.message, MessageStatus.FAILED, **facts)


def release(session_id: str, seq: int, token: int, why: str) -> bool:
    """Gives a running turn back so that any worker can take it over; `why`: worker_lost, deploy or database_away.

    False if the hold is gone already.
    """
    with database.transaction():
        session = chats.lock(session_id)
        held = ChatMessage.fetch(
            "session_id = ? AND seq = ? AND token = ? AND status = 'running' AND owner IS NOT NULL",
            (session_id, seq, token),
        )
        for message in held:
            chat_queue.give_back(session, message, why)
        return bool(held)
