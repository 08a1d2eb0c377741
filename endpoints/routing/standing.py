"""One deployment as this process knows it: whether it takes a call now, and if not, from when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from endpoints.protocols.common_settings import DeploymentSettings
from endpoints.routing.breaker import Breaker
from endpoints.routing.concurrency import ConcurrencyLimit
from endpoints.routing.rates import RateLimit
from endpoints.routing.reserve import Reserve
from endpoints.routing.statistics import Statistics
from endpoints.verdicts import Verdict

UNUSABLE_SECONDS = 60.0
"""How long an unusable deployment is passed over before it is asked again: an operator's repair
shows within a minute, and until then no call pays for the detour."""
STALLED_AFTER = 4.0
"""Times the slowest recent call without any answer, while calls are under way."""
STALLED_AFTER_SECONDS = 2.0
"""And never sooner than this."""
TRIAL_TIMES = 4.0
"""Times the slowest recent call: how long a trial call may take."""

RESERVE_LOOK_SECONDS = 1.0
"""How often a batch call that waits looks whether real time still needs what is kept for it."""

FAILURES = frozenset({"failed", "unknown", "not_connected"})
"""Outcomes that are held against the deployment. A caller's own 4xx never is."""


class Refusal(Enum):
    """Why a deployment takes no call now, by what helps: time, a free slot, or an operator."""

    COOLING = "cooling"
    """It asked to be left alone: a Retry-After."""
    OPEN = "open"
    """Its breaker is open."""
    RATE = "rate"
    """Its requests or tokens of this minute are used up."""
    FULL = "full"
    """As many calls are under way as it takes: one, when that one is its trial."""
    RESERVED = "reserved"
    """What is free is kept for real time, and the call is a batch's."""
    UNUSABLE = "unusable"
    """As configured it cannot be used. It could be asked all the same."""
    STALLED = "stalled"
    """Nothing has come back for far longer than usual. It could be asked all the same."""


@dataclass(slots=True)
class Slot:
    """A call's place at a deployment, from the choice to the call's end."""

    began: float
    level: int
    trial: bool
    tokens: int
    batch: bool = False


