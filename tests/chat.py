"""Chats inside the test's process, with a scripted agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from models import chat_views, chats, config, database, events
from workers import chat_turns
from workers import chats as commands


class Chat:
    """A session with agent `writer`; `replies` are those of its turns, in order."""

    def __init__(self, replies: list | None = None, summaries: list | None = None, **columns: Any) -> None:
        install("writer")
        table = {"chat:writer": replies, "summary:writer": summaries}
        script({key: entry for key, entry in table.items() if entry})
        self.id = commands.start("writer", **columns)["session_id"]

    @classmethod
    def of(cls, session_id: str) -> Chat:
        made = object.__new__(cls)
        made.id = session_id
        return made

    def say(self, text: str, **options: Any) -> dict[str, Any]:
        return commands.post(self.id, text, **options)

    def work(self) -> Chat:
        """Lets a worker write every answer that is waited for."""
        chat_turns.answer_chat(self.id)
        return self

    def ask(self, text: str, **options: Any) -> str:
        """Says something; the answer once it is there."""
        self.say(text, **options)
        return self.work().answers[-1]["content"]

    @property
    def session(self) -> dict[str, Any]:
        with database.connection():
            return chat_views.session(chats.get(self.id))

    @property
    def messages(self) -> list[dict[str, Any]]:
        with database.connection():
            return chat_views.messages(self.id, 1000, None, False)[0]

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["role"] == "assistant"]

    @property
    def events(self) -> list[dict[str, Any]]:
        with database.connection():
            return [events.decode(row["data"]) for row in events.after(self.id, 0, 100_000)]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


def install(agent_id: str, **settings: Any) -> None:
    """An agent's folder."""
    folder = Path(config.get().agents_dir) / agent_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "IDENTITY.md").write_text(f"Name: {agent_id.title()}\nYou write.", "utf-8")
    if settings:
        (folder / "config.yml").write_text(yaml.safe_dump(settings), "utf-8")


def script(replies: dict[str, Any]) -> None:
    Path(config.get().scripted_replies).write_text(yaml.safe_dump(replies), "utf-8")
