"""`python -m devhost.inference.simulated --port 0 --deployments a,b,c`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine

from devhost.inference.simulated.process import READY
from devhost.inference.simulated.serving import simulated


def main() -> int:
    arguments = _parse()
    try:
        _run(_serve(arguments.deployments.split(","), arguments.port, arguments.seed))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The simulated deployments cannot start: {error}\n")
        return 1
    return 0


def _run(main: Coroutine[None, None, None]) -> None:
    """On uvloop where it is installed, to be fast."""
    try:
        from uvloop import run
    except ImportError:
        from asyncio import run
    run(main)


async def _serve(names: list[str], port: int, seed: int | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    async with simulated(*names, port=port, seed=seed) as serving:
        sys.stdout.write(f"{READY}{serving.base_url}\n")
        sys.stdout.flush()
        await stop.wait()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m devhost.inference.simulated",
        description="Simulated model deployments, for tests and benches.",
    )
    add = parser.add_argument
    add("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    add("--deployments", required=True, metavar="A,B,C", help="their names")
    add("--seed", type=int, help="to draw the same latencies and failures each time")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
