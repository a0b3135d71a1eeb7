"""Scenarios run in a process of its own by `python -m gevent.monkey`: patched as a worker is."""

import os
import sys

import gevent

from models.errors import LeaseLost
from tests.workers.clients.double import Double, Reply, anthropic_events, openai_answer, text_block
from workers.clients import http
from workers.clients.llm.anthropic import Anthropic
from workers.clients.llm.base import Message, Request
from workers.clients.llm.openai import OpenAI

KINDS = {"OpenAI": OpenAI, "Anthropic": Anthropic}
REQUEST = Request("m", (Message("user", "hello"),))


def answer(kind: str) -> list[bytes]:
    return openai_answer("Hel", "lo").chunks if kind == "OpenAI" else anthropic_events(text_block("Hel", "lo"))


def provider(kind: str, double: Double):
    return KINDS[kind](double.url, "sk-test", http.client(allow=(double.place,)))


def thrown_in(kind: str, chunks: str) -> str:
    """A step is cancelled while its call waits for bytes."""
    double = Double()
    double.says(Reply(chunks=answer(kind)[: int(chunks)], hang=True))
    step = gevent.spawn(lambda: list(provider(kind, double).stream(REQUEST)))
    gevent.sleep(0.3)
    step.kill(LeaseLost("cancelled"), timeout=1)
    return f"{type(step.exception).__name__} {double.hung_up.wait(1)}"


def many(kind: str, count: str) -> str:
    """Streams that are all open at the same time."""
    double = Double()
    double.says(Reply(chunks=answer(kind), gap=0.05))
    client = provider(kind, double)
    steps = [gevent.spawn(lambda: len(list(client.stream(REQUEST)))) for _ in range(int(count))]
    gevent.joinall(steps, raise_error=True)
    return str(len(steps))


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    print(globals()[name](*arguments), flush=True)
    os._exit(0)
