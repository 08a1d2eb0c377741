"""What a model call costs through `Endpoints.invoke`, beside bare aiohttp and httpx.

One simulated deployment in a process of its own answers at once; the clients take turns on the
other core, in rounds, so that each ratio compares neighbours in time. All three encode the same
request and decode the same answer. Absolute figures are the machine's; ratios are the result.

    python tests/bench/bench_endpoints_client.py [--rounds 5] [--seconds 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import uvloop

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from contracts.calls import CallScope, ModelCall, Task  # noqa: E402
from devhost.inference.simulated import simulated_process  # noqa: E402
from endpoints import Endpoints  # noqa: E402
from endpoints.settings import Settings  # noqa: E402

CONCURRENT = (1, 32, 256)
BARE, OURS, HTTPX = "aiohttp, bare", "Endpoints.invoke", "httpx, bare"
PAYLOAD = {"messages": [{"role": "user", "content": "Say something nice. " * 10}], "max_tokens": 64}
ANSWER_TOKENS = 54

type Call = Callable[[], Awaitable[Any]]


# The clients.


@contextlib.asynccontextmanager
async def bare_aiohttp(url: str) -> AsyncIterator[Call]:
    headers = {"content-type": "application/json", "authorization": "Bearer key"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call() -> object:
            body = json.dumps({**PAYLOAD, "model": "simulated"}).encode()
            async with session.post(
                f"{url}/chat/completions", data=body, headers=headers
            ) as response:
                return json.loads(await response.read())

        yield call


@contextlib.asynccontextmanager
async def bare_httpx(url: str) -> AsyncIterator[Call]:
    headers = {"content-type": "application/json", "authorization": "Bearer key"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:

        async def call() -> object:
            body = json.dumps({**PAYLOAD, "model": "simulated"}).encode()
            response = await client.post(f"{url}/chat/completions", content=body, headers=headers)
            return json.loads(response.content)

        yield call


@contextlib.asynccontextmanager
async def our_endpoints(url: str) -> AsyncIterator[Call]:
    deployment = {"name": "d", "protocol": "openai", "url": url, "model": "simulated"}
    deployment |= {"auth": {"key": "key"}}
    models = Endpoints(Settings.model_validate({"models": {"m": {"deployments": [deployment]}}}))
    request = ModelCall("m", Task.CHAT, PAYLOAD)  # type: ignore[arg-type]

    async def call() -> object:
        return (await models.invoke(request, CallScope("job", "tenant", patience=60))).body

    yield call
    await models.aclose()


CLIENTS = {BARE: bare_aiohttp, OURS: our_endpoints, HTTPX: bare_httpx}


# Measuring.


@dataclass
class Round:
    """One client's turn: how long each call took, in seconds, and how long the turn."""

    calls: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.calls) / self.seconds

    def percentile(self, percent: int) -> float:
        """In milliseconds."""
        ordered = sorted(self.calls)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000


async def take_turn(call: Call, concurrent: int, seconds: float) -> Round:
    turn = Round()
    began = time.perf_counter()

    async def worker() -> None:
        while (start := time.perf_counter()) - began < seconds:
            answer = await call()
            turn.calls.append(time.perf_counter() - start)
            assert answer["usage"]["completion_tokens"] == ANSWER_TOKENS

    await asyncio.gather(*(worker() for _ in range(concurrent)))
    turn.seconds = time.perf_counter() - began
    return turn


async def measure(url: str, concurrent: int, rounds: int, seconds: float) -> dict[str, list[Round]]:
    turns: dict[str, list[Round]] = {name: [] for name in CLIENTS}
    async with contextlib.AsyncExitStack() as stack:
        calls = {
            name: await stack.enter_async_context(client(url)) for name, client in CLIENTS.items()
        }
        for index in range(rounds + 1):
            for name, call in calls.items():
                turn = await take_turn(call, concurrent, seconds)
                if index > 0:  # the first round opens the connections
                    turns[name].append(turn)
    return turns


def row(name: str, concurrent: int, turns: list[Round], bare: list[Round]) -> dict[str, object]:
    pairs = list(zip(turns, bare, strict=True))
    metrics = {
        "requests_per_second": statistics.median(turn.rate for turn in turns),
        "p50_ms": statistics.median(turn.percentile(50) for turn in turns),
        "p95_ms": statistics.median(turn.percentile(95) for turn in turns),
        "p99_ms": statistics.median(turn.percentile(99) for turn in turns),
        "share_of_bare": statistics.median(turn.rate / base.rate for turn, base in pairs),
        "added_p50_ms": statistics.median(
            turn.percentile(50) - base.percentile(50) for turn, base in pairs
        ),
    }
    return {
        "system": name,
        "case": f"{concurrent} concurrent",
        "metrics": {key: round(value, 3) for key, value in metrics.items()},
    }


async def run(url: str, rounds: int, seconds: float) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    columns = ("requests/s", "p50 ms", "p95 ms", "p99 ms", "of bare", "added p50 ms")
    sys.stdout.write(f"{'':<17}{'':>5}" + "".join(f"{column:>13}" for column in columns) + "\n")
    for concurrent in CONCURRENT:
        turns = await measure(url, concurrent, rounds, seconds)
        for name in CLIENTS:
            measured = row(name, concurrent, turns[name], turns[BARE])
            rows.append(measured)
            figures = measured["metrics"].values()  # type: ignore[attr-defined]
            line = "".join(f"{figure:>13,.2f}" for figure in figures)
            sys.stdout.write(f"{name:<17}{concurrent:>5}{line}\n")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each client a case")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    with simulated_process("simulated") as url:
        rows = uvloop.run(run(f"{url}/simulated/v1", options.rounds, options.seconds))
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "goals": []}, indent=2) + "\n")


if __name__ == "__main__":
    main()
