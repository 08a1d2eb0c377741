"""How long an orchestration's next turn waits, so that one turn takes in many results.

A worker replays the whole history in every turn. When a fan-out of a thousand activities
completes one by one, a turn for each would cost a thousand replays. So results are collected as
long as they keep coming, for a time in proportion to what a turn of this orchestration costs.
Results that come while a turn is out count as having come at its end: they came slowly, as the
worker was busy with the turn. A turn never waits when no other result is to come, nor for anything
but results.
"""

from __future__ import annotations

QUIET_SHARE = 0.5
QUIET_MIN_SECONDS = 0.002
QUIET_MAX_SECONDS = 0.05
LONGEST_SHARE = 4.0
LONGEST_MAX_SECONDS = 1.0


def quiet(last_turn: float) -> float:
    """For how long no result must have come, in seconds; `last_turn` is what the last took."""
    return min(max(last_turn * QUIET_SHARE, QUIET_MIN_SECONDS), QUIET_MAX_SECONDS)


def longest(last_turn: float) -> float:
    """For how long results are collected in any case. A first turn waits for nothing."""
    return min(last_turn * LONGEST_SHARE, LONGEST_MAX_SECONDS)
