"""How many slots of a model a day of requests needs: the sums of docs/scaling.md, simulated.

Nothing is measured here and nothing is started: two models of a queue, from fixed seeds.

    answered at once    calls come at random at the busiest hour's rate and wait for one of so many
                        slots; each takes a random time (log-normal, as long-tailed as calls of
                        language models are). How long do they wait?
    answered later      jobs come over a day that is busiest at two in the afternoon, and capacity
                        is less than that hour asks for. How long does the longest wait?

The sums are: offered = calls a second at the peak x seconds a call, and slots = offered +
2 x sqrt(offered). That a large pool may run fuller than a small one is what the simulation shows.

    ./dev bench scaling [--json FILE]
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.report import Goal, Report, Row  # noqa: E402

DAY = 86_400
A_DAY = (1_000_000, 10_000_000, 100_000_000)
PEAK = 4.0
"""The busiest moment's rate as a multiple of the day's mean."""
SECONDS = 2.0
"""One call, on average."""
SPREAD = 1.0
"""Standard deviation of a call's time as a multiple of its mean."""
CALLS = 300_000
"""Simulated at each size, the first tenth of them uncounted."""
MEAN_SHARES = (1.05, 1.2, 1.5, 2.0)
"""Capacity for jobs, as a multiple of the day's mean."""


@dataclass(frozen=True, slots=True)
class Load:
    """What comes at the busiest moment."""

    a_second: float
    seconds: float

    @classmethod
    def of_day(cls, requests: int, peak: float = PEAK, seconds: float = SECONDS) -> Load:
        return cls(requests / DAY * peak, seconds)

    @property
    def offered(self) -> float:
        """Calls under way on average, were there slots without end (Little's law)."""
        return self.a_second * self.seconds

    @property
    def slots(self) -> int:
        """That let few calls wait, and those not long (square-root staffing)."""
        return math.ceil(self.offered + 2 * math.sqrt(self.offered))


def waits(load: Load, slots: int, *, calls: int, spread: float, seed: int) -> Iterator[float]:
    """Seconds that each call waits for a slot, first come first served.

    With `spread` 1 and times that are exponential this would be M/M/c; here they are log-normal.
    """
    chance = random.Random(seed)
    sigma = math.sqrt(math.log(1 + spread**2))
    mean = math.log(load.seconds) - sigma**2 / 2
    free = [0.0] * slots
    now = 0.0
    for _ in range(calls):
        now += chance.expovariate(load.a_second)
        begins = max(now, free[0])
        heapq.heapreplace(free, begins + chance.lognormvariate(mean, sigma))
        yield begins - now


def day(peak: float, steps: int = 1440) -> list[float]:
    """The rate at each step of a day as a multiple of its mean; `peak` at two in the afternoon."""
    sharpness = _sharpness(peak)
    hours = (24 * step / steps for step in range(steps))
    shape = [((1 + math.cos(math.tau * (hour - 14) / 24)) / 2) ** sharpness for hour in hours]
    mean = statistics.fmean(shape)
    return [each / mean for each in shape]


def _sharpness(peak: float) -> float:
    low, high = 0.0, 1_000.0
    for _ in range(60):
        middle = (low + high) / 2
        steps = [((1 + math.cos(math.tau * step / 360)) / 2) ** middle for step in range(360)]
        low, high = (middle, high) if 1 / statistics.fmean(steps) < peak else (low, middle)
    return low


def longest_wait(share: float, peak: float) -> float:
    """Hours that the last in the queue waits at worst, with capacity of `share` times the mean.

    The second of two days, so that what the first left over counts too.
    """
    rates = day(peak)
    step = 24 / len(rates)
    queue = worst = 0.0
    for rate in [*rates, *rates]:
        queue = max(0.0, queue + (rate - share) * step)
        worst = max(worst, queue / share)
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report = Report()
    for requests in A_DAY:
        report.rows.append(_at_once(requests, report))
    for share in MEAN_SHARES:
        hours = longest_wait(share, PEAK)
        row = {"capacity_of_peak": share / PEAK, "longest_wait_h": hours}
        report.rows.append(Row(f"{share:g} x the mean", "answered later", row))
    report.publish(options.json)
    return 0 if all(goal.ok for goal in report.goals) else 1


def _at_once(requests: int, report: Report) -> Row:
    load = Load.of_day(requests)
    came = list(waits(load, load.slots, calls=CALLS, spread=SPREAD, seed=requests))
    counted = sorted(came[CALLS // 10 :])
    p95, p99 = (counted[int(len(counted) * share)] for share in (0.95, 0.99))
    waited = sum(each > 0 for each in counted) / len(counted)
    name = f"seconds that one of 20 calls waits at {requests:,} a day"
    report.goals.append(Goal.at_most(name, p95, 0.25))
    return Row(
        f"{requests:,} a day",
        "answered at once",
        {
            "peak_per_s": load.a_second,
            "offered": load.offered,
            "slots": load.slots,
            "use": load.offered / load.slots,
            "waited_share": waited,
            "p95_s": p95,
            "p99_s": p99,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
