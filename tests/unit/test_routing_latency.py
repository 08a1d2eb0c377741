"""Averages that one long answer does not decide."""

from __future__ import annotations

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.routing.latency import FEWEST, Batch


def average(batch: Batch, seconds: list[float]) -> float:
    """In seconds, of a batch that just these complete."""
    assert [batch.add(each) for each in seconds] == [False] * (len(seconds) - 1) + [True]
    return exp(batch.average)


@given(seconds=st.floats(1e-5, 1e3), level=st.integers(0, 300))
def test_calls_of_the_same_length_average_to_it_in_as_many_as_are_under_way(seconds, level):
    size = max(FEWEST, level)
    assert average(Batch(level), [seconds] * size) == pytest.approx(seconds)


@given(skip=st.integers(0, 50))
def test_the_first_after_a_change_do_not_count(skip):
    assert average(Batch(0, skip=skip), [9.0] * skip + [1.0] * FEWEST) == pytest.approx(1.0)


def test_one_answer_of_a_hundred_times_the_length_moves_it_by_a_twentieth():
    assert average(Batch(0), [1.0] * (FEWEST - 1) + [100.0]) < 1.05


def test_an_answer_in_no_time_is_no_error():
    assert average(Batch(0), [0.0] * FEWEST) > 0


@given(
    first=st.lists(st.floats(0.001, 1000), min_size=FEWEST, max_size=FEWEST),
    factor=st.floats(0.01, 100),
)
def test_what_takes_twice_as_long_averages_to_twice_as_much(first, factor):
    second = [factor * each for each in first]
    assert average(Batch(0), second) == pytest.approx(factor * average(Batch(0), first))
