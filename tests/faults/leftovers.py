"""A stack that must leave nothing behind: no process, no port.

Every process of a stack inherits a mark in its environment, so that those which lost their
parent are found too.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import psutil

from devhost.stack.network import in_use
from devhost.stack.running import Stack, stack

MARK = "SLUICE_FAULT_TEST"
LAST_SECONDS = 30.0
"""The system's own time to clear away what was killed."""


@contextmanager
def marked() -> Iterator[str]:
    """Everything that is started within the block carries the mark that this gives."""
    mark = uuid.uuid4().hex
    before = os.environ.get(MARK)
    os.environ[MARK] = mark
    try:
        yield mark
    finally:
        os.environ.pop(MARK)
        if before is not None:
            os.environ[MARK] = before


def alive(mark: str) -> list[psutil.Process]:
    """The processes that carry the mark, but for this one."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it ended, or is another user's
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def listening(mark: str) -> set[int]:
    """The ports that they listen on."""
    ports: set[int] = set()
    for process in alive(mark):
        with suppress(psutil.Error):
            connections = process.net_connections("inet")
            ports |= {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}
    return ports


async def nothing_is_left(mark: str, ports: set[int]) -> None:
    """Raises AssertionError when a process with the mark runs on, or a port is still taken."""
    limit = time.monotonic() + LAST_SECONDS
    while (left := alive(mark)) and time.monotonic() < limit:
        await asyncio.sleep(0.05)
    assert not left, f"left behind: {[' '.join(process.cmdline()) for process in left]}"
    while (taken := [port for port in ports if in_use(port)]) and time.monotonic() < limit:
        await asyncio.sleep(0.05)
    assert not taken, f"still listened on: {taken}"


@asynccontextmanager
async def clean_stack(*arguments: Any, **options: Any) -> AsyncIterator[Stack]:
    """`stack(...)` that asserts, once it has ended, that nothing of it is left."""
    with marked() as mark:
        async with stack(*arguments, **options) as running:
            yield running
            ports = listening(mark)
        assert ports, "the stack listened on nothing"
        await nothing_is_left(mark, ports)
