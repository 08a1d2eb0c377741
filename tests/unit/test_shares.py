"""Dividing a limit among workers."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestrators.shares import FLOOR, apportion

WORKERS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.floats(0, 1e6), min_size=1, max_size=12
)
WHOLE = st.integers(1, 100_000)
TURN = st.integers(0, 10**9)


@given(WHOLE, WORKERS, TURN)
def test_nothing_is_given_twice_and_nothing_is_left(whole, demands, turn):
    shares = apportion(whole, demands, turn)
    assert shares.keys() == demands.keys()
    assert sum(shares.values()) == whole
    assert min(shares.values()) >= 0


@given(WHOLE, WORKERS, TURN)
def test_where_there_is_one_for_each_nobody_goes_without(whole, demands, turn):
    if whole >= len(demands):
        least = max(1, whole // (FLOOR * len(demands)))
        assert min(apportion(whole, demands, turn).values()) >= least


@given(st.integers(1, 11), st.integers(1, 12), TURN)
def test_where_there_is_not_everyone_has_a_turn(whole, count, turn):
    demands = {f"w{number}": 1.0 for number in range(count)}
    given_out: Counter[str] = Counter()
    for step in range(count):
        given_out.update(apportion(whole, demands, turn + step))
    assert min(given_out.values()) > 0
    assert max(given_out.values()) - min(given_out.values()) <= max(1, count - 1)


@given(st.integers(1, 11), st.integers(2, 12), TURN)
def test_who_wants_none_does_not_take_the_place_of_one_who_does(whole, count, turn):
    demands = {f"w{number}": 0.0 for number in range(count)} | {"w0": 3.0}
    assert apportion(whole, demands, turn)["w0"] >= 1


@given(st.integers(100, 10_000), st.floats(100, 1e6), TURN)
def test_who_wants_more_gets_more_in_proportion(whole, demand, turn):
    shares = apportion(whole, {"a": demand, "b": 3 * demand}, turn)
    least = whole // (FLOOR * 2)
    assert abs((shares["b"] - least) - 3 * (shares["a"] - least)) <= 4 + whole / 40


def test_of_next_to_nothing_nobody_wants_more():
    assert apportion(8, {"a": 0.0, "b": 0.02}, 0) == {"a": 4, "b": 4}


def test_equals_take_turns_for_what_is_left_over():
    demands = {"a": 1.0, "b": 1.0, "c": 1.0}
    assert {
        max(apportion(4, demands, turn).items(), key=lambda each: each[1])[0] for turn in range(3)
    } == {"a", "b", "c"}
