"""HTTP/1.1 for httpx clients on the standard library's parser: half the cost per streamed chunk of the usual one."""

from __future__ import annotations

import collections
import contextlib
import http.client
import select
import socket
import threading
import time
from collections.abc import Iterator

import httpx2

from workers.clients import egress

READ_BYTES = 65_536
MAX_BYTES = 64 * 1024 * 1024  # of any answer: libraries read error bodies without a limit of their own
IDLE_SECONDS = 30.0  # a kept connection older than this is not used again
IDLE_PER_ORIGIN = 100
END_SECONDS = 0.05  # how long closing waits for the end mark before it hangs up

Origin = tuple[str, str, int]


class Transport(httpx2.BaseTransport):
    """Any number of connections at once, idle ones kept. `allow`: `host:port` pairs beside the operator's.

    The request extension `deadline` (seconds) hangs up whatever is still going on then.
    """

    def __init__(self, allow: tuple[str, ...] = ()) -> None:
        self._allow = allow
        self._idle: dict[Origin, list[tuple[float, http.client.HTTPConnection]]] = collections.defaultdict(list)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        origin = _origin(request.url)
        timeouts = request.extensions.get("timeout", {})
        with _translated(httpx2.ConnectTimeout, httpx2.ConnectError):
            connection = self._reuse(origin) or self._open(origin, timeouts.get("connect"))
        body = _Body(self, origin, connection, request.extensions.get("deadline"))
        try:
            answer = _exchange(connection, request, timeouts.get("read"))
        except BaseException:
            body.hang_up()
            raise
        body.answer = answer
        return httpx2.Response(answer.status, headers=answer.getheaders(), stream=body)

    def close(self) -> None:
        while self._idle:
            for _since, connection in self._idle.popitem()[1]:
                connection.close()

    def keep(self, origin: Origin, connection: http.client.HTTPConnection) -> None:
        """Take back a connection whose answer was read to its end."""
        if connection.sock is not None and len(self._idle[origin]) < IDLE_PER_ORIGIN:
            self._idle[origin].append((time.monotonic(), connection))
        else:
            connection.close()

    def _reuse(self, origin: Origin) -> http.client.HTTPConnection | None:
        idle = self._idle[origin]
        while idle:
            since, connection = idle.pop()
            if time.monotonic() - since < IDLE_SECONDS and not _is_readable(connection.sock):
                return connection
            connection.close()
        return None

    def _open(self, origin: Origin, timeout: float | None) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(origin[1], origin[2])
        connection.sock = egress.dial(*origin, self._allow, timeout)
        return connection


class _Body(httpx2.SyncByteStream):
    """The bytes of an answer; closing it early hangs up."""

    def __init__(self, transport: Transport, origin: Origin, connection: http.client.HTTPConnection, deadline) -> None:
        self._transport, self._origin, self._connection = transport, origin, connection
        self.answer: http.client.HTTPResponse | None = None
        self._alarm = threading.Timer(deadline, _shut, [connection.sock]) if deadline else None
        if self._alarm:
            self._alarm.start()

    def __iter__(self) -> Iterator[bytes]:
        read, size = self.answer.read1, 0
        with _translated(httpx2.ReadTimeout, httpx2.ReadError):
            while data := read(READ_BYTES):
                size += len(data)
                if size > MAX_BYTES:
                    raise OSError(f"the answer is larger than {MAX_BYTES} bytes")
                yield data
            if self.answer.length:
                raise http.client.IncompleteRead(b"", self.answer.length)

    def close(self) -> None:
        if self._connection is None:
            return
        if not self._is_ended():
            self.hang_up()
            return
        self.answer.close()
        self._transport.keep(self._origin, self._release())

    def _is_ended(self) -> bool:
        """Whether nothing is left to read: a reader that knows the last line leaves the end mark unread."""
        if self.answer.isclosed() or self.answer.length == 0:
            return True
        if self._connection.sock is None:  # the answer ends where the connection does
            return False
        self._connection.sock.settimeout(END_SECONDS)
        try:
            return not self.answer.read1(1) and not self.answer.length
        except (OSError, http.client.HTTPException):
            return False

    def hang_up(self) -> None:
        self._release().close()
        if self.answer is not None:
            self.answer.close()

    def _release(self) -> http.client.HTTPConnection:
        connection, self._connection = self._connection, None
        if self._alarm:
            self._alarm.cancel()
        return connection


def _exchange(
    connection: http.client.HTTPConnection, request: httpx2.Request, timeout: float | None
) -> http.client.HTTPResponse:
    with _translated(httpx2.ReadTimeout, httpx2.ReadError):
        connection.sock.settimeout(timeout)
        connection.putrequest(request.method, request.url.raw_path.decode(), skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.raw:
            connection.putheader(name, value)
        connection.endheaders(iter(request.stream), encode_chunked="transfer-encoding" in request.headers)
        return connection.getresponse()


@contextlib.contextmanager
def _translated(timeout: type[httpx2.TimeoutException], network: type[httpx2.NetworkError]):
    """Errors of sockets and of the parser as those that users of httpx expect."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except OSError as error:
        raise network(str(error)) from error
    except http.client.HTTPException as error:
        raise httpx2.RemoteProtocolError(repr(error)) from error


def _origin(url: httpx2.URL) -> Origin:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}[url.scheme]


def _is_readable(connection: socket.socket) -> bool:
    """An idle connection that has something to say was closed by the other side."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it ended in the same moment
        connection.shutdown(socket.SHUT_RDWR)
