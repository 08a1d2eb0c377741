"""What traces and metrics cost: a real-time call, and a batch.

Two stacks ask the same simulated deployment. One exports nothing; the other exports every span and
all metrics by OTLP to a collector in a process of its own, which answers and throws away.

    real time    POST /v1/chat/completions, a deployment that answers at once: `added_ms`
    batch        lines/s, 50 ms a call and 64 at once: `of_quiet`, the share that is left

They take turns round by round; medians over rounds.

    ./dev bench telemetry [--rounds 5] [--seconds 2] [--lines 4000] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from unittest.mock import patch

import aiohttp
import uvloop
from aiohttp import web

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from devhost.inference.simulated import SimulatedClient, simulated_process  # noqa: E402
from devhost.inference.simulated.behaviour import Behaviour  # noqa: E402
from devhost.inference.simulated.latency import Constant  # noqa: E402
from tests.bench.app_doors import running_app  # noqa: E402
from tests.bench.batches_client import BatchClient, batch_client  # noqa: E402
from tests.bench.model_clients import our_door  # noqa: E402
from tests.bench.peers.calls import MODEL, Call, Metrics, take_turn  # noqa: E402
from tests.bench.report import Goal, Report, Row, medians  # noqa: E402

CALL_MS, CAPACITY = 50, 64
QUIET, WATCHED = "nothing exported", "all exported"
ADDED_MS, SHARE_LEFT = 0.3, 0.95


def collect(address: Connection) -> None:
    """A collector that keeps nothing."""

    async def taken(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(content_type="application/x-protobuf")

    async def serve() -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/{signal}", taken)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address.send(f"http://127.0.0.1:{runner.addresses[0][1]}")
        while True:
            await asyncio.sleep(3600)

    uvloop.run(serve())


@contextmanager
def collector() -> Iterator[str]:
    """Its address."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=collect, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


@asynccontextmanager
async def doors(url: str, exports_to: str | None) -> AsyncIterator[tuple[Call, BatchClient]]:
    settings = {} if exports_to is None else {"OTEL_EXPORTER_OTLP_ENDPOINT": exports_to}
    async with AsyncExitStack() as stack:
        with patch.dict(os.environ, settings):
            running = await stack.enter_async_context(running_app(url))
        call = await stack.enter_async_context(our_door(running))
        yield call, await stack.enter_async_context(batch_client(running))


async def measure(base: str, told: argparse.Namespace, exports_to: str) -> Report:
    url = f"{base}/{MODEL}/v1"
    realtime: dict[str, list[Metrics]] = {QUIET: [], WATCHED: []}
    batch: dict[str, list[Metrics]] = {QUIET: [], WATCHED: []}
    async with AsyncExitStack() as stack:
        model = SimulatedClient(await stack.enter_async_context(aiohttp.ClientSession()), base)
        apps = {
            QUIET: await stack.enter_async_context(doors(url, None)),
            WATCHED: await stack.enter_async_context(doors(url, exports_to)),
        }
        for index in range(told.rounds + 1):
            await model.set(MODEL, Behaviour())
            for name, (call, _) in apps.items():
                metrics = await take_turn(call, 1, told.seconds)
                if index:  # the first round warms up
                    realtime[name].append(metrics)
            latency = Constant(ms=CALL_MS)
            await model.set(MODEL, Behaviour(latency=latency, capacity=CAPACITY))
            for name, (_, client) in apps.items():
                carried = await client.carry(told.lines)
                if index:
                    batch[name].append({"lines_per_s": told.lines / carried.lines_seconds})
            sys.stderr.write(f"round {index} of {told.rounds}\n")
    return summary(realtime, batch)


def summary(realtime: dict[str, list[Metrics]], batch: dict[str, list[Metrics]]) -> Report:
    for mine, other in zip(realtime[WATCHED], realtime[QUIET], strict=True):
        mine["added_ms"] = mine["p50_ms"] - other["p50_ms"]
    for mine, other in zip(batch[WATCHED], batch[QUIET], strict=True):
        mine["of_quiet"] = mine["lines_per_s"] / other["lines_per_s"]
    rows = [Row(name, "real time, 1 caller", medians(each)) for name, each in realtime.items()]
    rows += [Row(name, "batch", medians(each)) for name, each in batch.items()]
    added = median(each["added_ms"] for each in realtime[WATCHED])
    left = median(each["of_quiet"] for each in batch[WATCHED])
    return Report(
        rows,
        [
            Goal.at_most("ms at p50 added to a real-time call", added, ADDED_MS),
            Goal.at_least("share of a batch's lines/s that is left", left, SHARE_LEFT),
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--lines", type=int, default=4000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    told = parser.parse_args()
    with collector() as exports_to, simulated_process(MODEL) as base:
        uvloop.run(measure(base, told, exports_to)).publish(told.json)


if __name__ == "__main__":
    main()
