"""What the notes of the retrieval set are made of. {e} is a system, {p} a person.

The facts stand in `memory_facts.txt`: title | what is written | asked with the same words | asked with others.
"""

from __future__ import annotations

from pathlib import Path

_SYSTEMS = """
Atlas Borealis Cinder Dovetail Ember Falcon Granite Harbor Indigo Juniper Kestrel Lantern
Marble Nimbus Obsidian Pelican Quartz Raven Saffron Thistle Umber Velvet Walnut Yarrow
Zephyr Acorn Bramble Cobalt Drift Egret Fennel Glacier Hazel Ivory Jasper Kelp
"""
_PEOPLE = """
Amara Bjorn Chiara Dmitri Elena Farid Greta Hiro Ines Jonas Kavita Liam Mei
Nadia Omar Priya Quentin Rosa Sven Tariq Ursula Viktor Wanda Xenia Yusuf Zara
"""
SYSTEMS, PEOPLE = _SYSTEMS.split(), _PEOPLE.split()
_LINES = Path(__file__).with_name("memory_facts.txt").read_text("utf-8").splitlines()
FACTS = [tuple(part.strip() for part in line.split("|")) for line in _LINES]  # (title, text, keyword, paraphrase)

REVIEWS = [
    "the queue was drained late and two alarms were silenced", "a customer asked for an export in spreadsheets",
    "the new colour scheme was tried with ten people", "the build became twice as fast",
    "a typo in the terms was corrected", "the load test reached nine hundred users", "a bug in the calendar was found",
    "the team agreed to write shorter tickets", "a supplier raised its prices", "the search page was redesigned",
    "old screenshots in the manual were replaced", "a meeting with the lawyers was held",
]  # fmt: skip
TEMPORAL = [
    "What came up in the {e} review {t}?", "What happened with {e} {t}?", "What was reported about {e} {t}?",
]  # fmt: skip
CARE = [
    "{p} looks after [[{e}]] since spring.",
    "{p} took over [[{e}]] from the founders.",
    "{p} is responsible for [[{e}]].",
]
HOPS = [  # (question, the fact that answers it)
    ("What does the system that {p} looks after keep its data in?", 0),
    ("How long are logs kept by what {p} is in charge of?", 13),
    ("How expensive is the product that {p} is responsible for?", 7),
    ("Which language was the thing {p} cares for built with?", 6),
    ("What is the rate limit of the service under {p}?", 21),
    ("What caused the long outage of the system of {p}?", 10),
]
