"""Search: every signal over the notes in memory, fused into one score; exact, and the same on every database."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import structlog

from models import database, memory_links
from models.base import now_ms
from models.errors import DjinnBotError
from models.settings import get as setting
from pipelines import periods, ranking, words
from pipelines.corpus import NO_VECTOR, Corpus
from pipelines.notes import ACTIVE, SUPERSEDED
from pipelines.ranking import GRAPH, KEYWORD, SEMANTIC, TIME, Signal
from workers.clients import embeddings
from workers.clients.embeddings import Embedder
from workers.memory_corpus import kept

log = structlog.get_logger(__name__)

HYBRID, MODES = "hybrid", ("hybrid", "keyword", "semantic")


@dataclass(frozen=True, slots=True)
class Query:
    """`vaults` None: all. `filters`: {category, type, tag: values}, AND between, OR within."""

    text: str
    vaults: Sequence[str] | None = None
    limit: int = 20
    filters: dict[str, Sequence[str]] = field(default_factory=dict)
    mode: str = HYBRID
    as_of: int | None = None  # ms
    include_superseded: bool = False
    min_score: float = 0.0
    now: int | None = None  # ms, when it is asked


@dataclass(slots=True)
class Hit:
    """`signals`: {name: {rank, score}}; `passage`: the closest one; `via`: keys of the notes that link to it.

    `evident`: by itself, not only by comparison, it has to do with the question.
    """

    key: int
    score: float
    rrf: float
    recency: float
    usefulness: float
    passage: int
    signals: dict[str, dict[str, Any]]
    via: list[int]
    evident: bool


@dataclass(slots=True)
class Found:
    hits: list[Hit]
    mode: str
    terms: list[str]
    weights: dict[str, float]
    period: periods.Period | None
    ms: float


def search(query: Query) -> Found:
    """The best notes, best first. Raises Unavailable if the database is away."""
    started, now = time.perf_counter(), query.now or now_ms()
    period = periods.find(query.text, now) if query.mode == HYBRID else None
    asked = _Asked(period.rest if period else query.text, embeddings.current() if query.mode != KEYWORD else None)
    with kept.using(embeddings.current()) as corpus:
        search = _Search(query, corpus, asked, period, now)
        hits = search.hits() if len(corpus) else []
    ms = 1000 * (time.perf_counter() - started)
    return Found(hits, search.mode, search.terms, search.weights, search.period, ms)


class _Asked:
    """The meaning of a question: as it is and, for a model that knows no order of words, with its rare words louder.

    It is embedded before the notes are locked: a model may be far away.
    """

    def __init__(self, text: str, embedder: Embedder | None) -> None:
        self._embedder = embedder
        self._plain = self._embedded(text) if embedder is not None else None

    def _embedded(self, text: str) -> np.ndarray | None:
        try:
            return self._embedder.embed([text])[0]
        except DjinnBotError as error:
            log.warning("question_not_embedded", error=str(error))
            return None

    def vector(self, shares: dict[str, float]) -> np.ndarray | None:
        """`shares`: how rare each of its words is. None: only the words can be compared."""
        if self._plain is None or not self._embedder.bag_of_words:
            return self._plain
        louder = self._embedder.embed([ranking.emphasised(shares)])[0]
        mixed = (1 - ranking.LOUDER) * self._plain + ranking.LOUDER * louder
        return embeddings.unit(mixed[None, :])[0]


class _Search:
    """One question over the notes as they are now."""

    def __init__(self, query: Query, corpus: Corpus, asked: _Asked, period: periods.Period | None, now: int) -> None:
        self.query, self.corpus, self.period, self.now = query, corpus, period, now
        self.allowed = self._allowed()
        self.words = words.asked(period.rest if period and period.relative else query.text)
        self.occurrences = corpus.look_up(self.terms, self.allowed)
        self.vector = asked.vector({word: self.occurrences.share(term) for word, term in self.words.items()})
        self.mode = KEYWORD if self.vector is None else query.mode
        self.weights = self._weights()
        self.signals: dict[str, Signal] = {}
        self.via: dict[int, list[int]] = {}

    @property
    def terms(self) -> list[str]:
        return list(dict.fromkeys(self.words.values()))

    def _weights(self) -> dict[str, float]:
        own = {self.mode: 1.0} if self.mode != HYBRID else dict(ranking.WEIGHTS)
        return own | ({TIME: ranking.TIME_WEIGHT} if self.period else {})

    def _allowed(self) -> np.ndarray:
        """Which notes may be found."""
        corpus, query = self.corpus, self.query
        mask = corpus.alive.values.copy()
        if query.vaults is not None:
            mask &= corpus.in_vaults(query.vaults)
        for name, values in query.filters.items():
            mask &= corpus.any_of((name, value) for value in values)
        if query.include_superseded:
            return mask & corpus.of_status(ACTIVE, SUPERSEDED)
        moment = query.as_of if query.as_of is not None else self.now
        mask &= (corpus.valid_from.values <= moment) & (moment < corpus.valid_to.values)
        if query.as_of is None:
            return mask & corpus.of_status(ACTIVE)
        return mask & corpus.of_status(ACTIVE, SUPERSEDED)

    def hits(self) -> list[Hit]:
        if KEYWORD in self.weights:
            self.signals[KEYWORD] = self._by_words()
        if SEMANTIC in self.weights:
            scores = self.corpus.semantic_scores(self.vector, self.allowed)
            self.signals[SEMANTIC] = ranking.ranked(scores, ranking.SEMANTIC_FLOOR)
        if self.mode == HYBRID:  # a note whose vectors are still to come counts by its words alone
            bare = self.signals[SEMANTIC].scores <= NO_VECTOR
            self.signals[SEMANTIC].ranks[bare] = self.signals[KEYWORD].ranks[bare]
        first = ranking.fuse(self.signals, {name: self.weights[name] for name in self.signals})
        if GRAPH in self.weights:
            self.signals[GRAPH] = ranking.ranked(self._linked(first))
        if TIME in self.weights:
            self.signals[TIME] = ranking.ranked(self._in_time(first))
        return self._best(ranking.fuse(self.signals, self.weights))

    def _by_words(self) -> Signal:
        scores = self.corpus.keyword_scores(self.occurrences, self.allowed)
        if self.mode != HYBRID:
            return ranking.ranked(scores)
        return ranking.ranked_with_slack(scores, self.occurrences.most)

    def _linked(self, first: np.ndarray) -> np.ndarray:
        """How much the best notes say that a note goes with them: what those that link to it, or it to them, score."""
        best = _top(first, ranking.SOURCES)
        best = best[np.lexsort((-self.corpus.moments.values[best], -first[best]))][: ranking.SOURCES]
        found = np.zeros(self.corpus.keys.size, np.float32)
        with database.connection():
            near = memory_links.neighbours([int(key) for key in self.corpus.keys.values[best]])
        for source, others in near.items():
            for place in (self.corpus.where.get(key) for key in others):
                if place is not None and self.allowed[place]:
                    found[place] += first[self.corpus.where[source]]
                    self.via.setdefault(place, []).append(source)
        return found

    def _in_time(self, first: np.ndarray) -> np.ndarray:
        """Those that tell of the time that was asked for, the better ones first."""
        dates = self.corpus.dates.values
        inside = self.allowed & (dates >= self.period.start) & (dates < self.period.stop)
        return inside * (first + np.float32(1e-6))

    def _best(self, rrf: np.ndarray) -> list[Hit]:
        """The best by their scores, of equal ones the newer, then by path."""
        corpus, limit = self.corpus, self.query.limit
        places = _top(rrf, limit, ranking.PLAIN)
        moments = corpus.moments.values[places]
        recent = ranking.recency(moments, self.now, setting("memoryRecencyHalfLifeDays"))
        scores = ranking.score(rrf[places], recent, corpus.usefulness.values[places])
        last = np.partition(scores, -limit)[-limit] if len(scores) > limit else 0.0
        good = np.flatnonzero((scores >= last) & (scores >= self.query.min_score)).tolist()
        order = sorted(good, key=lambda i: (-scores[i], -moments[i], corpus.paths[places[i]]))[:limit]
        return [self._hit(int(places[i]), float(rrf[places[i]]), float(recent[i]), float(scores[i])) for i in order]

    def _hit(self, place: int, rrf: float, recent: float, score: float) -> Hit:
        return Hit(
            key=int(self.corpus.keys.values[place]),
            score=score,
            rrf=rrf,
            recency=recent,
            usefulness=float(self.corpus.usefulness.values[place]),
            passage=self.corpus.best_passage(place, self.vector) if self.vector is not None else 0,
            signals=self._explained(place),
            via=self.via.get(place, []),
            evident=self._evident(place),
        )

    def _evident(self, place: int) -> bool:
        words, meaning = self.signals.get(KEYWORD), self.signals.get(SEMANTIC)
        by_words = words is not None and words.scores[place] >= ranking.EVIDENT_SHARE * self.occurrences.most
        return bool(by_words or (meaning is not None and meaning.scores[place] >= ranking.EVIDENT_COSINE))

    def _explained(self, place: int) -> dict[str, dict[str, Any]]:
        return {
            name: {"rank": int(signal.ranks[place]), "score": float(signal.scores[place])}
            for name, signal in self.signals.items()
            if signal.ranks[place] and signal.scores[place] > NO_VECTOR
        }


def _top(values: np.ndarray, count: int, share: float = 1.0) -> np.ndarray:
    """Places of the `count` best values, and of all that come close enough to them (`share`) to overtake them."""
    if len(values) <= count:
        return np.flatnonzero(values > 0)
    last = np.partition(values, -count)[-count] * np.float32(share)
    return np.flatnonzero((values >= last) & (values > 0))
