"""A model server on a loopback port that does as it is told, byte by byte.

It is written on sockets rather than on a web framework, because it must also do what no framework
does: close without a word, stop in the middle of a body, answer what is not HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from pydantic import JsonValue

type Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What to do once a request has been read."""


def head(status: int, length: int, headers: dict[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} Status", f"content-length: {length}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answers(status: int = 200, body: JsonValue = None, **headers: str) -> Play:
    content = json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return sends(head(status, len(content), named) + content)


def model_error(inner: int, **headers: str) -> Play:
    """What Azure ML's front makes of a container's answer that is not 200."""
    return answers(424, {}, ms_azureml_model_error_statuscode=str(inner), **headers)


def sends(*pieces: bytes, pause: float = 0.0, close: bool = False) -> Play:
    """These bytes, with a pause after each piece; then perhaps the end of the connection."""

    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        if close:
            writer.close()

    return play


hangs_up = sends(close=True)
"""The connection ends after the request was read, without a word."""


async def stays_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the client gives up
    writer.close()


@dataclass
class Received:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class ModelServer:
    """Plays its script in order, then `otherwise` for ever."""

    script: deque[Play] = field(default_factory=deque)
    otherwise: Play = field(default_factory=lambda: answers(200, {"ok": True}))
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/score"

    def plays(self, *script: Play) -> None:
        self.script = deque(script)

    def by_connection(self) -> Counter[int]:
        return Counter(request.connection for request in self.received)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        try:
            while not writer.is_closing():
                self.received.append(await _receive(reader, connection))
                play = self.script.popleft() if self.script else self.otherwise
                await play(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has closed
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def _receive(reader: asyncio.StreamReader, connection: int) -> Received:
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request_line, *lines = text.rstrip().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(request_line.split(" ")[1], headers, body, connection)


@contextlib.asynccontextmanager
async def model_server() -> AsyncIterator[ModelServer]:
    server = ModelServer()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        listening.close_clients()
        await listening.wait_closed()
