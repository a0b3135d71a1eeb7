"""Which clients have hung up. A writer that waits for something to write does not notice until it writes."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable

from gevent import monkey

_poll = monkey.get_original("select", "poll")  # gevent's own would wait
HUNG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)  # macOS has no POLLRDHUP


def hung_up(connections: Iterable[socket.socket]) -> set[int]:
    """File descriptors of the connections whose other side is closed; one system call, never waits."""
    looked = _poll()
    for connection in connections:
        if connection.fileno() >= 0:
            looked.register(connection.fileno(), HUNG_UP)
    return {descriptor for descriptor, _ in looked.poll(0)}
