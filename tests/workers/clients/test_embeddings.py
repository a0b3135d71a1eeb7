"""Embedding models: the built-in one, and any OpenAI-compatible server."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from environs.exceptions import EnvError

from models.errors import Forbidden, Unavailable
from workers.clients import embeddings


@pytest.fixture
def server(setting):
    """An OpenAI-compatible `/embeddings` on loopback; `answer` makes its reply from the request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.seen.append((self.path, self.headers["Authorization"], asked))
            body = json.dumps(self.server.answer(asked)).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    running.seen, running.answer = [], lambda asked: rows([[3.0, 4.0]] * len(asked["input"]))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{running.server_port}"
    setting(
        EMBEDDINGS_URL=f"http://{address}/v1",
        EMBEDDINGS_MODEL="tiny",
        EMBEDDINGS_API_KEY="key-of-the-tests",
        EMBEDDINGS_DIMENSIONS="2",
        EGRESS_ALLOW=address,
    )
    yield running
    running.shutdown()
    running.server_close()


def rows(vectors: list) -> dict:
    """The reply of a server, its rows in any order."""
    return {"data": [{"index": n, "embedding": vector} for n, vector in enumerate(vectors)][::-1]}


@pytest.fixture(params=["minilm", "static"])
def built_in(request, setting):
    setting(EMBEDDINGS=request.param)
    return embeddings.current()


def test_the_built_in_models_need_no_network_and_know_what_is_alike(built_in):
    cats, kittens, taxes = built_in.embed(["cats sleep", "kittens nap", "file your tax return"])
    assert cats.shape == (built_in.dimensions,) and np.linalg.norm(cats) == pytest.approx(1, abs=1e-5)
    assert cats @ kittens > 0.3 > cats @ taxes


def test_a_text_is_embedded_alike_alone_and_among_others(built_in):
    texts = [f"number {n} of {'very ' * (n % 7)}many" for n in range(300)]
    alone = [built_in.embed([texts[n]])[0] for n in (0, 150, 299)]
    assert np.allclose(built_in.embed(texts)[[0, 150, 299]], alone, atol=1e-5)


def test_a_text_without_words_is_nowhere_and_any_other_somewhere(built_in):
    vectors = built_in.embed(["", "東京", "word " * 5000, "!"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([0, 1, 1, 1], abs=1e-5)


def test_word_order_has_a_meaning_to_the_model_that_is_built_in():
    bites, bitten = embeddings.current().embed(["the dog bites the man", "the man bites the dog"])
    assert bites @ bitten < 0.999


def test_long_texts_are_embedded_a_few_at_a_time(setting, monkeypatch):
    model, sizes = embeddings.current(), []
    whole = model._meanings
    monkeypatch.setattr(
        model, "_meanings", lambda tokens: sizes.append((len(tokens), len(tokens[-1]))) or whole(tokens)
    )
    model.embed(["word " * 5000] * 20 + ["a word"] * 20)
    assert sum(count for count, _ in sizes) == 40 and all(count * longest <= 2048 for count, longest in sizes)


def test_a_model_that_does_not_exist_is_refused(setting):
    setting(EMBEDDINGS="large")
    with pytest.raises(EnvError, match="minilm, static"):
        embeddings.current()


def test_a_server_is_asked_with_its_key_and_its_rows_are_put_in_order(server):
    server.answer = lambda asked: rows([[0.0, 2.0], [5.0, 0.0]])
    found = embeddings.current().embed(["a", "b"])
    path, key, asked = server.seen[0]
    assert (path, key) == ("/v1/embeddings", "Bearer key-of-the-tests")
    assert (asked["model"], asked["input"]) == ("tiny", ["a", "b"])
    assert found.tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    "reply",
    [{}, {"data": []}, rows([[1.0]]), rows([[1.0, float("inf")]]), rows([["a", "b"]]), {"data": [{"index": 0}]}],
)
def test_an_answer_that_is_none_is_an_error_of_the_server(server, reply):
    server.answer = lambda asked: reply
    with pytest.raises(Unavailable):
        embeddings.current().embed(["a"])


def test_a_private_address_is_not_asked_unless_it_is_allowed(server, setting):
    setting(EGRESS_ALLOW="")
    with pytest.raises(Forbidden):
        embeddings.current().embed(["a"])
