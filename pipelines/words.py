"""Words as memory compares them: without case, accents, endings and the words that every text has."""

from __future__ import annotations

import functools
import re
from collections import Counter

import snowballstemmer

from models.text_search import words
from pipelines.irregular import IRREGULAR

TITLE, TAGS, HEADINGS = 3, 2, 0.5  # what a word counts there; in a heading beside the one as text
SCALE = 2  # weights are stored as whole numbers of this share

_STOP = """
    a about after again all also am an and any are aren as at be because been before being below between both but by
    can cannot could couldn d did didn do does doesn doing don down during each few for from further had hadn has hasn
    have haven having he her here hers herself him himself his how i if in into is isn it its itself just ll m me more
    most my myself no nor not now o of off on once only or other our ours ourselves out over own re s same shan she
    should shouldn so some such t than that the their theirs them themselves then there these they this those through
    to too under until up ve very was wasn we were weren what when where which while who whom why will with would
    wouldn you your yours yourself yourselves us im ive dont didnt thats
"""
STOP = frozenset(_STOP.split())
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+)$", re.MULTILINE)
_stemmer = snowballstemmer.stemmer("english")


@functools.lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """The word without its ending; an irregular form as its plain one."""
    return _stemmer.stemWord(IRREGULAR.get(word, word))


def terms(text: str) -> list[str]:
    """The words of a text that say something, in order."""
    return [stem(word) for word in words(text) if word not in STOP]


def asked(text: str) -> dict[str, str]:
    """{word: its term} of a question; if it has none but stop words, these."""
    found = {word: stem(word) for word in words(text)}
    return {word: term for word, term in found.items() if word not in STOP} or found


def weighted(title: str, tags: tuple[str, ...], body: str) -> dict[str, int]:
    """{term: its weight in the note, in units of 1/SCALE}."""
    found: Counter[str] = Counter()
    parts = ((title, TITLE), (" ".join(tags), TAGS), (body, 1), ("\n".join(_HEADING.findall(body)), HEADINGS))
    for text, weight in parts:
        for term in terms(text):
            found[term] += int(weight * SCALE)
    return {term: min(count, 65_535) for term, count in found.items()}
