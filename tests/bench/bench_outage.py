"""What an outage of one deployment costs the callers, beside the LiteLLM Router.

Three simulated deployments of equal capacity serve one model; each answers in 1 s and refuses more
than 20 calls at once with 429 and Retry-After. Calls come at a steady rate, however those
before them fare: twice what the three can do, then half of it. One deployment after the other fails
for a while, each in another way, and heals:

    503        answers so at once
    hang       says nothing; calls time out after 5 s
    drop       resets the connection when an answer is due
    garbage    answers 200 with half of the JSON

    of_ideal       answered calls a second in the outage, as a share of what was possible: the
                   capacity of the two others, or all calls if they were fewer; what was under way
                   when the failing one began to fail still ends, and can make it more than 1
    wasted         calls sent to the failing one after its first failure was seen
    arrived        all calls that it got in the outage, as it counted them
    errors         calls that ended otherwise than answered, until the recovery was over; at twice
                   the capacity without those that were told when to come back
    turned_away    calls that were told when to come back
    p95_ms         of the calls answered in the outage, with the time they waited for a slot
    back_after_s   from the healing until 10 calls have come to it

The LiteLLM Router meets the first failure alone, at half the capacity; there all that arrived but
the first call count as wasted.

    ./dev bench outage [--seconds 20] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from itertools import cycle
from pathlib import Path

import aiohttp
import uvloop

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from contracts.calls import Attempt, CallScope, ModelCall, Task  # noqa: E402
from contracts.errors import SluiceError  # noqa: E402
from devhost.inference.simulated import SimulatedClient, simulated_process  # noqa: E402
from devhost.setup.environments import PEERS  # noqa: E402
from devhost.setup.install import set_up_only  # noqa: E402
from endpoints import Endpoints  # noqa: E402
from endpoints.context import Context  # noqa: E402
from endpoints.settings import Settings  # noqa: E402
from tests.bench.outages import (  # noqa: E402
    CAPACITY_PER_S,
    HEALTHY,
    MODES,
    NAMES,
    Outage,
    callers_metrics,
    play,
    wasted,
)
from tests.bench.peers.calls import MODEL, PAYLOAD  # noqa: E402
from tests.bench.peers.litellm_processes import compile_peers, program  # noqa: E402
from tests.bench.peers.open_loop import ANSWERED, BEGINS, Made, offer  # noqa: E402
from tests.bench.report import Goal, Report, Row  # noqa: E402

ROUTER, PEER = "Endpoints.invoke", "LiteLLM Router"
LOADS = {"twice the capacity": 2.0, "half the capacity": 0.5}
LOW = "half the capacity"

WARM_UP_SECONDS = 30
"""In which the router finds out what each deployment takes."""
RECOVERY_SECONDS = 15
TIMEOUT_SECONDS = 5
PATIENCE_SECONDS = 2
"""As a job's call has."""

OF_IDEAL = 0.95
MOST_WASTED = 5


def per_second(load: str) -> float:
    return LOADS[load] * CAPACITY_PER_S * len(NAMES)


# This router.


async def measure(url: str, load: str, seconds: float) -> list[Row]:
    attempts: list[Attempt] = []
    models = router(url, attempts)

    async def call() -> str:
        scope = CallScope("job", "tenant", patience=PATIENCE_SECONDS)
        try:
            await models.invoke(ModelCall(MODEL, Task.CHAT, PAYLOAD), scope)
        except SluiceError as error:
            return error.code
        return ANSWERED

    whole = WARM_UP_SECONDS + len(MODES) * (seconds + RECOVERY_SECONDS)
    async with steering(url) as control:
        offering = asyncio.create_task(offer(call, per_second(load), whole))
        await asyncio.sleep(WARM_UP_SECONDS)
        outages = [
            await play(control, mode, failing, seconds, RECOVERY_SECONDS)
            for mode, failing in zip(MODES, cycle(NAMES), strict=False)
        ]
        made = await offering
    await models.aclose()
    return [row(ROUTER, load, each, made, wasted(each, attempts)) for each in outages]


def router(url: str, attempts: list[Attempt]) -> Endpoints:
    deployments = [
        {
            "name": name,
            "protocol": "openai",
            "url": f"{url}/{name}/v1",
            "model": MODEL,
            "auth": {"key": "key"},
            "timeout_seconds": TIMEOUT_SECONDS,
        }
        for name in NAMES
    ]
    settings = Settings.model_validate({"models": {MODEL: {"deployments": deployments}}})
    context = Context(meter=lambda record: attempts.append(record.attempt))
    return Endpoints(settings, context=context)


# The peer.


async def measure_peer(url: str, load: str, seconds: float) -> list[Row]:
    rate = per_second(load)
    whole = WARM_UP_SECONDS + seconds + RECOVERY_SECONDS
    told = ["--per-second", f"{rate}", "--seconds", f"{whole}", "--timeout", f"{TIMEOUT_SECONDS}"]
    urls = [f"{url}/{name}/v1" for name in NAMES]
    async with steering(url) as control, program("litellm_outage", *told, *urls) as child:
        assert child.stdout is not None
        if (await child.stdout.readline()).decode().strip() != BEGINS:
            raise RuntimeError("the LiteLLM Router did not start; it has said why on stderr")
        await asyncio.sleep(WARM_UP_SECONDS)
        outage = await play(control, "503", NAMES[0], seconds, RECOVERY_SECONDS)
        made = [Made(*each) for each in json.loads(await child.stdout.read())]
    return [row(PEER, load, outage, made, max(0, outage.arrived - 1))]


# Both.


class steering:  # noqa: N801 - reads as what happens inside the block
    """All deployments healthy at the start, and the way to change that."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> SimulatedClient:
        self._session = aiohttp.ClientSession()
        control = SimulatedClient(self._session, self._url)
        for name in NAMES:
            await control.set(name, HEALTHY)
        return control

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


def row(system: str, load: str, outage: Outage, made: list[Made], lost: int) -> Row:
    metrics = callers_metrics(outage, made, per_second(load)) | {"wasted": lost}
    return Row(system, f"{outage.mode}, {load}", metrics)


def goals(rows: list[Row]) -> list[Goal]:
    found = []
    for each in rows:
        if each.system == ROUTER:
            metrics = each.metrics
            name = f"{each.case}: answered, as a share of what was possible"
            found.append(Goal.at_least(name, metrics["of_ideal"], OF_IDEAL))
            found.append(Goal.at_most(f"{each.case}: wasted", metrics["wasted"], MOST_WASTED))
            found.append(Goal.at_most(f"{each.case}: errors", metrics["errors"], 0))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20, help="length of an outage")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    set_up_only(PEERS)
    compile_peers()
    sys.stdout.write((__doc__ or "") + "\n")
    rows: list[Row] = []
    with simulated_process(*NAMES) as url:
        for load in LOADS:
            sys.stdout.write(f"{ROUTER}, {load}\n")
            sys.stdout.flush()
            rows += uvloop.run(measure(url, load, options.seconds))
        sys.stdout.write(f"{PEER}, {LOW}\n")
        sys.stdout.flush()
        rows += uvloop.run(measure_peer(url, LOW, options.seconds))
    Report(rows, goals(rows)).publish(options.json)


if __name__ == "__main__":
    main()
