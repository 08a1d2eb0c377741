"""One deployment as this worker tells others of it, and as it takes their word."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from contracts.sharing import (
    Counts,
    DeploymentReport,
    Fact,
    Holding,
    LimitName,
    SharedDeployment,
    latency_bin,
)
from endpoints.clocks import Clocks
from endpoints.deployment import Deployment
from endpoints.retry_after import LONGEST
from endpoints.routing.standing import FAILURES
from endpoints.shared_limits import shared_limits

STALE = timedelta(minutes=1)
"""Past so long, that others left a deployment alone once is no reason to be careful with it."""
NEWS_SECONDS = 0.5
"""A cooldown that grows by less need not be told at once."""

_HELD_AGAINST = FAILURES | {"unusable"}


@dataclass(slots=True)
class _Register:
    """A time in this worker's standing, with the fact that it stands for among all workers."""

    value: float | None = None
    fact: Fact | None = None

    def notice(self, value: float | None, clocks: Clocks, worker: str) -> bool:
        """Returns whether it has changed here."""
        if value == self.value:
            return False
        self.value = value
        until = None if value is None else clocks.dated(value)
        self.fact = Fact(until=until, at=clocks.now(), by=worker)
        return True


class SharedMember:
    """A deployment among workers."""

    def __init__(self, deployment: Deployment, clocks: Clocks, worker: str) -> None:
        self._deployment = deployment
        self._standing = deployment.standing
        self._declared = (deployment.weight, deployment.priority)
        self._clocks = clocks
        self._worker = worker
        self._breaker = _Register()
        self._unusable = _Register()
        self._cooling = 0.0
        self._limits = shared_limits(deployment.standing)
        self._told: Counter[str] = Counter()
        self._telling: Counter[str] = Counter()

    @property
    def limited(self) -> bool:
        """Whether it has a limit that holds across workers."""
        return bool(self._limits)

    @property
    def ended(self) -> int:
        """Calls that have ended, whichever way, since the start."""
        return self._standing.statistics.outcomes.total()

    @property
    def in_flight(self) -> int:
        return self._standing.calls_at_once.in_flight

    def hold_back(self) -> None:
        """Use nothing of any limit: the others will be heard in a moment."""
        for limit in self._limits.values():
            limit.hold_back()

    def go_alone(self) -> None:
        """Use a small part of each limit, without having heard what the others use."""
        for limit in self._limits.values():
            limit.go_alone()

    # What is told.

    def notice(self) -> bool:
        """Note what has changed here. Returns whether others should know at once."""
        standing, now = self._standing, self._clocks.monotonic()
        news = self._breaker.notice(standing.breaker.open_until, self._clocks, self._worker)
        news |= self._unusable.notice(standing.unusable_until, self._clocks, self._worker)
        cooling = standing.cooling_until(now)
        if cooling is not None and cooling > self._cooling + NEWS_SECONDS:
            self._cooling = cooling
            news = True
        return news

    def report(self, demand: float) -> DeploymentReport:
        now = self._clocks.monotonic()
        cooling = self._standing.cooling_until(now)
        return DeploymentReport(
            breaker=self._breaker.fact,
            unusable=self._unusable.fact,
            cooling_until=None if cooling is None else self._clocks.dated(cooling),
            demand=demand,
            limits={name: limit.use(now) for name, limit in self._limits.items()},
            counts=self._counts(),
        )

    def arrived(self) -> None:
        """What the last report counted has been told."""
        self._told = self._telling

    def _counts(self) -> Counts:
        statistics = self._standing.statistics
        self._telling = Counter(statistics.outcomes)
        since = self._telling - self._told
        answered = since["answered"]
        failures = sum(count for outcome, count in since.items() if outcome in _HELD_AGAINST)
        latencies = statistics.latest(answered)
        mean = sum(latencies) / len(latencies) if latencies else 0.0
        return Counts(
            calls=answered + failures,
            failures=failures,
            throttled=since["throttled"],
            seconds=mean * answered,
            bins=Counter(latency_bin(seconds) for seconds in latencies),
        )

    # What is taken from others.

    def take(self, shared: SharedDeployment, trial_delay: float) -> None:
        """`trial_delay`: seconds that are left to others for the trial after an outage.

        What has changed here is to be noticed before.
        """
        standing, now = self._standing, self._clocks.now()
        breaker, unusable = shared.breaker, shared.unusable
        if breaker is not None and breaker.follows(self._breaker.fact):
            if breaker.until is None:
                standing.breaker.close(self._clocks.monotonic())
            elif breaker.until > now - STALE:
                standing.breaker.open(self._end_of(breaker, breaker.until) + trial_delay)
            self._breaker = _Register(standing.breaker.open_until, breaker)
        if unusable is not None and unusable.follows(self._unusable.fact):
            until = unusable.until
            standing.shun(None if until is None else self._end_of(unusable, until))
            self._unusable = _Register(standing.unusable_until, unusable)
        if shared.cooling_until is not None and shared.cooling_until > now:
            standing.cool(self._moment(shared.cooling_until))
            self._cooling = max(self._cooling, self._moment(shared.cooling_until))
        weight, priority = self._declared
        self._deployment.weight = weight if shared.weight is None else shared.weight
        self._deployment.priority = priority if shared.priority is None else shared.priority

    def keep_to(self, holdings: dict[LimitName, Holding]) -> None:
        """Use of each limit what was granted."""
        for name, limit in self._limits.items():
            if (holding := holdings.get(name)) is not None and holding.grants:
                limit.keep_to(min(holding.grants[-1].amount, limit.whole))

    def released(self) -> None:
        """There may be room now for calls that wait."""
        self._standing.released()

    def _end_of(self, fact: Fact, until: datetime) -> float:
        """When it ends; not later than it lasted when it was told, though a clock be set back."""
        return self._moment(until, (until - fact.at).total_seconds())

    def _moment(self, at: datetime, most: float = LONGEST) -> float:
        """A time of people's clock, at most so many seconds ahead, on the one that never jumps."""
        return self._clocks.monotonic() + min((at - self._clocks.now()).total_seconds(), most)
