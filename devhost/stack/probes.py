"""How it is known that a child is ready."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from devhost.stack.network import HOST

_ANSWER_SECONDS = 5


class Probe(Protocol):
    async def passed(self, log: Path, since: int) -> bool:
        """Whether the child is ready; its output is in `log` from byte `since` on."""
        ...


@dataclass(frozen=True, slots=True)
class PortOpen:
    """It accepts connections."""

    port: int

    async def passed(self, log: Path, since: int) -> bool:
        try:
            _, writer = await asyncio.open_connection(HOST, self.port)
        except OSError:
            return False
        writer.close()
        return True


@dataclass(frozen=True, slots=True)
class HttpOk:
    """It answers GET with 200."""

    port: int
    path: str = "/"

    async def passed(self, log: Path, since: int) -> bool:
        try:
            reader, writer = await asyncio.open_connection(HOST, self.port)
        except OSError:
            return False
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                writer.write(f"GET {self.path} HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
                status = await reader.readline()
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()
        return status.split()[1:2] == [b"200"]


@dataclass(frozen=True, slots=True)
class LogLine:
    """It has written a line that starts so."""

    prefix: str

    async def passed(self, log: Path, since: int) -> bool:
        return any(line.startswith(self.prefix.encode()) for line in _lines(log, since))


def _lines(log: Path, since: int) -> list[bytes]:
    return log.read_bytes()[since:].splitlines()
