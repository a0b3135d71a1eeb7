"""Giving back what a worker held, whatever it was."""

from __future__ import annotations

from models import chats
from models.errors import NotFound
from workers import chat_turns, claims


def release(stream: str, epoch: int, n: int, token: int, why: str) -> bool:
    """Lets another worker go on with a step or a chat turn; False if it was not held.

    `why`: worker_lost, deploy or database_away.
    """
    try:
        if stream.startswith(chats.PREFIX):
            return chat_turns.release(stream, n, token, why)
        return claims.release(stream, epoch, n, token, why)
    except NotFound:  # it was deleted meanwhile
        return False
