"""Ports of this machine."""

from __future__ import annotations

import errno
import secrets
import socket

HOST = "127.0.0.1"
# Below the range from which Linux and macOS take ports for outgoing connections, so that none of
# those takes a port between its choice here and the child's bind.
_LOWEST, _HIGHEST = 20_000, 32_000
_TRIES = 200


def free_port() -> int:
    """A port on which nothing listens, and which nothing is likely to take soon."""
    for _ in range(_TRIES):
        port = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST)
        if not in_use(port):
            return port
    msg = f"no free port between {_LOWEST} and {_HIGHEST}"
    raise OSError(errno.EADDRINUSE, msg)


def in_use(port: int) -> bool:
    """Whether something listens on the port, here or on every interface."""
    with socket.socket() as probe:
        # As servers do, so that connections of a server that just ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False
