"""Keeps a host running and starts it again when a file of the app changes.

The supervisor holds the listening socket, so that requests wait while the host starts again
instead of being refused.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from watchfiles import Change, awatch

logger = logging.getLogger("sluice.functions_host")

SUFFIXES = {".py", ".yaml", ".yml", ".json"}
_SKIPPED_FOLDERS = {"__pycache__", "node_modules", "venv"}
_LAST_SECONDS = 5.0


async def supervise(
    app: Path, arguments: Sequence[str], listener: socket.socket, grace: float
) -> int:
    """Run the host with these arguments until a signal comes. The exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    while not stop.is_set():
        child = await _start(arguments, listener)
        await _changed_or_stopped(app, child, stop)
        await _end(child, grace)
    return 0


async def _start(arguments: Sequence[str], listener: socket.socket) -> asyncio.subprocess.Process:
    descriptor = listener.fileno()
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "devhost.functions_host",
        *arguments,
        "--listen-fd",
        str(descriptor),
        pass_fds=[descriptor],
    )


async def _changed_or_stopped(
    app: Path, child: asyncio.subprocess.Process, stop: asyncio.Event
) -> None:
    """Return when a file has changed or a signal came; a host that ended waits for a change."""
    changed = asyncio.create_task(_wait_for_change(app, stop))
    stopped = asyncio.create_task(stop.wait())
    ended = asyncio.create_task(child.wait())
    await asyncio.wait({changed, stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
    if ended.done() and not changed.done() and not stopped.done():
        logger.warning("The host ended with code %s; waiting for a change", ended.result())
        await asyncio.wait({changed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not changed.done():
        await changed  # ends with the stop event
    stopped.cancel()
    ended.cancel()


async def _wait_for_change(app: Path, stop: asyncio.Event) -> None:
    async for changes in awatch(
        *watched_paths(app), watch_filter=source_filter(app), stop_event=stop
    ):
        names = sorted({str(Path(path).relative_to(app)) for _, path in changes})
        logger.info("Changed: %s. Starting again", ", ".join(names[:3]))
        return


def watched_paths(app: Path) -> list[Path]:
    """The app's source folders and the files beside them: not virtual environments and the like,
    whose thousands of folders would each cost a watch."""
    return [
        path
        for path in sorted(app.iterdir())
        if not _skipped(path.name) and (path.is_dir() or path.suffix in SUFFIXES)
    ]


def source_filter(app: Path) -> Callable[[Change, str], bool]:
    """What `watchfiles` asks of each change: whether the app is to start again for it."""

    def is_source(_: Change, path: str) -> bool:
        file = Path(path).relative_to(app)
        return file.suffix in SUFFIXES and not any(_skipped(part) for part in file.parts)

    return is_source


def _skipped(name: str) -> bool:
    return name.startswith(".") or name in _SKIPPED_FOLDERS


async def _end(child: asyncio.subprocess.Process, grace: float) -> None:
    if child.returncode is not None:
        return
    child.terminate()
    try:
        await asyncio.wait_for(child.wait(), grace + _LAST_SECONDS)
    except TimeoutError:
        child.kill()
        await child.wait()
