"""What is kept of the last calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from endpoints.routing.statistics import RECENT, Statistics

seconds = st.lists(st.floats(0.001, 100), min_size=1, max_size=2 * RECENT + 10)


@given(seconds=seconds)
def test_percentiles_are_those_of_the_last_answers(seconds):
    statistics = Statistics()
    for each in seconds:
        statistics.answered(each, 0)
    kept = sorted(seconds[-RECENT:])
    p0, p50, p95, p100 = statistics.percentiles(0, 50, 95, 100)
    assert (p0, p100) == (kept[0], kept[-1])
    assert sum(each <= p50 for each in kept) * 2 >= len(kept)
    assert sum(each <= p95 for each in kept) * 100 >= len(kept) * 95
    assert statistics.outcomes["answered"] == len(seconds)


@given(seconds=seconds, calls=st.integers(0, 2 * RECENT))
def test_the_latest_are_told_latest_first(seconds, calls):
    statistics = Statistics()
    for each in seconds:
        statistics.answered(each, 0)
    kept = seconds[-RECENT:]
    assert statistics.latest(calls) == kept[::-1][:calls]


@given(seconds=seconds)
def test_the_slowest_is_forgotten_slowly(seconds):
    statistics = Statistics()
    for each in seconds:
        statistics.answered(each, 0)
        assert statistics.slowest >= each
    assert statistics.slowest <= max(seconds)
    for _ in range(3000):
        statistics.answered(0.001, 0)
    assert statistics.slowest < max(seconds) / 10 + 0.001


def test_the_typical_follows_and_failures_do_not_count():
    statistics = Statistics()
    for _ in range(3):
        statistics.answered(1.0, 0)
    statistics.ended("failed", "HTTP 500", 7)
    assert statistics.typical == 1.0
    for _ in range(200):
        statistics.answered(3.0, 8)
    assert 2.9 < statistics.typical <= 3.0
    assert statistics.outcomes == {"answered": 203, "failed": 1}
    assert (statistics.last_reason, statistics.last_reason_at) == ("HTTP 500", 7)


def test_nothing_is_known_before_the_first_answer():
    assert Statistics().percentiles(50, 95, 99) == (0, 0, 0)
    assert Statistics().latest(5) == []
