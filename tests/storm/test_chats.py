"""Chats while their workers die: every message is kept, answered once and in order."""

from __future__ import annotations

import json
import time
from collections import Counter

from tests.platform import wait_for
from tests.storm.pipelines import said
from tests.storm.report import Row

MESSAGES = 3  # per session
ANSWER = said(1.2)


def test_c1_workers_die_under_chats(storm, size, seed, record_property) -> None:
    storm.script({"chat:writer": [ANSWER]})
    sessions = [open_chat(storm) for _ in range(size(8, 60))]
    for session in sessions:
        for number in range(MESSAGES):
            storm.client.post(f"/v1/chat/sessions/{session}/message", {"message": f"message {number}"})
    blows = size(3, 15)
    for _ in range(blows):
        time.sleep(storm.random.uniform(1, 2))
        storm.replace("worker")
    wait_for(lambda: all_answered(storm, sessions), size(90, 300))
    found = [problem for session in sessions for problem in problems(storm, session)]
    figures = {"messages": len(sessions) * MESSAGES, "kills": blows, "poisoned": poisoned(storm)}
    line = Row("C1 kill -9 under chats", storm.store.kind, seed, len(sessions), len(found), 0, figures)
    record_property("storm", str(line))
    print(line)
    assert found == []


def open_chat(storm) -> str:
    return storm.client.post("/v1/chat/sessions", {"agent_id": "writer"})["id"]


def all_answered(storm, sessions: list[str]) -> None:
    open_ones = {row[0] for row in storm.store.rows("SELECT id FROM chat_sessions WHERE status = 'running'")}
    assert not open_ones & set(sessions)


def poisoned(storm) -> int:
    return storm.store.value("SELECT count(*) FROM chat_messages WHERE error_code = 'worker_lost'")


def problems(storm, session: str) -> list[str]:
    """What is not as it must be in one chat."""
    sql = "SELECT id, role, content, status, error_code, turn FROM chat_messages WHERE session_id = ? ORDER BY seq"
    rows = storm.store.rows(sql, session)
    log = [
        json.loads(data)
        for (data,) in storm.store.rows("SELECT data FROM events WHERE stream = ? ORDER BY seq", session)
    ]
    answers = [row for row in rows if row[1] == "assistant"]
    ends = Counter(event["message_id"] for event in log if event["type"] == "chat_turn_end")
    found = [] if len(rows) == 2 * MESSAGES else [f"{len(rows)} messages"]
    found += [f"{id} ended {ends[id]} times" for id, *_ in answers if ends[id] != 1]
    found += [f"{id} is {status}: {code}" for id, _, _, status, code, _ in answers if not is_over(status, code)]
    found += [
        f"{id} says {text!r:.60}"
        for id, _, text, status, *_ in answers
        if status == "completed" and text != ANSWER["text"].strip()
    ]
    if [event["seq"] for event in log] != list(range(1, len(log) + 1)):
        found.append("events are not numbered 1..n")
    if [row[5] for row in answers] != list(range(1, len(answers) + 1)):
        found.append(f"turns were taken as {[row[5] for row in answers]}")
    return [f"{session}: {problem}" for problem in found]


def is_over(status: str, code: str | None) -> bool:
    return status == "completed" or code == "worker_lost"
