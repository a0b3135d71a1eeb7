"""What agents remember: the tools, and what they are reminded of when they begin."""

from __future__ import annotations

import json

import pytest

from models import database, memories, memory_life, taint
from models.runs import Run
from tests.chat import Chat, install
from tests.engine import Engine
from workers import chats, memory_index
from workers import memories as commands
from workers.agent import recall
from workers.memories import Author, New
from workers.tools import memory as tools
from workers.tools.base import Context

pytestmark = pytest.mark.usefixtures("store")
STEP = """
id: rememberer
agents: [{id: writer}]
steps: [{id: A, agent: writer, input: "When do we ship the walrus release?", outputs: [x], tools: [read]}]
"""
DONE = "X: done"


def known(text: str = "The walrus release ships on Thursday.", vault: str = "writer", **front):
    memory, _ = commands.create(New(vault, text, {"title": "Walrus release"} | front), Author("ann"))
    memory_index.memory_index_file(f"memory:{memory.key}")
    recall._vaults.forget()
    return memory


def run(*turns) -> Engine:
    install("writer")
    return Engine(STEP, {"A": [[*turns, DONE]]}).finish()


def call(name: str, **arguments) -> dict:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def heard(engine: Engine) -> list[str]:
    return [event["result"] for event in engine.events if event["type"] == "tool_call_end"]


def row(memory) -> memories.Memory:
    with database.connection():
        return memories.some([memory.key])[memory.key]


# --- reminded ---


def test_a_step_begins_with_what_is_known_about_its_task_and_says_so():
    memory = known()
    engine = run()
    reminded = [event for event in engine.events if event["type"] == "memory_recalled"]
    assert [m["id"] for m in reminded[0]["memories"]] == [memory.id] and reminded[0]["step_id"] == "A"
    with database.connection():
        kept = memory_life.recalls(engine.run_id, "1.1.1")
    assert "ships on Thursday" in kept[0].passage and row(memory).recalls == 1


def test_an_attempt_that_is_taken_over_is_reminded_of_the_same():
    memory = known()
    engine = run()
    with database.connection():
        first = recall._again(memory_life.recalls(engine.run_id, "1.1.1"))
    commands.update("writer", memory.path, "It ships on Monday.", Author("ann"))
    with database.connection():
        assert recall._again(memory_life.recalls(engine.run_id, "1.1.1")) == first != ""


def test_nothing_is_said_where_nothing_is_known():
    recall._vaults.forget()
    assert "memory_recalled" not in run().types


def test_another_agents_memories_are_never_recalled():
    known(vault="shared", text="Unrelated to it.")
    install("stranger")
    known(vault="stranger", text="The walrus release ships on Sunday.")
    engine = run(call("recall", query="walrus release"))
    assert "Sunday" not in str(engine.events)


def test_a_chat_begins_with_what_is_known_about_what_was_said():
    memory = known()
    chat = Chat(["On Thursday."])
    chat.ask("When do we ship the walrus release?")
    (reminded,) = [event for event in chat.events if event["type"] == "memory_recalled"]
    assert [m["filename"] for m in reminded["memories"]] == [memory.path]


# --- tools ---


def test_an_agent_remembers_and_recalls():
    first = run(call("remember", content="Badgers dig at night.", title="Badgers", type="fact", tags=["animals"]))
    assert '"filename": "fact/badgers.md"' in heard(first)[0]
    second = run(call("recall", query="what do badgers do", profile="projects"), call("recall", query="zzqx", limit=1))
    assert "Badgers dig at night." in heard(second)[0]
    with database.connection():
        memory = memories.get("writer", "fact/badgers.md")
    assert (memory.author, memory.tags) == ("writer", ["animals"]) and memory.recalls >= 1


def test_a_call_that_is_made_again_remembers_once():
    known()
    install("writer")
    context = Context(None, agent_id="writer", holder="chat_x", key="use_1")
    first, second = (tools.remember(context, {"content": "Once.", "title": "Once"}) for _ in range(2))
    assert json.loads(first) == json.loads(second)
    with database.connection():
        assert len(memories.known_files("writer")) == 2


def tainted(*turns) -> Engine:
    install("writer")
    engine = Engine(STEP, {"A": [[*turns, DONE]]})
    with database.transaction():
        Run.update(tainted_by="mcp files").where(Run.id == engine.run_id).execute()
    return engine.finish()


def test_what_a_tainted_run_wants_to_share_is_held_back():
    known()
    engine = tainted(call("remember", content="Trust it.", title="Page", shared=True))
    assert '"status": "quarantined"' in heard(engine)[0]


def test_what_a_tainted_chat_or_its_fork_wants_to_share_is_held_back():
    chat = Chat(["yes"])
    chat.ask("hello")
    with database.transaction():
        taint.mark(chat.id, "mcp files")
    for holder in (chat.id, chats.fork(chat.id)):
        context = Context(None, agent_id="writer", holder=holder)
        made = json.loads(tools.remember(context, {"content": f"Trust {holder}.", "shared": True}))
        assert made["status"] == "quarantined"


def test_a_tainted_run_neither_replaces_nor_rates_what_all_share():
    shared = known(vault="shared")
    engine = tainted(
        call("remember", content="Trust it.", title="Page", shared=True, supersedes=[shared.id]),
        call("rate_memories", memories=[shared.id], useful=False),
    )
    assert row(shared).status == "active" and row(shared).usefulness == 0 and "outside" in heard(engine)[1]


def test_an_agent_rates_only_what_it_may_see():
    memory, foreign = known(), known(vault="shared")
    install("stranger")
    other = known(vault="stranger")
    engine = run(
        call("rate_memories", memories=[memory.id, foreign.id], useful=True),
        call("rate_memories", memories=[other.id], useful=True),
    )
    assert heard(engine)[0] == "Rated 2." and "not found" in heard(engine)[1]
    assert row(memory).usefulness > 0 and row(other).usefulness == 0


def test_a_question_without_an_answer_is_a_gap():
    known()
    run(call("recall", query="xylophone zebra quartz"))
    with database.connection():
        gaps = memory_life.gaps(10, None, None)
    assert [(gap.question, gap.vault) for gap in gaps] == [("xylophone zebra quartz", "writer")]
