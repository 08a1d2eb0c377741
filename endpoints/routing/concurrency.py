"""How many calls a deployment takes at once: nobody configures it, it is found out.

Two signs show the most that is useful.
- A 429: the deployment takes fewer calls than were under way when the refused one was sent.
- Latency: by Little's law the throughput at n calls is n / latency(n). When calls take longer than
  they did with fewer at once, the limit is halved for a moment to see which it is. If half the
  calls bring nearly the throughput, the others only wait inside the deployment, and there is no
  use in them. A model server that computes calls together gets slower with more of them and still
  does more: it is not held back.
  What is known of fewer is at first what quieter times have shown.

Either sets a ceiling. It is tried again a little above, at first soon, then ever more rarely while
it holds; once it gives way, in steps that double. Below the ceiling the limit grows by one with
each answer while it is what holds calls back, so it doubles each round trip.
"""

from __future__ import annotations

from math import exp, inf, log

from endpoints.routing.latency import SHORTEST, Batch

START = 16
MOST = 4096
LEAST_GAIN = 1.2
"""Twice the calls must bring at least so much more throughput."""
ROOM = 1.35
"""Calls at once, over those that just keep the deployment busy."""
FIRST_PROBE_SECONDS = 4.0
LAST_PROBE_SECONDS = 256.0
WORTH = 60
"""A probe that is refused costs all of the deployment for the time that its 429 asks for: it is
made so rarely that it costs a sixtieth of the time."""
LONGEST_PROBE_SECONDS = 900.0
DOUBT_SECONDS = 512.0
"""What was found useful is looked at again after so long: chance may have had a hand in it."""

QUICK_SECONDS = 0.1
"""Calls that take no longer are not held back: what they wait inside the deployment is too little
to matter. Most of it may even be spent in this process, whose own work a busy loop takes for a
deployment that gets slower."""

_QUICK = log(QUICK_SECONDS)
_SLOWER = log(2 / LEAST_GAIN)
"""By so much longer calls may take, in logarithms, at twice the level."""


