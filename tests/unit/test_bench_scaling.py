"""The simulation behind docs/scaling.md agrees with what is known of queues."""

from __future__ import annotations

import math
import re
import statistics
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.bench_scaling import A_DAY, Load, day, longest_wait, waits

ROOT = Path(__file__).parents[2]


def test_waits_are_those_of_pollaczek_and_khinchine_for_one_slot():
    """M/G/1: the mean wait is known for any distribution of the calls' time."""
    load = Load(a_second=0.5, seconds=1.0)
    for spread in (0.5, 1.0):
        came = list(waits(load, 1, calls=150_000, spread=spread, seed=1))
        expected = 0.5 * (1 + spread**2) / (2 * (1 - 0.5))
        assert statistics.fmean(came) == pytest.approx(expected, rel=0.1)


def test_the_share_that_waits_is_about_erlangs_for_many_slots():
    """Erlang's C is for exponential times; the share that waits hardly depends on that."""
    load, slots = Load(a_second=46.3, seconds=2.0), 112
    came = list(waits(load, slots, calls=100_000, spread=1.0, seed=2))
    waited = statistics.fmean(each > 0 for each in came[10_000:])
    assert waited == pytest.approx(erlang_c(load.offered, slots), abs=0.02)


def erlang_c(offered, slots):
    blocked = 1.0
    for count in range(1, slots + 1):
        blocked = offered * blocked / (count + offered * blocked)
    use = offered / slots
    return blocked / (1 - use * (1 - blocked))


@given(
    offered=st.floats(0.5, 20),
    more=st.integers(1, 5),
    seed=st.integers(0, 2**32),
    calls=st.just(500),
)
def test_more_slots_never_let_a_call_wait_longer(offered, more, seed, calls):
    load = Load(a_second=offered, seconds=1.0)
    few = waits(load, load.slots, calls=calls, spread=1.0, seed=seed)
    many = waits(load, load.slots + more, calls=calls, spread=1.0, seed=seed)
    assert all(later <= sooner + 1e-9 for sooner, later in zip(few, many, strict=True))


@pytest.mark.parametrize("peak", [1.5, 2.0, 4.0, 6.0])
def test_a_day_has_the_peak_that_it_is_given_at_two_in_the_afternoon(peak):
    rates = day(peak)
    assert statistics.fmean(rates) == pytest.approx(1.0)
    assert max(rates) == pytest.approx(peak, rel=0.01)
    assert rates.index(max(rates)) == len(rates) * 14 // 24


@settings(max_examples=20)
@given(share=st.floats(1.01, 6), peak=st.floats(1.1, 6))
def test_jobs_wait_only_where_capacity_is_below_the_peak(share, peak):
    wait = longest_wait(share, peak)
    assert (wait > 0) == (max(day(peak)) > share + 1e-9) or math.isclose(wait, 0, abs_tol=1e-3)
    assert longest_wait(share + 0.1, peak) <= wait + 1e-9


def test_the_page_says_what_the_simulation_finds():
    page = (ROOT / "docs/scaling.md").read_text()
    for requests in A_DAY:
        load = Load.of_day(requests)
        assert re.search(rf"\| {requests // 1_000_000} million \|.*\| {load.slots:,} \|", page)
