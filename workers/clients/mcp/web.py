"""The way to an MCP server over HTTP: under the egress rules, and with bounded answers."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping

import httpx2

from models.errors import Forbidden, TooLarge, Unavailable
from workers.clients import egress, http

MAX_BYTES = 8 * 1024 * 1024  # of one answer that is not a stream of events
CONNECT_SECONDS = 10.0
STREAM_SECONDS = 3600.0  # without a word on a stream of events


def client(
    headers: Mapping[str, str] | None = None, timeout: object = None, auth: httpx2.Auth | None = None
) -> httpx2.AsyncClient:
    """An AsyncClient as the SDK asks for one; its own idea of time-outs is not asked for."""
    limits = httpx2.Timeout(STREAM_SECONDS, connect=CONNECT_SECONDS, write=CONNECT_SECONDS)
    return httpx2.AsyncClient(
        transport=Transport(asks=auth is None), headers=headers, auth=auth, timeout=limits, trust_env=False
    )


class Transport(httpx2.AsyncBaseTransport):
    """Resolves a name once, checks every address, and connects to that one. `asks`: a refusal is the end."""

    def __init__(self, asks: bool = True) -> None:
        self._asks = asks
        self._inner = httpx2.AsyncHTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        parsed = http.parse(str(request.url))
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        try:
            found = await asyncio.to_thread(egress.resolve, parsed.host, port, ())
        except OSError as error:
            raise httpx2.ConnectError(f"{parsed.host} cannot be resolved: {error}") from error
        answer = await self._inner.handle_async_request(_to_address(request, found[0][4][0]))
        if self._asks and answer.status_code in (401, 403):
            await answer.aclose()
            raise Unavailable(
                f"{parsed.host} answered {answer.status_code}: it wants a header, or a login (oauth/start)"
            )
        return _bounded(answer)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _to_address(request: httpx2.Request, address: str) -> httpx2.Request:
    """The same request, sent to that address; certificates are still checked against the name."""
    literal = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
    headers = request.headers.copy()
    headers["accept-encoding"] = "identity"  # what is unpacked has no bounds
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=literal),
        headers=headers,
        stream=request.stream,
        extensions=request.extensions | {"sni_hostname": request.url.host},
    )


def _bounded(answer: httpx2.Response) -> httpx2.Response:
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise Forbidden("the server answers in a packed form that was not asked for", "egress_refused")
    is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
    if not is_stream:
        answer.stream = _Capped(answer.stream)
    return answer


class _Capped(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._inner:
            size += len(part)
            if size > MAX_BYTES:
                raise TooLarge(f"the server answered more than {MAX_BYTES} bytes")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()
