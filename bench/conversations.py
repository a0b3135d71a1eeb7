"""Conversations of the LoCoMo kind: two people over months, a note per session, questions about one of the sessions.

What the people tell, and the questions, were written by hand (`conversation_facts.txt`: told | answered | asked); who
tells it, when, and the small talk around it is drawn. It is a stand-in to tune on, not LoCoMo: give that to
`bench.memory` as a data set.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

PAIRS = [("Carla", "Mina"), ("Joan", "Dario"), ("Tess", "Evan"), ("Nora", "Ilya"), ("Ben", "Hana"), ("Ada", "Luis"),
         ("Ruth", "Kofi"), ("Sami", "Iris")]  # fmt: skip
SESSIONS, TOLD = 22, 3  # of a conversation; things told in a session

# (what one tells, what the other says to it, the question)
_LINES = Path(__file__).with_name("conversation_facts.txt").read_text("utf-8").splitlines()
TOLD_BY = [tuple(part.strip() for part in line.split("|")) for line in _LINES]
TALK = [
    ("Hey {b}! How have you been?", "Hey {a}! Busy as always, but good. What's new?"),
    ("Long time no talk, {b}!", "Right? Work has been a lot lately. And you?"),
    ("How's the family?", "The kids are growing so fast, it's hard to believe."),
    ("I really needed a break this week.", "Same here. A walk in the park helps me."),
    ("Do you still go to the gym on Tuesdays?", "When I can! It keeps my head clear."),
    ("What did you cook this weekend?", "Soup, mostly. The weather was awful."),
    ("I love that we can talk about everything.", "Me too, it means a lot."),
    ("Have you seen the new series everybody talks about?", "Two parts so far, no spoilers please!"),
    ("Thanks for listening, really.", "Always. You would do the same for me."),
    ("We should meet for coffee soon.", "Yes! Let's find a day next week."),
    ("I've been thinking about family a lot lately.", "It's a time of change for all of us, I guess."),
    ("The painting in my hall still makes me think of you.", "Aw, that makes my day."),
    ("Music is what gets me through the week.", "Tell me what you're listening to!"),
    ("My friends are the support that I need.", "Good people around you are worth more than gold."),
]  # fmt: skip


def build(seed: int = 11) -> dict[str, Any]:
    """A data set of one vault per pair."""
    chance = random.Random(seed)
    return {"name": "conversations", "vaults": [_conversation(chance, a, b) for a, b in PAIRS]}


def _conversation(chance: random.Random, a: str, b: str) -> dict[str, Any]:
    day = date(2026, 1, 5)
    told = chance.sample(TOLD_BY, len(TOLD_BY))
    notes, questions = [], []
    for number in range(1, SESSIONS + 1):
        day += timedelta(days=chance.randint(3, 20))
        part, told = (told[:TOLD], told[TOLD:]) if len(told) >= TOLD else ([], told)
        tellers = [chance.choice((a, b)) for _ in part]
        path = f"session-{number}.md"
        notes.append({"path": path, "text": _session(chance, number, day, (a, b), part, tellers)})
        for (_, _, question), teller in zip(part, tellers, strict=True):
            kind = "when" if question.startswith("When") else "what"
            questions.append({"kind": kind, "question": question.format(x=teller), "expect": [path]})
    return {"name": f"{a}-{b}".lower(), "notes": notes, "questions": questions}


def _session(
    chance: random.Random, number: int, day: date, pair: tuple[str, str], part: list, tellers: list[str]
) -> str:
    a, b = pair
    turns = [(a, TALK[number % 2][0].format(a=a, b=b)), (b, TALK[number % 2][1].format(a=a, b=b))]
    for (tells, answers, _), teller in zip(part, tellers, strict=True):
        other = b if teller == a else a
        turns += [(teller, tells), (other, answers)]
        for one, two in chance.sample(TALK[2:], 2):
            turns += [(other, one.format(a=a, b=b)), (teller, two.format(a=a, b=b))]
    for one, two in chance.sample(TALK[2:], 2):
        turns += [(a, one.format(a=a, b=b)), (b, two.format(a=a, b=b))]
    text = "\n".join(f"{who}: {said}" for who, said in turns)
    return f"---\ntitle: Session {number}, {day:%d %B %Y}\ncreated: {day}T18:00:00Z\n---\n\n{text}\n"
