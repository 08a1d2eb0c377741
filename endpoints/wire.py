"""What passes between the protocols and the HTTP client, free of any HTTP library."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from yarl import URL


class Request(NamedTuple):
    """One request, before credentials and correlation headers are added."""

    url: URL
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take."""

    seconds: float
    """From the first step to the last byte of the answer, connecting included."""
    connect_seconds: float
    answer_bytes: int
    """Of the decompressed body."""


class Reply(NamedTuple):
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


class BrokenStream(Exception):
    """An answer that had begun did not come to its end; the text says why, in our own words."""


class Stream(Protocol):
    """A successful answer whose body is on its way."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Looked up without regard to case."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body's pieces as they arrive. Raises BrokenStream."""
        ...

    async def aclose(self) -> None:
        """Take no more of it. May be called again."""
        ...


class Wire(Protocol):
    """Carries one request; the HTTP client, or a scripted fake in tests."""

    async def send(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Reply | NoReply:
        """Send once, never again. `headers` are added to the request's own."""
        ...

    async def open(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Stream | Reply | NoReply:
        """As `send`, but a successful answer is returned when its head is there. `limits.seconds`
        then holds for all of its body."""
        ...

    async def aclose(self) -> None: ...
