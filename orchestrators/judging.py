"""Whether a deployment under rollout does well enough beside the others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from contracts.rollouts import RolloutRules
from contracts.sharing import Counts, Fact, SharedDeployment

FEWEST_FOR_P95 = 100
"""Answers at each side; of fewer the 95th percentile is one or two unlucky calls."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`wait`: nothing can be said yet."""

    found: Literal["wait", "good", "bad"]
    why: str


def judge(
    new: Counts,
    others: Counts,
    baseline: Counts | None,
    rules: RolloutRules,
    *,
    alone: bool = False,
) -> Judgement:
    """By the calls of one stretch of time. Throttled calls count as calls here.

    `baseline`: how the others did before, where they have too few calls now; `alone`: they get
    none now, so that where there is no baseline there is nothing to wait for.
    """
    beside = others if others.calls >= rules.min_calls else baseline or Counts()
    asked = new.calls + new.throttled
    if asked < rules.min_calls:
        return Judgement("wait", f"{asked} of {rules.min_calls} calls that it is judged by")
    for what, rate, theirs in (
        ("failed", new.error_rate, beside.error_rate),
        ("were throttled", new.throttle_rate, beside.throttle_rate),
    ):
        if rate > max(rules.max_error_rate, theirs):
            return Judgement(
                "bad",
                f"{rate:.1%} of its calls {what}, {theirs:.1%} of the others';"
                f" {rules.max_error_rate:.1%} are borne",
            )
    if beside.calls < rules.min_calls and not alone:
        return Judgement("wait", f"{beside.calls} of {rules.min_calls} calls of the others")
    for what, seconds, theirs, fewest in (
        ("on average", new.mean, beside.mean, rules.min_calls),
        ("at the 95th percentile", new.percentile(95), beside.percentile(95), FEWEST_FOR_P95),
    ):
        if min(new.answered, beside.answered) < max(fewest, 1):
            continue
        if seconds > rules.max_latency_ratio * theirs:
            return Judgement(
                "bad",
                f"its calls take {seconds:.3g} s {what}, the others' {theirs:.3g} s;"
                f" {rules.max_latency_ratio:g} times as long is borne",
            )
    return Judgement("good", f"{asked} calls judged")


def left_alone(known: SharedDeployment, now: datetime, since: datetime) -> Judgement | None:
    """What workers found of it since then counts at once, however few calls that took."""
    if _holds(known.unusable, now, since):
        return Judgement("bad", "it cannot be used as configured")
    if _holds(known.breaker, now, since):
        return Judgement("bad", "it keeps failing: its breaker is open")
    return None


def _holds(fact: Fact | None, now: datetime, since: datetime) -> bool:
    """Half-open is not closed; but what was found long ago may be over, and nobody has looked."""
    if fact is None or fact.until is None:
        return False
    return fact.until > now or fact.at >= since
