"""Who sent a request, and from where, as far as screens look at it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

_PREFIXES = {4: 24, 6: 48}
"""Addresses of one network belong to one owner, as a rule."""


@dataclass(frozen=True, slots=True)
class Origin:
    """From where a request was sent, as far as it is known."""

    forwarded: tuple[str, ...] = ()
    """Addresses of X-Forwarded-For, the nearest last."""
    agent: str | None = None
    """As the caller names its own software."""

    def network(self, proxies: int) -> str | None:
        """The network of the address that the farthest trusted proxy saw."""
        return _network(self.forwarded[-proxies]) if len(self.forwarded) >= proxies else None


UNKNOWN = Origin()


@dataclass(frozen=True, slots=True)
class Sender:
    tenant: str
    key: str
    """The identity's subject."""
    origin: Origin = UNKNOWN


def _network(address: str) -> str | None:
    host = address.strip().strip('"')
    if host.startswith("["):  # of IPv6 with a port
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        known = ipaddress.ip_address(host)
        return str(ipaddress.ip_network((int(known), _PREFIXES[known.version]), strict=False))
    except ValueError:
        return None
