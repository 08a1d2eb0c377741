"""`./dev start`: the local stack in the foreground, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from devhost.stack.plan import PARTS, CannotStart, Options
from devhost.stack.probes import HttpOk
from devhost.stack.running import Stack, stack

_FOLLOW_SECONDS = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_run(options))
    except CannotStart as error:
        _say(str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev start", description="Runs the local stack.")
    parser.add_argument("--port", type=int, default=7071, help="of the app; 0 takes a free one")
    parser.add_argument(
        "--state", type=Path, default=Path(".local"), help="folder that keeps everything (.local)"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run kept")
    parser.add_argument("--deployments", type=Path, help="instead of deployments.yaml")
    parser.add_argument(
        "--tenants", type=Path, help="a tenants.yaml: callers must then say who they are"
    )
    parser.add_argument("--llm", action="store_true", help="chat with a small language model")
    parser.add_argument("--reload", action="store_true", help="start the app again on changes")
    parser.add_argument(
        "--only", default=",".join(PARTS), metavar="PARTS", help=f"some of {', '.join(PARTS)}"
    )
    return parser


async def _run(arguments: argparse.Namespace) -> None:
    _end_on_signals()
    options = Options(
        port=arguments.port,
        parts=frozenset(arguments.only.split(",")),
        deployments=arguments.deployments,
        tenants=arguments.tenants,
        llm=arguments.llm,
        reload=arguments.reload,
    )
    _say(f"Starting {', '.join(part for part in PARTS if part in options.parts)} …")
    with suppress(asyncio.CancelledError):
        async with stack(
            options, state=arguments.state, fresh=arguments.fresh, say=_say
        ) as running:
            await _serve(running, options)
    _say("Stopped.")


def _end_on_signals() -> None:
    """The first signal ends the stack in order; a second one leaves the rest to the guardian."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # Windows, where asyncio.run itself heeds Ctrl-C
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel if task else loop.stop)


async def _serve(running: Stack, options: Options) -> None:
    """List what the host lists, say that it is ready, and go on showing the host's output."""
    for name, url in running.endpoints.items():
        _say(f"Model endpoint {name}: {url}")
    if "service_bus" in options.parts:
        _say(f"Service Bus: {running.service_bus}")
    if "host" not in options.parts:
        _say("Ready.")
        await asyncio.Event().wait()
    log = running.log("host")
    shown = _show(log, 0)
    port = urlsplit(running.http).port or 0
    _say(f"Ready: http://localhost:{port}")
    if not await HttpOk(port, "/healthz").passed(log, shown):
        _say("The app is not set up and refuses everything: CRITICAL, above, says why.")
    while True:
        await asyncio.sleep(_FOLLOW_SECONDS)
        shown = _show(log, shown)


def _show(log: Path, since: int) -> int:
    """Copy what was written since; returns how far."""
    with log.open("rb") as file:
        file.seek(since)
        news = file.read()
    sys.stdout.write(news.decode(errors="replace"))
    sys.stdout.flush()
    return since + len(news)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
