"""A circuit breaker: a deployment that keeps failing is left alone, then tried with one call.

    closed      calls go through; it opens when CONSECUTIVE fail in a row or half of RECENT do, or
                of those sent since a first one failed CONSECUTIVE and no less than half: answers
                may still come for a while that were on their way when it broke down
    open        no call goes through until the probe interval, or the server's Retry-After, is over
    half-open   one call goes through: an answer closes the breaker, a failure opens it again

The probe interval doubles from the second failed trial on, up to LONGEST times the configured one:
in a long outage all who wait for the deployment come back each time. A Retry-After may lengthen
it, and shorten only the first: by then the server was wrong once.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Literal

CONSECUTIVE = 3
RECENT = 20
SUSPECT_SECONDS = 1.0
"""After a failure, unless a call begun later is answered sooner."""
PROBE_SECONDS = 10.0
LONGEST = 6

_ROW = (1 << CONSECUTIVE) - 1
_ALL = (1 << RECENT) - 1

BreakerState = Literal["closed", "open", "half_open"]


class Breaker:
    """Of one deployment. Only failures that are the deployment's own are told to it."""

    __slots__ = (
        "_closed_at",
        "_failed",
        "_failed_since",
        "_failed_trials",
        "_open_until",
        "_probe_seconds",
        "_recent",
        "_sent",
        "_suspect_until",
        "_trial",
    )

    def __init__(self, probe_seconds: float = PROBE_SECONDS) -> None:
        self._probe_seconds = probe_seconds
        self._recent = 0  # a bit for each of the last calls, the latest lowest; 1 is a failure
        self._failed = 0  # calls, since one that began at _failed_since; none begun later answered
        self._failed_since = 0.0
        self._sent: list[float] = []  # when calls began since the first of these was seen
        self._suspect_until = 0.0
        self._open_until: float | None = None
        self._closed_at: float | None = None
        self._trial = False
        self._failed_trials = 0

    def state(self, now: float) -> BreakerState:
        if self._open_until is None:
            return "closed"
        return "half_open" if now >= self._open_until else "open"

    @property
    def open_until(self) -> float | None:
        """When the next trial may be made; None while closed."""
        return self._open_until

    @property
    def on_trial(self) -> bool:
        """A trial is under way, whose end decides when the next call may go through."""
        return self._trial

    def admits(self, now: float) -> bool:
        if self._open_until is None:
            return True
        return now >= self._open_until and not self._trial

    def suspect(self, now: float) -> bool:
        """It may be breaking down: others of its kind are to be asked before. Once it is open the
        trial decides."""
        return self._open_until is None and bool(self._failed) and now < self._suspect_until

    def admits_from(self, now: float) -> float:
        """The earliest time at which a call may go through; any moment, if a trial is under way."""
        return now if self._open_until is None else max(now, self._open_until)

    def begin(self, now: float) -> bool:
        """An admitted call is sent. Returns whether it is the trial, to be told at its end."""
        self._trial = self._open_until is not None
        if self._failed:
            self._sent.append(now)
        return self._trial

    def answered(self, now: float, *, began: float, trial: bool) -> bool:
        """`began`: when the call did. Returns whether this closes the breaker; a late answer of
        earlier days does not."""
        if self._open_until is None:
            self._recent = self._recent << 1 & _ALL
            if began >= self._failed_since:
                self._failed = 0
            return False
        if trial:
            self.close(now)
        return trial

    def failed(self, now: float, *, began: float, trial: bool, wait: float | None = None) -> bool:
        """`began`: when the call did; `wait`: the server's Retry-After, in seconds. Returns
        whether this opens the breaker."""
        if self._open_until is not None:
            if trial:
                self._trial = False
                self._open_until = now + max(wait or 0.0, self._interval())
                self._failed_trials += 1
            return False
        if self._closed_at is not None and began < self._closed_at:
            return False  # a late failure of earlier days: the deployment has answered since
        self._note_failure(began, now)
        if self._keeps_failing(began):
            self._open_until = now + (wait or self._probe_seconds)
            return True
        return False

    def let_go(self, *, trial: bool) -> None:
        """A call ended without saying anything about the deployment."""
        if trial:
            self._trial = False

    def close(self, now: float) -> None:
        self._recent = 0
        self._failed = 0
        self._open_until = None
        self._closed_at = now
        self._trial = False
        self._failed_trials = 0

    def open(self, until: float) -> None:
        """Another worker found it failing."""
        if self._open_until is None or until > self._open_until:
            self._open_until = until

    def _note_failure(self, began: float, now: float) -> None:
        self._recent = (self._recent << 1 | 1) & _ALL
        if not self._failed:
            self._failed_since, self._sent = began, []
        self._failed += 1
        self._suspect_until = now + SUSPECT_SECONDS

    def _keeps_failing(self, began: float) -> bool:
        """`began`: when the last to fail did; what was sent after it may not be due yet."""
        if self._recent & _ROW == _ROW or self._recent.bit_count() * 2 >= RECENT:
            return True
        if self._failed < CONSECUTIVE:
            return False
        return self._failed * 2 >= bisect_right(self._sent, began)

    def _interval(self) -> float:
        """Seconds from a failed trial to the next."""
        return self._probe_seconds * min(2.0 ** min(self._failed_trials, 10), LONGEST)
