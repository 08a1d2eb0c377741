"""An outage of a simulated deployment: how it is played, and what callers had of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from contracts.calls import Attempt
from devhost.inference.simulated import (
    Behaviour,
    Constant,
    Drop,
    Failure,
    Garbage,
    Hang,
    SimulatedClient,
    Status,
)
from tests.bench.peers.calls import Metrics
from tests.bench.peers.open_loop import ANSWERED, Made

NAMES = ("a", "b", "c")
HEALTHY = Behaviour(latency=Constant(1000), capacity=20)
CAPACITY_PER_S = 20.0
"""Of each deployment: 20 calls at once, each 1 s."""
MODES: dict[str, Failure] = {
    "503": Status(503),
    "hang": Hang(),
    "drop": Drop(),
    "garbage": Garbage(),
}
NO_CAPACITY = "no_capacity"
BACK = 10
"""Calls that a healed deployment has got when traffic counts as returned."""
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Outage:
    """Times as time.time() counts them."""

    mode: str
    failing: str
    began: float
    healed: float
    over: float
    """The end of the recovery."""
    arrived: int
    """Calls that the failing deployment got, as it counted them itself."""
    back_after: float
    """Seconds from the healing; all of the recovery where traffic did not return."""


async def play(
    control: SimulatedClient, mode: str, failing: str, seconds: float, recovery: float
) -> Outage:
    """Let it fail for so long, heal it, and watch it recover."""
    await control.reset_counts(failing)
    await control.set(failing, replace(HEALTHY, failures=(MODES[mode],)))
    began = time.time()
    await asyncio.sleep(seconds)
    arrived = (await control.state(failing)).counts.arrived
    await control.set(failing, HEALTHY)
    healed = time.time()
    back_after = await _back_after(control, failing, recovery)
    await asyncio.sleep(healed + recovery - time.time())
    return Outage(mode, failing, began, healed, time.time(), arrived, back_after)


async def _back_after(control: SimulatedClient, name: str, most: float) -> float:
    healed = time.time()
    while (passed := time.time() - healed) < most:
        if (await control.state(name)).arrived_since_change >= BACK:
            return passed
        await asyncio.sleep(POLL_SECONDS)
    return most


def callers_metrics(outage: Outage, made: Sequence[Made], per_second: float) -> Metrics:
    """What the callers had."""
    possible = min(per_second, CAPACITY_PER_S * (len(NAMES) - 1))
    overloaded = per_second > possible
    during = [each for each in made if outage.began <= each.ended < outage.healed]
    answered = [each for each in during if each.outcome == ANSWERED]
    goodput = len(answered) / (outage.healed - outage.began)
    latencies = sorted(each.ended - each.began for each in answered)
    ended = [each.outcome for each in made if outage.began <= each.ended < outage.over]
    turned_away = ended.count(NO_CAPACITY)
    errors = len(ended) - ended.count(ANSWERED) - (turned_away if overloaded else 0)
    return {
        "goodput_per_s": goodput,
        "of_ideal": goodput / possible,
        "errors": errors,
        "turned_away": turned_away,
        "p95_ms": 1000 * latencies[len(latencies) * 95 // 100],
        "arrived": outage.arrived,
        "back_after_s": outage.back_after,
    }


def wasted(outage: Outage, attempts: Sequence[Attempt]) -> int:
    """Calls sent to the failing one after the router has seen its first failure."""
    spans = [
        (began, began + each.seconds, each.outcome)
        for each in attempts
        if each.deployment == outage.failing
        and outage.began <= (began := each.started_at.timestamp()) < outage.healed
    ]
    failed = [ended for _, ended, outcome in spans if outcome not in (ANSWERED, "throttled")]
    first = min(failed, default=outage.healed)
    return sum(began > first for began, _, _ in spans)
