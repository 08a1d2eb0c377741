"""The one HTTP client: docs/decisions/0002-one-http-client.md says why it is aiohttp.

Addresses come from deployments.yaml alone. No redirect is followed, no proxy is taken from the
environment and no cookie is kept, so that nothing a server says decides where a prompt goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client import _RequestContextManager

from endpoints.wire import BrokenStream, Limits, NoReply, Reply, Request, Stream

MAX_CONNECTIONS = 1000
MAX_CONNECTIONS_PER_HOST = 500
"""An Azure ML endpoint takes about 500 connections a second."""
KEEP_ALIVE_SECONDS = 4.0
"""Below the 5 s after which uvicorn, the soonest of the field's servers, closes an idle connection.
A request that meets such a close on its way has an unknown outcome, so it must be rare."""
CHUNK = 64 * 1024

_FAILURES = (aiohttp.ClientError, OSError, TimeoutError)


class HttpClient:
    """A session made at the first request, in the loop that makes it."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._limits: Limits | None = None
        self._timeout = aiohttp.ClientTimeout()

    async def send(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Reply | NoReply:
        """Send once, never again. `headers` are added to the request's own."""
        body = _Body(request.body)
        status: int | None = None
        try:
            async with self._begin(request, body, headers, limits) as response:
                status = response.status
                content = await _read(response, limits.answer_bytes)
        except _FAILURES as error:
            if status is not None and not 200 <= status < 300:
                return Reply(status, response.headers, b"")  # the status alone says enough
            return NoReply(body.begun, _reason(error, body.begun), status)
        return Reply(status, response.headers, content)

    async def open(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Stream | Reply | NoReply:
        """As `send`, but a successful answer is returned when its head is there."""
        body = _Body(request.body)
        try:
            response = await self._begin(request, body, headers, limits)
        except _FAILURES as error:
            return NoReply(body.begun, _reason(error, body.begun))
        if 200 <= response.status < 300:
            return _Stream(response, limits.answer_bytes)
        async with response:
            try:
                content = await _read(response, limits.answer_bytes)
            except _FAILURES:
                content = b""
            return Reply(response.status, response.headers, content)

    def _begin(
        self, request: Request, body: _Body, headers: Mapping[str, str], limits: Limits
    ) -> _RequestContextManager:
        return self._open_session().request(
            request.method,
            request.url,
            data=body,
            headers={**request.headers, **headers},
            allow_redirects=False,
            timeout=self._timeout_of(limits),
        )

    def _timeout_of(self, limits: Limits) -> aiohttp.ClientTimeout:
        """The same as for the last request, if its limits were the same."""
        if limits is not self._limits:
            self._limits = limits
            self._timeout = aiohttp.ClientTimeout(
                total=limits.seconds,
                sock_connect=limits.connect_seconds,
                ceil_threshold=limits.seconds + 1,  # to the moment, not to the next second
            )
        return self._timeout

    async def aclose(self) -> None:
        """Close every connection. A later request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None:
            self._loop = loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=MAX_CONNECTIONS,
                    limit_per_host=MAX_CONNECTIONS_PER_HOST,
                    keepalive_timeout=KEEP_ALIVE_SECONDS,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        elif loop is not self._loop:
            raise RuntimeError("Endpoints belong to the event loop of their first call.")
        return self._session


class _Stream:
    """The body of a response, of at most so many bytes."""

    def __init__(self, response: aiohttp.ClientResponse, most: int) -> None:
        self._response = response
        self._most = most
        self.status = response.status
        self.headers = response.headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for piece in self._response.content.iter_any():
                size += len(piece)
                if size > self._most:
                    raise BrokenStream("answer over max_response_bytes")
                yield piece
        except _FAILURES as error:
            raise BrokenStream(_reason(error, sent=True)) from None
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """What is left is not read: the connection serves again only when it was at its end."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class _Body(aiohttp.Payload):
    """A request body that knows whether any of it may have left.

    aiohttp holds the head of a request back until the first piece of its body, so before that
    nothing was sent. The body goes out in pieces, for a large one not to sit in memory twice.
    """

    _value: bytes

    def __init__(self, value: bytes) -> None:
        super().__init__(value)
        self._size: int = len(value)
        self.begun = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self.begun = True
        if self._size <= CHUNK:
            await writer.write(self._value)
            return
        view = memoryview(self._value)
        for start in range(0, self._size, CHUNK):
            await writer.write(view[start : start + CHUNK])


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The body, or None when it is larger than `most`, which is found without reading it all."""
    length = response.content_length
    if length is not None and length > most:
        response.close()
        return None
    if length is not None and "content-encoding" not in response.headers:
        return await response.read()
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > most:
            response.close()
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _reason(error: Exception, sent: bool) -> str:
    """In our own words: an error's text may hold an address or a part of an answer."""
    if isinstance(error, TimeoutError):
        return "timed out waiting for the answer" if sent else "timed out connecting"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the answer is not HTTP"
    if sent:
        return "connection lost after the request was sent"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "host not found"
    if isinstance(error, aiohttp.ClientSSLError):
        return "TLS failed"
    return "connection refused" if _refused(error) else "connection failed"


def _refused(error: Exception) -> bool:
    return isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, ConnectionRefusedError
    )
