"""What a model call costs through the router, the app's door and Semantic Kernel, beside LiteLLM.

Every system asks the same simulated chat deployment, which answers at once and lives in a process
of its own, with 1, 32 and 256 callers who each wait for their answer:

    aiohttp, bare           the fastest client loop on uvloop: the limit
    Endpoints.invoke        the router in process: breaker, limiter, meter
    Semantic Kernel         a flow of one prompt, in process, over the router
    HTTP door               POST /v1/chat/completions of the local stack, called by bare aiohttp
    LiteLLM Router          in a process of its own, measured there
    LiteLLM proxy           one worker, a master key, called by bare aiohttp
    httpx, bare             the client below the OpenAI SDK

The systems take turns, round by round, and each figure is compared with the bare loop's of the
same round: `of_bare` is its share of requests/s, `added_*` the difference of the percentiles.
Medians over rounds. The first call of each caller in a turn opens its connection, and is not
counted. The bare loop's JSON is the standard library's.

Callers, systems and model share the machine's cores, so a system in a process of its own has one
more process to share them with. Ratios are the result: absolute figures are the machine's.

    ./dev bench endpoints [--rounds 5] [--seconds 1] [--only NAME ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import uvloop

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from devhost.inference.simulated import simulated_process  # noqa: E402
from devhost.setup.environments import PEERS  # noqa: E402
from devhost.setup.install import set_up_only  # noqa: E402
from tests.bench.app_doors import running_app  # noqa: E402
from tests.bench.model_clients import (  # noqa: E402
    bare_aiohttp,
    bare_httpx,
    our_door,
    our_endpoints,
    semantic_kernel,
)
from tests.bench.peers.calls import MODEL, Call, Metrics, Take, take_turn  # noqa: E402
from tests.bench.peers.litellm_processes import (  # noqa: E402
    MASTER_KEY,
    compile_peers,
    litellm_proxy,
    litellm_router,
)
from tests.bench.report import Goal, Report, Row  # noqa: E402

CONCURRENT = (1, 32, 256)
BARE, ROUTER, KERNEL, DOOR = "aiohttp, bare", "Endpoints.invoke", "Semantic Kernel", "HTTP door"
PEER_ROUTER, PEER_PROXY, HTTPX = "LiteLLM Router", "LiteLLM proxy", "httpx, bare"

SHARE_OF_BARE = 0.70
ROUTER_ADDED_MS = 0.15
TIMES_PEER_PROXY = 20.0
DOOR_ADDED_MS = 2.0

type System = Callable[[str], AbstractAsyncContextManager[Take]]
"""Given the model's OpenAI base URL."""
type Rounds = dict[str, list[Metrics]]
"""By system; the same round at the same place."""


# The systems.


def in_process(client: Callable[[str], AbstractAsyncContextManager[Call]]) -> System:
    @asynccontextmanager
    async def system(url: str) -> AsyncIterator[Take]:
        async with client(url) as call:
            yield partial(take_turn, call)

    return system


@asynccontextmanager
async def door(url: str) -> AsyncIterator[Call]:
    async with running_app(url) as running, our_door(running) as call:
        yield call


@asynccontextmanager
async def peer_proxy(url: str) -> AsyncIterator[Call]:
    key = {"authorization": f"Bearer {MASTER_KEY}"}
    async with litellm_proxy(url) as base, bare_aiohttp(f"{base}/v1", key) as call:
        yield call


SYSTEMS: dict[str, System] = {
    BARE: in_process(bare_aiohttp),
    ROUTER: in_process(our_endpoints),
    KERNEL: in_process(semantic_kernel),
    DOOR: in_process(door),
    PEER_ROUTER: litellm_router,
    PEER_PROXY: in_process(peer_proxy),
    HTTPX: in_process(bare_httpx),
}


# Measuring.


async def measure(url: str, names: list[str], count: int, seconds: float) -> dict[int, Rounds]:
    """Rounds by the number of concurrent callers."""
    measured: dict[int, Rounds] = {}
    async with AsyncExitStack() as stack:
        takes = {name: await stack.enter_async_context(SYSTEMS[name](url)) for name in names}
        for concurrent in CONCURRENT:
            rounds: Rounds = {name: [] for name in names}
            for index in range(count + 1):
                sys.stdout.write(f"{concurrent} concurrent, round {index} of {count}\n")
                sys.stdout.flush()
                for name, take in takes.items():
                    metrics = await take(concurrent, seconds)
                    if index > 0:  # the first round warms up
                        rounds[name].append(metrics)
            measured[concurrent] = rounds
    return measured


# What it comes to.


def summary(measured: dict[int, Rounds]) -> Report:
    report = Report()
    for concurrent, rounds in measured.items():
        for name in rounds:
            report.rows.append(Row(name, f"{concurrent} concurrent", figures(rounds, name)))
    report.goals = [*router_goals(measured), *door_goals(measured)]
    return report


def figures(rounds: Rounds, name: str) -> Metrics:
    own = rounds[name]
    found = {
        "per_s": statistics.median(each["per_s"] for each in own),
        "of_bare": ratio(rounds, name, BARE),
        "p50_ms": statistics.median(each["p50_ms"] for each in own),
    }
    if name != BARE:
        found |= {f"added_{each}_ms": added(rounds, name, each) for each in ("p50", "p95", "p99")}
    return found


def ratio(rounds: Rounds, name: str, other: str) -> float:
    pairs = zip(rounds[name], rounds[other], strict=True)
    return statistics.median(own["per_s"] / its["per_s"] for own, its in pairs)


def added(rounds: Rounds, name: str, percentile: str) -> float:
    key = f"{percentile}_ms"
    pairs = zip(rounds[name], rounds[BARE], strict=True)
    return statistics.median(own[key] - bare[key] for own, bare in pairs)


def router_goals(measured: dict[int, Rounds]) -> list[Goal]:
    if ROUTER not in measured[1]:
        return []
    goals = [
        Goal.at_least(
            f"requests/s of {ROUTER} at {concurrent}, as a share of the bare loop's",
            ratio(rounds, ROUTER, BARE),
            SHARE_OF_BARE,
        )
        for concurrent, rounds in measured.items()
    ]
    name = f"p50 that {ROUTER} adds at 1, in ms"
    return [*goals, Goal.at_most(name, added(measured[1], ROUTER, "p50"), ROUTER_ADDED_MS)]


def door_goals(measured: dict[int, Rounds]) -> list[Goal]:
    goals = []
    if DOOR in measured[1]:
        name = f"p50 that the {DOOR} adds at 1, in ms"
        goals.append(Goal.at_most(name, added(measured[1], DOOR, "p50"), DOOR_ADDED_MS))
    if DOOR in measured[1] and PEER_PROXY in measured[1]:
        name = f"requests/s of the {DOOR} at 32, as a multiple of the {PEER_PROXY}'s"
        times = ratio(measured[32], DOOR, PEER_PROXY)
        goals.append(Goal.at_least(name, times, TIMES_PEER_PROXY))
    return goals


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each system a case")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    names = list(dict.fromkeys([BARE, *options.only]))
    if {PEER_ROUTER, PEER_PROXY} & set(names):
        set_up_only(PEERS)
        compile_peers()
    sys.stdout.write((__doc__ or "") + "\n")
    with simulated_process(MODEL) as url:
        measured = uvloop.run(measure(f"{url}/{MODEL}/v1", names, options.rounds, options.seconds))
    summary(measured).publish(options.json)


if __name__ == "__main__":
    main()
