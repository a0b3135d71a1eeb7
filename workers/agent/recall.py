"""What an agent is reminded of when it begins: the memories closest to its task, recorded with the attempt.

An attempt that another worker takes over is reminded of the same.
"""

from __future__ import annotations

from models import database, memories, memory_life
from models.memories import NUMBER
from models.memory_life import MemoryRecall
from models.versions import Kept
from pipelines.notes import SHARED
from workers import walks
from workers.agent.feed import Feed
from workers.memory_context import NOTICE, Told, tell
from workers.memory_search import Query, search

BUDGET = 1500  # tokens
MOST = 5
QUESTION = 1000  # characters of the task that are searched for
PROMPT = "prompt"

_vaults: Kept[frozenset[str]] = Kept(NUMBER, lambda: frozenset(memories.counts()))  # those that hold anything


def section(feed: Feed, agent_id: str, ref: str, task: str) -> str:
    """The end of the message that opens the work, "" if there is nothing to be reminded of."""
    if not _vaults.get().intersection((agent_id, SHARED)):
        return ""
    holder = feed.work.hold.stream
    with database.connection():
        earlier = memory_life.recalls(holder, ref)
    told = _again(earlier) if earlier else _found(feed, holder, agent_id, ref, task)
    return f"\n\n## Memory\n{NOTICE}\n\n{feed.redactor.clean(told)}" if told else ""


def _again(earlier: list[MemoryRecall]) -> str:
    return "\n\n".join(row.passage for row in earlier if row.how == PROMPT)


def _found(feed: Feed, holder: str, agent_id: str, ref: str, task: str) -> str:
    found = search(Query(task[:QUESTION], (agent_id, SHARED), MOST))
    told = tell(found, BUDGET, evident=True)
    if told.items:
        walks.patiently(feed.work.hold, lambda: _record(feed, holder, ref, told))
    return told.text


def _record(feed: Feed, holder: str, ref: str, told: Told) -> None:
    rows = [(item["key"], item["score"], item["entry"]) for item in told.items]
    shown = [{name: item[name] for name in ("id", "agent_id", "filename", "score")} for item in told.items]
    with database.transaction():
        feed.work.write([feed.work.event("memory_recalled", memories=shown, how=PROMPT)])
        memory_life.recalled(holder, ref, PROMPT, rows)
