"""A rate limit: never more than it allows, never less to who comes when told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.inference.simulated.rate_limit import RateLimit

rates = st.floats(1, 10_000)
bursts = st.floats(0.1, 60)
costs = st.floats(0.1, 1_000)


@given(
    per_minute=rates,
    burst_seconds=bursts,
    asked=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 1)), max_size=60),
)
def test_in_any_span_of_time_no_more_than_a_burst_and_what_flows_in(
    per_minute, burst_seconds, asked
):
    limit = RateLimit(per_minute, burst_seconds, 0)
    now, taken = 0.0, []
    for pause, part in asked:
        now += pause
        cost = part * limit.burst
        if limit.wait(cost, now) == 0:
            limit.take(cost)
            taken.append((now, cost))
    for first, (begin, _) in enumerate(taken):
        total = 0.0
        for moment, cost in taken[first:]:
            total += cost
            assert total <= limit.burst + (moment - begin) * per_minute / 60 + 1e-3


@given(per_minute=rates, burst_seconds=bursts, taken=st.lists(costs, max_size=20), cost=costs)
def test_who_comes_when_told_is_let_in_and_not_much_sooner(per_minute, burst_seconds, taken, cost):
    limit = RateLimit(per_minute, burst_seconds, 0)
    for each in taken:
        if limit.wait(each, 0) == 0:
            limit.take(each)
    wait = limit.wait(cost, 0)
    if wait > 0:
        assert limit.wait(cost, wait * 0.99 - 1e-3) > 0
    assert limit.wait(cost, wait) == 0


@given(per_minute=rates, burst_seconds=bursts)
def test_one_request_always_fits_and_an_idle_limit_holds_no_more_than_its_burst(
    per_minute, burst_seconds
):
    limit = RateLimit(per_minute, burst_seconds, 0)
    assert limit.burst == pytest.approx(max(1, per_minute / 60 * burst_seconds))
    assert limit.wait(1, 1e6) == 0
    limit.take(limit.burst)
    assert limit.wait(1, 1e6) > 0


def test_what_is_larger_than_the_burst_is_let_in_and_paid_back():
    limit = RateLimit(60, 10, 0)
    assert limit.wait(25, 0) == 0
    limit.take(25)
    assert limit.wait(1, 0) == pytest.approx(16)  # 15 are owed
