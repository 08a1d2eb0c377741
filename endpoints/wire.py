"""What passes between the protocols and the HTTP client, free of any HTTP library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from yarl import URL


@dataclass(frozen=True, slots=True)
class Request:
    """One POST, before credentials and correlation headers are added."""

    url: URL
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take."""

    seconds: float
    """From the first step to the last byte of the answer, connecting included."""
    connect_seconds: float
    answer_bytes: int
    """Of the decompressed body."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer came, whatever it says."""

    status: int
    headers: Mapping[str, str]
    """Looked up without regard to case."""
    body: bytes | None
    """None when it was larger than `Limits.answer_bytes`; such a body is not kept."""


@dataclass(frozen=True, slots=True)
class NoReply:
    """No whole answer came."""

    sent: bool
    """Whether any part of the request may have reached the other side."""
    reason: str
    status: int | None = None
    """Set when the connection broke inside the body of a successful answer."""


class Wire(Protocol):
    """Carries one request; the HTTP client, or a scripted fake in tests."""

    async def send(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Reply | NoReply:
        """POST once, never again. `headers` are added to the request's own."""
        ...

    async def aclose(self) -> None: ...
