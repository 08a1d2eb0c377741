"""As much of a SQL Server as a driver needs to log in, send one statement and read its outcome.

It speaks TDS 7.4 without TLS (MS-TDS, Open Specifications) and understands no SQL: what each
statement comes to is told to it beforehand.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

PRELOGIN, LOGIN, BATCH, CALL, ATTENTION, TRANSACTION = 0x12, 0x10, 0x01, 0x03, 0x06, 0x0E
LAST = 0x01
COLLATION = b"\x09\x04\xd0\x00\x34"


@dataclass
class TdsServer:
    """`login` and `statement`: an error's number and text, or what the bytes say to send."""

    port: int = 0
    login: tuple[int, str] | None = None
    statement: tuple[int, str] | bytes | None = None
    """None: silence."""
    hang_up: bool = False
    calls: list[bytes] = field(default_factory=list)
    """Of statements with parameters, as they came."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                kind, body = await _receive(reader)
                answer = self._answer(kind, body)
                if answer is not None:
                    writer.write(_packet(answer))
                    await writer.drain()
                if kind == CALL and self.hang_up:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has closed
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _answer(self, kind: int, body: bytes) -> bytes | None:
        if kind == PRELOGIN:
            return _prelogin()
        if kind == LOGIN:
            return _error(*self.login) if self.login else _logged_in()
        if kind != CALL:
            return _done()  # settings of the session, the end of a statement
        self.calls.append(body)
        if self.statement is None or self.hang_up:
            return None
        return self.statement if isinstance(self.statement, bytes) else _error(*self.statement)


def scores(*values: float) -> bytes:
    """A result of the columns sluice_row and score, the last row first."""
    answer = b"\x81" + struct.pack("<H", 2)
    answer += struct.pack("<IH", 0, 9) + b"\x26\x04" + _short("sluice_row")
    answer += struct.pack("<IH", 0, 9) + b"\x6d\x08" + _short("score")
    for number, value in reversed(list(enumerate(values))):
        answer += b"\xd1\x04" + struct.pack("<i", number) + b"\x08" + struct.pack("<d", value)
    in_call = b"\xff" + struct.pack("<HHQ", 0x11, 0xC1, len(values))
    return (
        answer + in_call + b"\x79" + struct.pack("<i", 0) + b"\xfe" + struct.pack("<HHQ", 0, 0, 0)
    )


def _logged_in() -> bytes:
    database = b"\x01" + _short("scoring") + _short("master")
    collation = b"\x07\x05" + COLLATION + b"\x00"
    size = b"\x04" + _short("4096") + _short("4096")
    changes = b"".join(_token(0xE3, change) for change in (database, collation, size))
    server = b"\x01\x74\x00\x00\x04" + _short("Microsoft SQL Server") + b"\x10\x00\x00\x00"
    return changes + _token(0xAD, server) + _done()


def _error(number: int, text: str) -> bytes:
    severity = {1205: 13, 102: 15}.get(number, 16)
    body = struct.pack("<IBBH", number, 1, severity, len(text)) + text.encode("utf-16-le")
    return _token(0xAA, body + _short("server") + _short("") + struct.pack("<I", 1)) + _done(2)


def _prelogin() -> bytes:
    """No encryption, one result set at a time."""
    options = [(0, bytes(6)), (1, b"\x02"), (2, b"\x00"), (3, b""), (4, b"\x00")]
    head, data = b"", b""
    for kind, value in options:
        head += struct.pack(">BHH", kind, len(options) * 5 + 1 + len(data), len(value))
        data += value
    return head + b"\xff" + data


def _token(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + struct.pack("<H", len(body)) + body


def _done(status: int = 0) -> bytes:
    return b"\xfd" + struct.pack("<HHQ", status, 0, 0)


def _short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("utf-16-le")


def _packet(body: bytes) -> bytes:
    return struct.pack(">BBHHBB", 0x04, LAST, len(body) + 8, 0, 1, 0) + body


async def _receive(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    body = b""
    while True:
        kind, status, length = struct.unpack(">BBH4x", await reader.readexactly(8))
        body += await reader.readexactly(length - 8)
        if status & LAST:
            return kind, body


@contextlib.asynccontextmanager
async def tds_server() -> AsyncIterator[TdsServer]:
    server = TdsServer()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        listening.close_clients()
        await listening.wait_closed()
