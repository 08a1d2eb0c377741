"""`python -m devhost.task_hub.durable --port 0 --state DIR`: the durable task hub as a process."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sqlite3
import sys
from collections.abc import Coroutine
from pathlib import Path

from devhost.task_hub.durable.errors import StateDirectoryError
from devhost.task_hub.durable.server import GRACE_SECONDS, HOST, serve, set_once
from devhost.task_hub.durable.settings import HubSettings


def main() -> int:
    arguments = _parse()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        _run(_serve(_settings(arguments), arguments.port_file))
    except (StateDirectoryError, OSError, sqlite3.OperationalError) as error:
        sys.stderr.write(f"The task hub cannot start: {error}\n")
        return 1
    return 0


def _run(main: Coroutine[None, None, None]) -> None:
    """On uvloop where it is installed: it saves a seventh of the hub's CPU time."""
    try:
        from uvloop import run
    except ImportError:
        from asyncio import run
    run(main)


async def _serve(settings: HubSettings, port_file: Path | None) -> None:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[float] = loop.create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, set_once, stop, GRACE_SECONDS)

    def ready(port: int) -> None:
        if port_file is not None:
            _write_whole(port_file, str(port))
        sys.stdout.write(f"Task hub ready: {HOST}:{port}\n")
        sys.stdout.flush()

    await serve(settings, stop, ready)


def _parse() -> argparse.Namespace:
    defaults = HubSettings(state=Path())
    parser = argparse.ArgumentParser(prog="python -m devhost.task_hub.durable", description=__doc__)
    add = parser.add_argument
    add("--state", type=Path, required=True, help="the directory of the database")
    add("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    add("--port-file", type=Path, help="the port is written here once it serves")
    add(
        "--synchronous",
        choices=["normal", "full"],
        default=defaults.synchronous,
        help="a commit survives the end of any process (normal), or a power cut too (full)",
    )
    for name, text in (
        ("redelivery_seconds", "how long the work of a worker that went away is kept back"),
        ("turn_timeout_seconds", "a turn unanswered for so long is given out again; 0: never"),
        ("activity_timeout_seconds", "the same for activities; 0: while the worker's stream lives"),
        ("max_deliveries", "what so many workers were lost with fails; 0: never"),
    ):
        default = getattr(defaults, name)
        flag = "--" + name.replace("_", "-")
        add(flag, type=type(default), default=default, help=f"{text} (default {default})")
    return parser.parse_args()


def _settings(arguments: argparse.Namespace) -> HubSettings:
    chosen = vars(arguments)
    return HubSettings(**{name: value for name, value in chosen.items() if name != "port_file"})


def _write_whole(path: Path, text: str) -> None:
    """So that who waits for the file never reads half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.rename(path)


if __name__ == "__main__":
    sys.exit(main())
