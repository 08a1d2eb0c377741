"""Digests under which things are counted, with a salt that no other process has."""

from __future__ import annotations

import secrets
from hashlib import blake2b

_SALT = secrets.token_bytes(16)
_BYTES = 12


def digest(*parts: str) -> bytes:
    """The same for the same parts, in this process alone."""
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=_BYTES, key=_SALT).digest()
