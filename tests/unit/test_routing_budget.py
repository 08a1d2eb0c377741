"""Retries are a share of calls: what breaks down is not hit the harder for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from endpoints.routing.budget import A_SECOND, MOST, START, RetryBudget


@given(
    share=st.floats(0, 1),
    steps=st.lists(st.sampled_from(["call", "retry", "tick"]), max_size=400),
    seconds=st.floats(0, 5),
)
def test_no_more_retries_than_a_share_of_the_calls_and_what_a_quiet_model_has(
    share, steps, seconds
):
    budget, now, calls, retries = RetryBudget(share), 0.0, 0, 0
    for step in steps:
        if step == "call":
            budget.earn()
            calls += 1
        elif step == "retry":
            retries += budget.spend(now)
        else:
            now += seconds
    assert retries <= START + share * calls + A_SECOND * now + 1e-6


def test_when_every_call_fails_a_fifth_is_tried_again():
    budget, retries = RetryBudget(), 0
    for _ in range(10_000):
        budget.earn()
        retries += budget.spend(0)
    assert 2000 <= retries <= 2000 + START


def test_a_quiet_model_has_retries_and_has_them_again_later():
    budget = RetryBudget()
    assert [budget.spend(0) for _ in range(int(START) + 1)] == [True] * int(START) + [False]
    assert not budget.spend(0.5)
    assert budget.spend(1)
    assert not budget.spend(1)
    assert all(budget.spend(1000) for _ in range(int(START)))
    assert not budget.spend(1000)


def test_no_more_is_saved_up_than_one_outage_takes():
    budget = RetryBudget(1)
    for _ in range(int(MOST) * 3):
        budget.earn()
    assert sum(budget.spend(0) for _ in range(int(MOST) * 3)) == MOST


def test_what_was_taken_in_vain_is_there_again():
    budget = RetryBudget(0)
    for _ in range(100):
        assert budget.spend(0)
        budget.give_back()
