"""What real-time calls notice of a batch that is under way, and what the batch has left.

One simulated deployment: 50 ms a call, 64 at once. Chat calls arrive at a fifth of that, at random,
through POST /v1/chat/completions: first alone, then while a batch takes all that they leave.

    real time    p50 and p95 of the calls alone, beside the batch, and their ratio
    batch        lines/s alone, and beside the calls as a share of what these leave of it

    ./dev bench mixed [--seconds 15] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from pathlib import Path

import aiohttp
import uvloop

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from devhost.inference.simulated import SimulatedClient, simulated_process  # noqa: E402
from devhost.inference.simulated.behaviour import Behaviour  # noqa: E402
from devhost.inference.simulated.latency import Constant  # noqa: E402
from tests.bench.app_doors import running_app  # noqa: E402
from tests.bench.batches_client import BatchClient, batch_client  # noqa: E402
from tests.bench.peers.calls import MODEL, PAYLOAD, Turn  # noqa: E402
from tests.bench.report import Goal, Metrics, Report, Row  # noqa: E402

CALL_MS, CAPACITY = 50, 64
REALTIME_SHARE = 0.2
SLOWER_AT_MOST, LEFT_AT_LEAST = 1.5, 0.9
WARM_LINES = 2000
PLENTY_A_SECOND = 1400
"""Lines, more than the deployment can answer."""


async def realtime(api: aiohttp.ClientSession, seconds: float) -> Metrics:
    """Calls that arrive at random, whether or not the last ones were answered."""
    chance = random.Random(1)
    per_second = REALTIME_SHARE * CAPACITY / (CALL_MS / 1000)
    turn = Turn()
    calls: list[asyncio.Task[None]] = []

    async def call() -> None:
        began = time.perf_counter()
        async with api.post("/v1/chat/completions", json={**PAYLOAD, "model": MODEL}) as response:
            assert response.status == 200, await response.text()
            await response.read()
        turn.calls.append(time.perf_counter() - began)

    began = time.perf_counter()
    next_at = began
    while (next_at := next_at + chance.expovariate(per_second)) < began + seconds:
        await asyncio.sleep(max(0.0, next_at - time.perf_counter()))
        calls.append(asyncio.create_task(call()))
    await asyncio.gather(*calls)
    turn.seconds = time.perf_counter() - began
    return turn.metrics()


async def answered(model: SimulatedClient) -> int:
    return (await model.state(MODEL)).counts.answered


async def alone(client: BatchClient, model: SimulatedClient, seconds: float) -> float:
    """Lines/s of a batch that has the deployment to itself."""
    batch_id = await begun(client, seconds)
    before, began = await answered(model), time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (await answered(model) - before) / (time.perf_counter() - began)
    await ended(client, batch_id)
    return rate


async def together(
    client: BatchClient, model: SimulatedClient, seconds: float
) -> tuple[Metrics, float]:
    """The calls' metrics, and the batch's lines/s meanwhile."""
    batch_id = await begun(client, seconds)
    before, began = await answered(model), time.perf_counter()
    calls = await realtime(client.api, seconds)
    took = time.perf_counter() - began
    rate = (await answered(model) - before) / took - calls["per_s"]
    await ended(client, batch_id)
    return calls, rate


async def begun(client: BatchClient, seconds: float) -> str:
    """A batch that runs longer than so many seconds, once its lines have begun."""
    batch_id = await client.begin(int(PLENTY_A_SECOND * (seconds + 5)))
    while (await client.state(batch_id))["status"] != "in_progress":
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    return batch_id


async def ended(client: BatchClient, batch_id: str) -> None:
    await client.cancel(batch_id)
    while (await client.state(batch_id))["status"] != "cancelled":
        await asyncio.sleep(0.2)


async def run(seconds: float) -> Report:
    async with aiohttp.ClientSession() as session:
        with simulated_process(MODEL) as base:
            model = SimulatedClient(session, base)
            behaviour = Behaviour(latency=Constant(ms=CALL_MS), capacity=CAPACITY)
            await model.set(MODEL, behaviour)
            async with (
                running_app(f"{base}/{MODEL}/v1") as running,
                batch_client(running) as client,
            ):
                await client.carry(WARM_LINES)
                calls_alone = await realtime(client.api, seconds)
                batch_alone = await alone(client, model, seconds)
                calls, batch = await together(client, model, seconds)
    slower = calls["p95_ms"] / calls_alone["p95_ms"]
    share = batch / (batch_alone - calls["per_s"])
    return Report(
        [
            Row("real time", "alone", calls_alone),
            Row("batch", "alone", {"per_s": batch_alone}),
            Row("real time", "together", {**calls, "p95_times_alone": slower}),
            Row("batch", "together", {"per_s": batch, "share_of_what_is_left": share}),
        ],
        [
            Goal.at_most("real-time p95 over its p95 alone", slower, SLOWER_AT_MOST),
            Goal.at_least("batch's share of what real time leaves", share, LEFT_AT_LEAST),
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    told = parser.parse_args()
    uvloop.run(run(told.seconds)).publish(told.json)


if __name__ == "__main__":
    main()
