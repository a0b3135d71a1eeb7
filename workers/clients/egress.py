"""Which addresses may be connected to, and the connecting: a name is resolved once, and that address is dialled."""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
from collections.abc import Collection

from models import config
from models.errors import Forbidden
from models.ip_addresses import is_public


def dial(scheme: str, host: str, port: int, allow: Collection[str], timeout: float | None) -> socket.socket:
    """A connected socket, with TLS for https. Raises Forbidden, or OSError if nobody answers."""
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _name, address in resolve(host, port, allow):
        connection = socket.socket(family, kind, protocol)
        try:
            return _connect(connection, address, host if scheme == "https" else None, timeout)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
    raise failure


def resolve(host: str, port: int, allow: Collection[str]) -> list[tuple]:
    """`getaddrinfo` answers. Raises Forbidden if any of them is not public and `host:port` is not allowed."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if place(host, port) in {*map(str.lower, config.get().egress_allow), *allow}:
        return found
    for *_, address in found:
        if not is_public(ipaddress.ip_address(address[0])):
            raise Forbidden(
                f"{place(host, port)} is not a public address; EGRESS_ALLOW can let it through", code="egress_refused"
            )
    return found


def place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host.lower()}:{port}"


def _connect(connection: socket.socket, address: tuple, tls_name: str | None, timeout: float | None) -> socket.socket:
    connection.settimeout(timeout)
    connection.connect(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls_name is None:
        return connection
    return _tls().wrap_socket(connection, server_hostname=tls_name)


@functools.cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