class Standing:
    """Takes no decision across deployments; `released` is called whenever a slot comes free."""

    __slots__ = (
        "_cooling_until",
        "_cut_trials",
        "_quiet_since",
        "_silence",
        "_unusable_until",
        "breaker",
        "calls_at_once",
        "released",
        "requests",
        "reserve",
        "statistics",
        "tokens",
    )

    def __init__(self, settings: DeploymentSettings) -> None:
        self.breaker = Breaker(settings.probe_seconds)
        self.calls_at_once = ConcurrencyLimit(settings.max_concurrency)
        self.requests = _rate(settings.requests_per_minute)
        self.tokens = _rate(settings.tokens_per_minute)
        self.reserve = Reserve()
        self.statistics = Statistics()
        self.released: Callable[[], None] = _nothing
        self._cooling_until = 0.0
        self._unusable_until: float | None = None
        self._quiet_since = 0.0  # while calls are under way
        self._silence = 0.0  # seconds with calls under way since it was last heard of
        self._cut_trials = 0

    # Before a call.

    def refusal(self, now: float, tokens: int = 0, *, batch: bool = False) -> Refusal | None:
        """Why it takes no call of so many tokens now; None when it does."""
        if self._cooling_until > now:
            return Refusal.COOLING
        if not self.breaker.admits(now):
            return Refusal.FULL if self.breaker.on_trial else Refusal.OPEN
        if not self._rates_admit(now, tokens):
            return Refusal.RATE
        if (taken := self._slots_taken(now, batch=batch)) is not None:
            return taken
        if self.unusable(now):
            return Refusal.UNUSABLE
        return Refusal.STALLED if self._stalled(now) else None

    def admits_from(self, now: float, tokens: int = 0, *, batch: bool = False) -> float:
        """The earliest time it may take a call; an estimate where a slot must come free."""
        times = [now, self._cooling_until, self.breaker.admits_from(now)]
        if self.requests is not None:
            times.append(self.requests.admits_from(1, now))
        if self.tokens is not None:
            times.append(self.tokens.admits_from(tokens, now))
        if self.breaker.on_trial:
            times.append(now + self.trial_seconds())
        elif not self.calls_at_once.admits() or self._stalled(now):
            times.append(now + max(self.statistics.typical, 0.1))
        elif batch and self._reserved(now):
            times.append(now + RESERVE_LOOK_SECONDS)
        return max(times)

    def begin(self, now: float, tokens: int = 0, *, batch: bool = False) -> Slot:
        """Take a slot; the caller has asked `refusal` in the same turn of the loop."""
        trial = self.breaker.begin(now)
        level = self.calls_at_once.begin()
        if level == 1:
            self._quiet_since = now - self._silence
        if self.requests is not None:
            self.requests.take(1, now)
        if self.tokens is not None:
            self.tokens.take(tokens, now)
        if not batch:
            self.reserve.begin(now)
        return Slot(now, level, trial, tokens, batch)

    def trial_seconds(self) -> float:
        """How long a trial call may take: a deployment that hangs must not hold it for long.

        Twice as long after each trial that this has cut short, for it may have become slow."""
        seconds = max(TRIAL_TIMES * self.statistics.slowest, STALLED_AFTER_SECONDS)
        return seconds * 2.0 ** min(self._cut_trials, 10)

    # After it.

    def answering(self, slot: Slot, now: float) -> bool:
        """An answer that comes as a stream has begun, which is enough of a trial. Returns whether
        this is news, as `answered` does at its end."""
        self._heard(now)
        if not slot.trial:
            return False
        slot.trial = False
        self._cut_trials = 0
        news = self.breaker.answered(now, began=slot.began, trial=True)
        self.released()
        return news

    def answered(self, slot: Slot, now: float, tokens: int) -> bool:
        """`tokens`: what the answer says was used; 0 where it does not. Returns whether this is
        news: a deployment that was failing or unusable answers again."""
        seconds = now - slot.began
        self._heard(now)
        self.statistics.answered(seconds, now)
        limit = self.calls_at_once.limit
        kept = self.reserve.unused(limit, now) if slot.batch else 0
        self.calls_at_once.answered(slot.level, seconds, now, kept)
        self._leaves(slot, now)
        self._correct(slot, tokens, now)
        news = self.breaker.answered(now, began=slot.began, trial=slot.trial)
        news |= self._unusable_until is not None
        self._unusable_until = None
        self._cut_trials = 0
        self.released()
        return news

    def ended(self, slot: Slot, verdict: Verdict, now: float) -> bool:
        """A call that was not answered. Returns whether this is news for an operator: the
        deployment is found failing or unusable."""
        if slot.trial and now - slot.began >= self.trial_seconds():
            self._cut_trials += 1
        self._heard(now)
        self.statistics.ended(verdict.outcome, verdict.reason, now)
        if verdict.outcome == "throttled":
            self.calls_at_once.throttled(slot.level, now, verdict.wait or 0.0)
        else:
            self.calls_at_once.let_go()
        self._leaves(slot, now)
        if verdict.wait is not None:
            self.cool(now + verdict.wait)
        news = self._judge(slot, verdict, now)
        self.released()
        return news

    def let_go(self, slot: Slot, now: float, *, used: bool) -> None:
        """A call that says nothing of the deployment, unless by having waited long where nothing
        comes back. `used`: something may have been sent."""
        stalled = used and self._stalled(now)
        self.calls_at_once.let_go()
        self._leaves(slot, now)
        if used and not self.calls_at_once.in_flight:
            self._silence = now - self._quiet_since
        if stalled:
            self.breaker.failed(now, began=slot.began, trial=slot.trial)
        else:
            self.breaker.let_go(trial=slot.trial)
        if not used:
            if self.requests is not None:
                self.requests.correct(-1, slot.began, now)
            self._correct(slot, 0, now, used=False)
        self.released()

    def cool(self, until: float) -> None:
        """Leave it alone until then. Of several wishes the longest holds."""
        self._cooling_until = max(self._cooling_until, until)

    def cooling_until(self, now: float) -> float | None:
        return self._cooling_until if self._cooling_until > now else None

    def unusable(self, now: float) -> bool:
        return self._unusable_until is not None and self._unusable_until > now

    @property
    def unusable_until(self) -> float | None:
        """Until when it is passed over; None when it is usable, as far as is known."""
        return self._unusable_until

    def shun(self, until: float | None) -> None:
        """Another worker found it unusable, or usable again."""
        self._unusable_until = until

    def _judge(self, slot: Slot, verdict: Verdict, now: float) -> bool:
        if verdict.outcome in FAILURES:
            return self.breaker.failed(now, began=slot.began, trial=slot.trial, wait=verdict.wait)
        self.breaker.let_go(trial=slot.trial)
        if verdict.outcome != "unusable":
            return False
        news = self._unusable_until is None
        self._unusable_until = now + UNUSABLE_SECONDS
        return news

    def _slots_taken(self, now: float, *, batch: bool) -> Refusal | None:
        if not self.calls_at_once.admits():
            return Refusal.FULL
        return Refusal.RESERVED if batch and self._reserved(now) else None

    def _reserved(self, now: float) -> bool:
        calls = self.calls_at_once
        return calls.in_flight >= calls.limit - self.reserve.unused(calls.limit, now)

    def _leaves(self, slot: Slot, now: float) -> None:
        if not slot.batch:
            self.reserve.end(now)

    def _rates_admit(self, now: float, tokens: int) -> bool:
        if self.requests is not None and not self.requests.admits(1, now):
            return False
        return self.tokens is None or self.tokens.admits(tokens, now)

    def _correct(self, slot: Slot, tokens: int, now: float, *, used: bool = True) -> None:
        """Replace the estimate by what was used."""
        if self.tokens is not None and (tokens or not used):
            self.tokens.correct(tokens - slot.tokens, slot.began, now)

    def _heard(self, now: float) -> None:
        self._quiet_since = now
        self._silence = 0.0

    def _stalled(self, now: float) -> bool:
        slowest = self.statistics.slowest
        if not self.calls_at_once.in_flight or not slowest:
            return False
        return now - self._quiet_since > max(STALLED_AFTER * slowest, STALLED_AFTER_SECONDS)


def _rate(per_minute: int | None) -> RateLimit | None:
    return None if per_minute is None else RateLimit(per_minute)


def _nothing() -> None:
    pass
