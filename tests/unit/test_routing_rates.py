"""Never more than is allowed in any minute, and no wait longer than needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.routing.rates import RateLimit

MINUTE = 60.0
amounts = st.integers(1, 30)
pauses = st.sampled_from([0.0, 0.01, 0.3, 0.999, 1.0, 7.3, 29.5, 59.0, 59.999, 60.0, 61.0, 200.0])


def most_in_a_minute(taken: list[tuple[float, float]]) -> float:
    """The most that any 60 seconds hold, their end included."""
    return max(
        (sum(amount for at, amount in taken if begin <= at < begin + MINUTE) for begin, _ in taken),
        default=0,
    )


@given(
    start=st.floats(0, 1e6),
    per_minute=st.integers(1, 100),
    asked=st.lists(st.tuples(pauses, amounts), max_size=80),
)
def test_no_minute_holds_more_than_is_allowed(start, per_minute, asked):
    limit, now, taken = RateLimit(per_minute), start, []
    for pause, amount in asked:
        now += pause
        if limit.admits(amount, now):
            limit.take(amount, now)
            taken.append((now, amount))
    for begin, _ in taken:
        held = [amount for at, amount in taken if begin <= at < begin + MINUTE]
        assert sum(held) <= per_minute or len(held) == 1  # what is more than a minute's worth


@given(
    per_minute=st.integers(1, 100),
    asked=st.lists(
        st.tuples(pauses, amounts, st.booleans(), st.integers(0, 30)), min_size=1, max_size=60
    ),
)
def test_nor_when_estimates_are_corrected_downwards(per_minute, asked):
    """What was used instead of the estimate is known only later, sometimes much later."""
    limit, now, taken, open_calls = RateLimit(per_minute), 0.0, [], []
    for pause, amount, ends, used in asked:
        now += pause
        if ends and open_calls:
            index = open_calls.pop(0)
            at, estimate = taken[index]
            limit.correct(min(used, estimate) - estimate, at, now)
            taken[index] = at, min(used, estimate)
        elif limit.admits(amount, now) and amount <= per_minute:
            limit.take(amount, now)
            open_calls.append(len(taken))
            taken.append((now, amount))
    assert most_in_a_minute(taken) <= per_minute


@given(
    per_minute=st.integers(1, 100),
    taken=st.lists(st.tuples(pauses, amounts), max_size=40),
    amount=st.integers(1, 200),
)
def test_the_time_it_names_is_the_earliest(per_minute, taken, amount):
    limit, now = RateLimit(per_minute), 0.5
    for pause, each in taken:
        now += pause
        if limit.admits(each, now):
            limit.take(each, now)
    at = limit.admits_from(amount, now)
    assert at >= now
    if at > now:
        for earlier in (now, (now + at) / 2, at - 0.001):
            assert not limit.admits(amount, earlier)
        assert at - now <= MINUTE + 1
    assert limit.admits(amount, at)


def test_a_steady_stream_gets_nearly_all_that_is_allowed():
    limit, passed = RateLimit(600), 0
    for tick in range(60_000):  # ten minutes, a hundred tries a second
        now = tick / 100
        if limit.admits(1, now):
            limit.take(1, now)
            passed += 1
    assert passed >= 6000 * 60 / 61


def test_the_same_room_is_not_given_twice():
    limit = RateLimit(10)
    limit.take(10, 0)
    limit.correct(-10, 0, 59)  # nothing had been sent after all
    assert limit.admits(10, 59)
    limit.take(10, 59)
    assert not limit.admits(1, 61)
    assert limit.used(61) == 10


def test_what_is_corrected_after_a_minute_changes_nothing():
    limit = RateLimit(10)
    limit.take(10, 0)
    limit.correct(-9, 0, 200)
    assert limit.used(200) == 0


def test_what_is_larger_than_a_minutes_worth_goes_alone():
    limit = RateLimit(10)
    assert limit.admits(25, 0)
    limit.take(25, 0)
    assert not limit.admits(1, 0)
    assert limit.admits_from(25, 0) == pytest.approx(61)


def test_a_worker_without_a_share_sends_nothing():
    limit = RateLimit(10)
    limit.share(0)
    assert not limit.admits(1, 0)
    limit.share(2.5)
    assert limit.admits(1, 0)
    limit.take(2, 0)
    assert not limit.admits(1, 0)