class ConcurrencyLimit:
    """Of one deployment. `cap` is the configured most, if any."""

    __slots__ = (
        "_batch",
        "_cap",
        "_ceiling",
        "_check_at",
        "_check_seconds",
        "_doubt_at",
        "_few",
        "_few_sum",
        "_floor",
        "_floor_until",
        "_full",
        "_full_average",
        "_probe_at",
        "_probe_seconds",
        "_same_sign",
        "_slow",
        "_step",
        "_useful",
        "in_flight",
        "limit",
    )

    def __init__(self, cap: int | None = None) -> None:
        self.in_flight = 0
        self._cap = min(cap or MOST, MOST)
        self.limit = min(START, self._cap)
        self._batch = Batch(self.limit)
        # The ceiling.
        self._ceiling = MOST
        self._probe_at = 0.0
        self._probe_seconds = FIRST_PROBE_SECONDS
        self._step = 1
        self._floor = 1
        self._floor_until = 0.0
        # The look at half the calls.
        self._useful = -inf  # the average latency up to which more calls have been of use
        self._few = 0  # calls at half the limit or less, while that is not known
        self._few_sum = 0.0  # of the logarithms of their seconds
        self._slow = False  # calls take longer than that
        self._full = 0  # the limit to go back to, while half of it is looked at
        self._full_average = 0.0
        self._same_sign = False
        self._doubt_at = inf
        self._check_at = 0.0
        self._check_seconds = FIRST_PROBE_SECONDS

    @property
    def cap(self) -> int | None:
        """The configured most, or this worker's share of it; None without one."""
        return None if self._cap >= MOST else self._cap

    def admits(self) -> bool:
        return self.in_flight < self.limit

    def begin(self) -> int:
        """A call is sent. Returns the level to tell at its end: the calls now under way."""
        self.in_flight += 1
        return self.in_flight

    def let_go(self) -> None:
        """A call ended without saying anything about capacity."""
        self.in_flight -= 1

    def answered(self, level: int, seconds: float, now: float, kept: int = 0) -> None:
        """`seconds`: how long the call took; `level`: what `begin` gave; `kept`: slots that calls
        like this one could have had, were they not kept for others."""
        limit = self.limit
        held_back = (self.in_flight + kept) * 5 >= limit * 4
        self.in_flight -= 1
        if level * 2 <= limit and self._useful == -inf:
            self._few += 1
            self._few_sum += log(max(seconds, SHORTEST))
        if limit * 3 <= level * 4 <= limit * 4 and self._batch.add(seconds):
            self._judge(self._batch.average, level, now)
        elif held_back and not self._slow:
            self.limit = min(limit + 1, self._ceiling, self._cap)

    def throttled(self, level: int, now: float, wait: float) -> None:
        """A 429, after which the deployment is left alone for `wait` seconds; `level`: what `begin`
        gave."""
        self.in_flight -= 1
        self.limit, self._full = self._full or self.limit, 0
        if now >= self._floor_until:  # the first 429 of a burst
            self._floor = (self.limit + 1) // 2
            self._floor_until = now + wait
            longer = min(self._probe_seconds * 2, LAST_PROBE_SECONDS)
            self._probe_seconds = max(longer, min(wait * WORTH, LONGEST_PROBE_SECONDS))
        # Not to what is under way now: calls that were answered meanwhile had their place. Others
        # of the burst, sent when fewer were under way, may lower it further, but one burst halves
        # it at most, since a limit by the minute answers 429 as well.
        self._limited_to(min(self.limit, max(self._floor, level - 1)), now + wait)

    def share(self, most: int) -> None:
        """Of a cap that holds across workers, what this one may use."""
        cap = max(0, most)
        if cap == self._cap:
            return
        self._cap = cap
        least = START if self._ceiling >= MOST else 1
        self.limit = min(self.limit if self._full else max(self.limit, least), cap)

    # The ceiling.

    def _limited_to(self, most: int, now: float) -> None:
        self._ceiling = max(1, most)
        self.limit = min(self._ceiling, self._cap)  # of which nothing may be this worker's share
        self._step = 1
        self._probe_at = now + self._probe_seconds
        self._batch = Batch(most)

    def _probe(self, level: int, now: float) -> None:
        """Try a little above the ceiling, where calls up to it have been answered."""
        if self.limit >= self._ceiling and level >= self.limit and now >= self._probe_at:
            self._ceiling = min(self._ceiling + self._step, MOST)
            self._step *= 2
            self._probe_at = now + FIRST_PROBE_SECONDS

    # Latency.

    def _judge(self, average: float, level: int, now: float) -> None:
        if self._full:
            self._compare(average, now)
        elif self._slow and level > 1 and now >= self._check_at:
            # Not the batch that was found slow: that one was chosen for being slow.
            self._look_at_half(average, level)
            return
        else:
            if self._useful == -inf and self._few >= START // 2:
                self._useful = self._few_sum / self._few
            slower = average > self._useful + _SLOWER or now >= self._doubt_at
            self._slow = slower and average > _QUICK
            if not self._slow:
                self._useful = min(self._useful, average)
                self._probe(level, now)
        self._batch = Batch(self.limit)

    def _look_at_half(self, average: float, level: int) -> None:
        self._full, self._full_average = self.limit, average
        self.limit = level // 2
        self._batch = Batch(self.limit, skip=2 * self.limit)

    def _compare(self, average: float, now: float) -> None:
        slower = self._full_average - average
        half, full, self._full = self.limit, self._full, 0
        if slower <= _SLOWER:
            self._useful = self._full_average
            self._doubt_at = now + DOUBT_SECONDS
            self._slow = False
            self._same_sign = False
            self.limit = min(full, self._cap)
            self._check_at = now + self._check_seconds
            self._check_seconds = min(self._check_seconds * 2, LAST_PROBE_SECONDS)
            return
        if not self._same_sign:
            self._same_sign = True
            self._probe_seconds = min(self._probe_seconds * 2, LAST_PROBE_SECONDS)
        # So many calls suffice for the throughput of 2 * half, if each takes as long as at half.
        # Where half is itself too many these are too: so half of these is looked at next.
        enough = max(half, 2 * half * exp(-slower))
        self._useful = average if self._useful == -inf else min(self._useful, average)
        self._check_seconds = FIRST_PROBE_SECONDS
        self._limited_to(min(int(enough * ROOM), full), now)
