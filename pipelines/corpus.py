"""What a search looks through, in memory: the words, vectors and facts of every note as arrays.

Notes are only added: a changed one is added again and its old place is dead, until the corpus is made anew. Nothing is
approximate: every note that may be found is compared with the question. What counts of a word (how many notes have it,
how long they are) is counted among the notes that may be found, so a vault says nothing about another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.columns import Column
from pipelines.notes import STATUSES

K1, B = 1.2, 0.6  # of BM25
EMPTY = np.zeros(0, np.int32)
NO_VECTOR = -1.0  # instead of a cosine
FAR = 2**62  # a time that never comes
UNSORTED_SHARE, UNSORTED_LEAST = 0.1, 100_000  # words that may wait for the next sort
DEAD_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Entry:
    """A note as it enters. `facets`: {(name, value)} that filters ask for; `vectors`: one row per passage."""

    key: int
    vault: str
    path: str
    moment: int  # ms, of its last change
    date: int  # ms, what it tells of
    valid_from: int | None
    valid_to: int | None
    status: str
    usefulness: float
    facets: frozenset[tuple[str, str]] = frozenset()
    words: Sequence[str] = ()
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint16))
    vectors: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Occurrences:
    """Terms among `total` notes: {term: (the notes that have it, its weight in each)}."""

    total: int
    found: dict[str, tuple[np.ndarray, np.ndarray]]

    def rarity(self, term: str) -> np.float32:
        """The less often a term occurs, the more it says."""
        count = len(self.found[term][0])
        return np.float32(np.log1p((self.total - count + 0.5) / (count + 0.5)))

    def share(self, term: str) -> float:
        """Its rarity, 1 for a term that no note has."""
        return float(self.rarity(term) / np.log1p((self.total + 0.5) / 0.5))

    @property
    def most(self) -> float:
        """What a note scores at the very most."""
        return float(sum(self.rarity(term) for term in self.found)) * (K1 + 1)


class Corpus:
    def __init__(self, dimensions: int) -> None:
        self.keys, self.moments, self.dates = Column(np.int64), Column(np.int64), Column(np.int64)
        self.valid_from, self.valid_to = Column(np.int64), Column(np.int64)
        self.usefulness, self.lengths = Column(np.float32), Column(np.float32)
        self.alive, self.vaults, self.statuses = Column(bool), Column(np.int32), Column(np.int8)
        self._vault_ids: dict[str, int] = {}
        self.vectors, self.owners = Column(np.float32, dimensions), Column(np.int32)
        self._terms, self._places, self._weights = Column(np.int32), Column(np.int32), Column(np.uint16)
        self._ids: dict[str, int] = {}
        self._facets: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.paths: list[tuple[str, str]] = []  # (vault, path)
        self.where: dict[int, int] = {}  # key -> place
        self._sorted = 0  # how many words the index below knows
        self._order, self._starts = np.zeros(0, np.int64), np.zeros(1, np.int64)

    def __len__(self) -> int:
        return len(self.where)

    @property
    def worn(self) -> bool:
        """Whether so many places are dead that it should be made anew."""
        return self.keys.size > 1000 and len(self.where) < (1 - DEAD_SHARE) * self.keys.size

    # --- filling ---

    def remove(self, key: int) -> None:
        place = self.where.pop(key, None)
        if place is not None:
            self.alive.values[place] = False

    def add(self, entries: Sequence[Entry]) -> None:
        """Puts them in, in the place of those with the same keys."""
        for entry in entries:
            self.remove(entry.key)
        first = self.keys.size
        for column, values in self._columns(entries):
            column.extend(values)
        for place, entry in enumerate(entries, first):
            self.where[entry.key] = place
            self.paths.append((entry.vault, entry.path))
            for facet in entry.facets:
                self._facets[facet].append(place)
        self._add_words(first, entries)
        self._add_vectors(first, entries)

    def _columns(self, entries: Sequence[Entry]) -> Iterable[tuple[Column, list]]:
        yield self.keys, [entry.key for entry in entries]
        yield self.moments, [entry.moment for entry in entries]
        yield self.dates, [entry.date for entry in entries]
        yield self.valid_from, [entry.valid_from if entry.valid_from is not None else -FAR for entry in entries]
        yield self.valid_to, [entry.valid_to if entry.valid_to is not None else FAR for entry in entries]
        yield self.usefulness, [entry.usefulness for entry in entries]
        yield self.lengths, [float(entry.weights.sum()) for entry in entries]
        yield self.alive, [True] * len(entries)
        yield self.vaults, [self._vault_ids.setdefault(entry.vault, len(self._vault_ids)) for entry in entries]
        yield self.statuses, [STATUSES.index(entry.status) for entry in entries]

    def _add_words(self, first: int, entries: Sequence[Entry]) -> None:
        ids = self._ids
        self._terms.extend([ids.setdefault(word, len(ids)) for entry in entries for word in entry.words])
        counts = [len(entry.words) for entry in entries]
        self._places.extend(np.repeat(np.arange(first, first + len(entries), dtype=np.int32), counts))
        self._weights.extend(np.concatenate([entry.weights for entry in entries]) if entries else [])

    def _add_vectors(self, first: int, entries: Sequence[Entry]) -> None:
        for place, entry in enumerate(entries, first):
            if entry.vectors is not None and len(entry.vectors):
                self.vectors.extend(entry.vectors)
                self.owners.extend([place] * len(entry.vectors))

    # --- asking ---

    def in_vaults(self, vaults: Iterable[str]) -> np.ndarray:
        """Which notes are in one of them."""
        return np.isin(self.vaults.values, [self._vault_ids[vault] for vault in vaults if vault in self._vault_ids])

    def of_status(self, *statuses: str) -> np.ndarray:
        return np.isin(self.statuses.values, [STATUSES.index(status) for status in statuses])

    def any_of(self, facets: Iterable[tuple[str, str]]) -> np.ndarray:
        """Which notes have one of them."""
        mask = np.zeros(self.keys.size, bool)
        for facet in facets:
            mask[self._facets.get(facet, [])] = True
        return mask

    def look_up(self, terms: Iterable[str], allowed: np.ndarray) -> Occurrences:
        """Where the terms stand among the notes that are `allowed`."""
        known = dict(self._postings(terms))
        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for term in terms:
            places, weights = known.get(term, (EMPTY, EMPTY))
            mine = allowed[places]
            found[term] = places[mine], weights[mine].astype(np.float32)
        return Occurrences(int(allowed.sum()), found)

    def keyword_scores(self, terms: Occurrences, allowed: np.ndarray) -> np.ndarray:
        """BM25 of every note, 0 where none of the terms occurs."""
        scores = np.zeros(self.keys.size, np.float32)
        if not terms.total:
            return scores
        lengths = self.lengths.values
        norms = K1 * (1 - B + B * lengths / max(float(lengths[allowed].mean()), 1.0))
        for term, (places, weights) in terms.found.items():
            scores[places] += terms.rarity(term) * weights * (K1 + 1) / (weights + norms[places])
        return scores

    def _postings(self, terms: Iterable[str]) -> Iterable[tuple[str, tuple[np.ndarray, np.ndarray]]]:
        """(term, (the notes that have it, its weight in each)) of those that are known."""
        self._sort()
        late = slice(self._sorted, self._terms.size)
        late_terms = self._terms.values[late]
        for term in terms:
            id = self._ids.get(term)
            if id is None:
                continue
            found = self._order[self._starts[id] : self._starts[id + 1]] if id + 1 < len(self._starts) else ()
            extra = np.flatnonzero(late_terms == id) + self._sorted
            spots = np.concatenate([found, extra]).astype(np.int64)
            yield term, (self._places.values[spots], self._weights.values[spots])

    def _sort(self) -> None:
        waiting = self._terms.size - self._sorted
        if waiting > max(UNSORTED_LEAST, UNSORTED_SHARE * self._sorted):
            terms = self._terms.values
            self._order = np.argsort(terms, kind="stable").astype(np.int32)
            self._starts = np.searchsorted(terms[self._order], np.arange(len(self._ids) + 1))
            self._sorted = self._terms.size

    def semantic_scores(self, vector: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """The cosine of every note's best passage, -1 where there is none or it is not `allowed`."""
        scores = np.full(self.keys.size, NO_VECTOR, np.float32)
        if self.vectors.size:
            owners = self.owners.values  # in order
            firsts = np.flatnonzero(np.diff(owners, prepend=-1))
            scores[owners[firsts]] = np.maximum.reduceat(self.vectors.values @ vector, firsts)
            scores[~allowed] = NO_VECTOR
        return scores

    def best_passage(self, place: int, vector: np.ndarray) -> int:
        """Which passage of the note is closest."""
        first, last = np.searchsorted(self.owners.values, (place, place + 1))
        mine = self.vectors.values[first:last]
        return int(np.argmax(mine @ vector)) if len(mine) else 0
