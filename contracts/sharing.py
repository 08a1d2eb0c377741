"""What workers tell each other of a model's deployments, through one entity a model.

What they tell each other of a tenant's quotas is in `contracts.quotas`, built of the same parts.

A worker reports; the entity merges; every worker reads what was merged. Times are the workers'
clocks, aware and in UTC.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import floor, log2
from typing import Literal

from pydantic import BaseModel, ConfigDict

FORGET_AFTER = timedelta(seconds=30)
"""A worker that has not reported for so long is gone, and what it held is free."""
LEASE_SECONDS = 20.0
"""A worker whose reports have not arrived for so long gives up what it holds: well before it is
forgotten, or two would use the same part of a limit."""

LimitName = Literal["slots", "requests", "tokens"]
"""Calls at once (max_concurrency); requests_per_minute; tokens_per_minute."""

BINS_A_DOUBLING = 4
MOST_BIN = 80
"""Some 18 minutes."""


def standing_key(model: str) -> str:
    """The key of the model's entity: Azure Storage takes no slash in it."""
    return model.replace("/", "~")


class Shared(BaseModel):
    model_config = ConfigDict(extra="ignore")
    """Workers of the version before and after read each other's: what is new is passed over."""


class Fact(Shared):
    """Something of a deployment that changes; of two the later one holds."""

    until: datetime | None
    """None: it is over."""
    at: datetime
    """When it became so."""
    by: str
    """The worker that found it."""

    def follows(self, other: Fact | None) -> bool:
        """Whether this is the later of the two, the same way at every worker."""
        return other is None or (self.at, self.by) > (other.at, other.by)


class Counts(Shared):
    """Calls of a deployment. Two readings of a total, subtracted, tell of the time between."""

    calls: int = 0
    """Answered and failed; neither throttled nor refused for the caller's own fault."""
    failures: int = 0
    throttled: int = 0
    seconds: float = 0.0
    """Of the answered calls, summed."""
    bins: dict[int, int] = {}
    """Answered calls by how long they took: BINS_A_DOUBLING bins from 1 ms on."""

    def __add__(self, other: Counts) -> Counts:
        return self._with(other, 1)

    def __sub__(self, other: Counts) -> Counts:
        return self._with(other, -1)

    def _with(self, other: Counts, sign: int) -> Counts:
        bins = dict(self.bins)
        for index, count in other.bins.items():
            bins[index] = bins.get(index, 0) + sign * count
        return Counts(
            calls=self.calls + sign * other.calls,
            failures=self.failures + sign * other.failures,
            throttled=self.throttled + sign * other.throttled,
            seconds=self.seconds + sign * other.seconds,
            bins={index: count for index, count in bins.items() if count > 0},
        )

    @property
    def answered(self) -> int:
        return self.calls - self.failures

    @property
    def error_rate(self) -> float:
        return self.failures / self.calls if self.calls else 0.0

    @property
    def throttle_rate(self) -> float:
        asked = self.calls + self.throttled
        return self.throttled / asked if asked else 0.0

    @property
    def mean(self) -> float:
        """Seconds; 0 when nothing was answered."""
        return self.seconds / self.answered if self.answered else 0.0

    def percentile(self, percent: float) -> float:
        """Seconds, to a tenth; 0 when nothing was answered."""
        left = sum(self.bins.values()) * percent / 100
        for index in sorted(self.bins):
            left -= self.bins[index]
            if left <= 0:
                return float(2 ** ((index + 0.5) / BINS_A_DOUBLING)) / 1000
        return 0.0


def latency_bin(seconds: float) -> int:
    """Where `Counts.bins` counts a call of so many seconds."""
    if seconds <= 0.001:
        return 0
    return min(floor(BINS_A_DOUBLING * log2(seconds * 1000)), MOST_BIN)


class LimitUse(Shared):
    """A limit of one deployment, at one worker."""

    whole: int
    """As configured, across all workers."""
    in_use: int
    """The share that the worker keeps to or, when that is more, what it has used already: a
    minute's requests stay used for a minute."""


class LimitsReport(Shared):
    """Limits that one worker uses, and how much it would."""

    demand: float = 0.0
    """Calls under way, waiting, and that came in the last second."""
    limits: dict[LimitName, LimitUse] = {}


class DeploymentReport(LimitsReport):
    """A deployment as one worker knows it."""

    breaker: Fact | None = None
    unusable: Fact | None = None
    cooling_until: datetime | None = None
    counts: Counts = Counts()
    """Since the report before."""


class Report(Shared):
    """What one worker tells."""

    worker: str
    number: int
    """1 for the worker's first. What comes late or twice is told by it."""
    seen: int
    """The last report whose grants the worker has read, and keeps to."""
    at: datetime


class WorkerReport(Report):
    """What one worker tells of one model."""

    deployments: dict[str, DeploymentReport]


class Grant(Shared):
    """What a worker may use of a limit from its reading this on."""

    number: int
    """The report that it answers."""
    amount: int


class Holding(LimitUse):
    """What a worker may be using of a limit."""

    grants: list[Grant] = []
    """The present one, behind those that the worker may still keep to."""

    @property
    def held(self) -> int:
        """The most that the worker may be using: only the rest can be given to others."""
        return max([self.in_use, *(grant.amount for grant in self.grants)])


class SharedWorker(Shared):
    """A worker as the others see it."""

    number: int
    at: datetime
    demand: dict[str, float] = {}
    """By deployment, or by what else has limits."""
    holdings: dict[str, dict[LimitName, Holding]] = {}
    """As `demand`, where there are limits."""


class SharedDeployment(Shared):
    """What is known of a deployment across workers, and what an operator wants of it."""

    breaker: Fact | None = None
    unusable: Fact | None = None
    cooling_until: datetime | None = None
    counts: Counts = Counts()
    """Since it was first reported."""
    weight: float | None = None
    """An operator's; None leaves the declared one."""
    priority: int | None = None


class SharedModel(Shared):
    """The entity's state."""

    at: datetime | None = None
    """The latest time that any report told."""
    workers: dict[str, SharedWorker] = {}
    deployments: dict[str, SharedDeployment] = {}
