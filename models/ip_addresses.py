"""Which IP addresses are public: of everything that a gateway may read out of one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IPv6 ranges that carry an IPv4 address in their last 32 bits
TRANSLATED = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))


def is_public(address: Address) -> bool:
    return all(_is_global(each) for each in _meanings(address))


def _meanings(address: Address) -> Iterator[Address]:
    """The address and every IPv4 address that a gateway may read out of it."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        yield from filter(None, (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())))
        if any(address in network for network in TRANSLATED):
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _is_global(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address in TRANSLATED[0]):
        return True  # judged by the IPv4 address inside
    return address.is_global and not address.is_multicast and not address.is_reserved
