"""How fast a batch runs, beside a bare loop, PromptFlow's batch run and the LiteLLM Router.

All make the same calls of the same simulated deployment, in a process of its own: 50 ms a call,
64 at once, a 429 past that. So 1,280 lines/s is what there is, and the bare loop of aiohttp with
64 callers shows what a client can have of it.

    this engine       POST /v1/files, POST /v1/batches, until it is completed, and the download
    aiohttp, bare     64 callers in a loop: nothing is kept
    LiteLLM Router    behind a semaphore of 64, in a process of its own
    pf run create     an async flow with 16 workers, in processes of its own; not at 20,000 lines

`lines_per_s` of the engine is from the batch's creation to its completion, `seconds` holds upload
and download too. Systems take turns round by round; medians. The ratios are the result.

    ./dev bench batch [--rounds 3] [--lines 200 2000 20000] [--without NAME ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import uvloop

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from devhost.inference.simulated import SimulatedClient, simulated_process  # noqa: E402
from devhost.inference.simulated.behaviour import Behaviour  # noqa: E402
from devhost.inference.simulated.latency import Constant  # noqa: E402
from devhost.setup.environments import PEERS  # noqa: E402
from devhost.setup.install import set_up_only  # noqa: E402
from tests.bench.app_doors import running_app  # noqa: E402
from tests.bench.batches_client import BatchClient, batch_client  # noqa: E402
from tests.bench.model_clients import bare_aiohttp  # noqa: E402
from tests.bench.peers import promptflow_batch  # noqa: E402
from tests.bench.peers.calls import MODEL  # noqa: E402
from tests.bench.peers.litellm_processes import compile_peers, program  # noqa: E402
from tests.bench.report import Goal, Metrics, Report, Row, medians  # noqa: E402

CALL_MS, CAPACITY = 50, 64
ENGINE, BARE, ROUTER, PF = "this engine", "aiohttp, bare", "LiteLLM Router", "pf run create"
SHARE_OF_LIMIT, TIMES_ROUTER = 0.90, 10.0
TIMES_PF = {200: 20.0, 2000: 10.0}
PF_MOST_LINES = 2000
CONSTANT_WITHIN = 1.25

type System = Callable[[int], Awaitable[Metrics]]


def engine(client: BatchClient) -> System:
    async def run(lines: int) -> Metrics:
        carried = await client.carry(lines)
        return {
            "seconds": carried.seconds,
            "lines_per_s": lines / carried.lines_seconds,
            "peak_mb": carried.peak_mb,
        }

    return run


def bare(url: str) -> System:
    async def run(lines: int) -> Metrics:
        left = iter(range(lines))
        async with bare_aiohttp(url) as call:

            async def caller() -> None:
                for _ in left:
                    await call()

            began = time.perf_counter()
            await asyncio.gather(*(caller() for _ in range(CAPACITY)))
            seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"seconds": seconds, "lines_per_s": lines / seconds, "peak_mb": peak}

    return run


def litellm(url: str) -> System:
    async def run(lines: int) -> Metrics:
        arguments = ["--model", url, "--lines", str(lines), "--at-once", str(CAPACITY)]
        async with program("litellm_batch", *arguments) as child:
            assert child.stdout is not None
            told: Metrics = json.loads(await child.stdout.readline())
        return {**told, "lines_per_s": lines / told["seconds"]}

    return run


def promptflow(url: str) -> System:
    async def run(lines: int) -> Metrics:
        told = await promptflow_batch.run(url, lines)
        return {**told, "lines_per_s": lines / told["seconds"]}

    return run


async def measure(systems: dict[str, System], lines: int, rounds: int) -> dict[str, list[Metrics]]:
    found: dict[str, list[Metrics]] = {name: [] for name in systems}
    for _ in range(rounds):
        for name, run in systems.items():
            if name == PF and lines > PF_MOST_LINES:
                continue
            metrics = await run(lines)
            found[name].append(metrics)
            say(f"{lines:>7} lines  {name:<15} {metrics['lines_per_s']:>8,.0f} lines/s")
    return {name: each for name, each in found.items() if each}


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def with_ratios(found: dict[str, list[Metrics]]) -> dict[str, Metrics]:
    """Medians, and of each round the share of what the bare loop had in it."""
    for metrics in found.values():
        for mine, limit in zip(metrics, found[BARE], strict=True):
            mine["of_bare"] = mine["lines_per_s"] / limit["lines_per_s"]
    return {name: medians(metrics) for name, metrics in found.items()}


def goals(cases: dict[int, dict[str, Metrics]]) -> list[Goal]:
    found: list[Goal] = []
    for lines, systems in cases.items():
        mine = systems[ENGINE]
        if lines >= 2000:
            name = f"share of the bare loop at {lines:,} lines"
            found.append(Goal.at_least(name, mine["of_bare"], SHARE_OF_LIMIT))
        if ROUTER in systems:
            ratio = mine["lines_per_s"] / systems[ROUTER]["lines_per_s"]
            name = f"times LiteLLM's lines/s at {lines:,} lines"
            found.append(Goal.at_least(name, ratio, TIMES_ROUTER))
        if PF in systems and lines in TIMES_PF:
            ratio = systems[PF]["seconds"] / mine["seconds"]
            name = f"times as fast as pf run, end to end, at {lines:,} lines"
            found.append(Goal.at_least(name, ratio, TIMES_PF[lines]))
    if len(large := [lines for lines in cases if lines >= 2000]) > 1:
        costs = [cases[lines][ENGINE]["seconds"] / lines for lines in (min(large), max(large))]
        name = f"cost of a line at {max(large):,} lines over that at {min(large):,}"
        found.append(Goal.at_most(name, costs[1] / costs[0], CONSTANT_WITHIN))
    return found


async def run(told: argparse.Namespace) -> Report:
    with simulated_process(MODEL) as base:
        url = f"{base}/{MODEL}/v1"
        async with aiohttp.ClientSession() as session:
            behaviour = Behaviour(latency=Constant(ms=CALL_MS), capacity=CAPACITY)
            await SimulatedClient(session, base).set(MODEL, behaviour)
        async with running_app(url) as running, batch_client(running) as client:
            every = {ENGINE: engine(client), BARE: bare(url)}
            every |= {ROUTER: litellm(url), PF: promptflow(url)}
            systems = {name: each for name, each in every.items() if name not in told.without}
            await client.carry(min(told.lines))  # the app's first batch imports much
            cases = {
                lines: with_ratios(await measure(systems, lines, told.rounds))
                for lines in sorted(told.lines)
            }
    rows = [
        Row(name, f"{lines:,} lines", metrics)
        for lines, systems_found in cases.items()
        for name, metrics in systems_found.items()
    ]
    return Report(rows, goals(cases))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lines", type=int, nargs="+", default=[200, 2000, 20_000])
    parser.add_argument("--without", nargs="*", default=[], choices=[ROUTER, PF])
    parser.add_argument("--json", type=Path, metavar="FILE")
    told = parser.parse_args()
    if ROUTER not in told.without:
        set_up_only(PEERS)
        compile_peers()
    uvloop.run(run(told)).publish(told.json)


if __name__ == "__main__":
    main()
