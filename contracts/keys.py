"""API keys as text: `sk-sluice-ID-SECRET`. Only the digest of a key is ever kept.

ID is 16 hexadecimal digits and no secret: logs and the audit name a key by it. SECRET is 256 bits
as 43 characters of base64url. So nothing is won by a slow hash: nobody tries 2^256 of them.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

PREFIX = "sk-sluice-"
_KEY = re.compile(r"sk-sluice-([0-9a-f]{16})-[A-Za-z0-9_-]{43}", re.ASCII)
_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A text that has the form of a key."""

    id: str
    digest: str
    """SHA-256 of the whole text, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was made just now."""

    id: str
    text: str
    """Shown once, to whoever asked for the key; never logged, never kept."""
    digest: str


def new_key() -> NewKey:
    """A key that nobody has had."""
    key_id = secrets.token_hex(8)
    text = f"{PREFIX}{key_id}-{secrets.token_urlsafe(32)}"
    return NewKey(key_id, text, _digest(text))


def read_key(text: str) -> PresentedKey | None:
    """None when it cannot be a key."""
    found = _KEY.fullmatch(text)
    return None if found is None else PresentedKey(found[1], _digest(text))


def is_key_id(text: str) -> bool:
    """Whether a key could have this id."""
    return _ID.fullmatch(text) is not None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
