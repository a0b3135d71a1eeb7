"""The one way out: every request to another machine goes through here (security, rule 7)."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import httpx2

from models.errors import Forbidden, TooLarge, Unavailable
from workers.clients import egress
from workers.clients.transport import Transport

MAX_BYTES = 10 * 1024 * 1024
CONNECT_SECONDS = 10.0
TOTAL_SECONDS = 60.0


def check(url: str) -> httpx2.URL:
    """The parsed URL. Raises Forbidden if it may not be called, Unavailable if its name has no address."""
    parsed = parse(url)
    try:
        egress.resolve(parsed.host, parsed.port or (443 if parsed.scheme == "https" else 80), ())
    except OSError as error:
        raise Unavailable(f"{parsed.host} cannot be resolved: {error}")
    return parsed


def parse(url: str) -> httpx2.URL:
    """The parsed URL. Raises Forbidden unless it is http or https with a host and without a password."""
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError) as error:
        raise Forbidden(f"not a URL: {error}", code="egress_refused")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise Forbidden("only http and https URLs with a host and without credentials", code="egress_refused")
    return parsed


def origin(url: str) -> tuple[str, str, int]:
    """(scheme, host, port) that a key is bound to."""
    parsed = parse(url)
    return parsed.scheme, parsed.host.lower(), parsed.port or (443 if parsed.scheme == "https" else 80)


def client(allow: tuple[str, ...] = (), timeout: float = TOTAL_SECONDS) -> httpx2.Client:
    """An httpx client bound by the egress rules. `allow`: `host:port` pairs of our own children."""
    return httpx2.Client(
        transport=Transport(allow),
        trust_env=False,
        timeout=httpx2.Timeout(timeout, connect=CONNECT_SECONDS),
        event_hooks={"request": [_refuse_odd_url], "response": [_refuse_foreign_redirect]},
    )


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    content: bytes | None = None,
    max_bytes: int = MAX_BYTES,
    timeout: float = TOTAL_SECONDS,
    via: httpx2.Client | None = None,
) -> httpx2.Response:
    """The whole answer, read; `timeout` is for everything together, redirects stay within the origin.

    Raises Forbidden, TooLarge, or Unavailable if there is no answer.
    """
    caller = via or client()
    sent = caller.build_request(method, url, headers=headers, json=json, content=content)
    sent.extensions["deadline"] = timeout
    try:
        answer = caller.send(sent, stream=True, follow_redirects=True)
        return _read(answer, max_bytes)
    except (httpx2.RequestError, socket.gaierror) as error:
        raise Unavailable(f"{sent.url.host} did not answer: {error}")
    finally:
        if via is None:
            caller.close()


def _read(answer: httpx2.Response, max_bytes: int) -> httpx2.Response:
    try:
        body = bytearray()
        for part in answer.iter_bytes():
            body += part
            if len(body) > max_bytes:
                raise TooLarge(f"{answer.url.host} answered more than {max_bytes} bytes")
    finally:
        answer.close()
    headers = [pair for pair in answer.headers.multi_items() if pair[0] not in ("content-encoding", "content-length")]
    return httpx2.Response(answer.status_code, headers=headers, content=bytes(body), request=answer.request)


def _refuse_odd_url(sent: httpx2.Request) -> None:
    parse(str(sent.url))


def _refuse_foreign_redirect(answer: httpx2.Response) -> None:
    if not answer.has_redirect_location:
        return
    target = answer.url.join(answer.headers["location"])
    if origin(str(target)) != origin(str(answer.url)):
        raise Forbidden(f"{answer.url.host} redirects to another origin", code="egress_refused")
