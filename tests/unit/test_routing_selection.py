"""Who is asked, and in which order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.routing.selection import order, pinned


@dataclass(frozen=True)
class Place:
    name: str
    weight: float = 1
    priority: int = 1
    region: str | None = None
    version: str | None = None


places = st.lists(
    st.builds(
        Place,
        name=st.uuids().map(str),
        weight=st.sampled_from([0, 0.001, 1, 2.5, 1000]),
        priority=st.integers(1, 3),
        region=st.sampled_from([None, "north", "south"]),
    ),
    max_size=8,
)


@given(places=places, region=st.sampled_from([None, "north"]), key=st.none() | st.text(min_size=1))
def test_everyone_with_a_weight_once_by_priority_then_region(places, region, key):
    ordered = order(places, region=region, sticky_key=key)
    assert sorted(each.name for each in ordered) == sorted(e.name for e in places if e.weight > 0)
    ranks = [(each.priority, region is not None and each.region != region) for each in ordered]
    assert ranks == sorted(ranks)


def within(count: int, trials: int, share: float) -> bool:
    """Six standard deviations of a binomial: one run in 500 million fails by chance."""
    return abs(count - trials * share) <= 6 * sqrt(trials * share * (1 - share)) + 1


@pytest.mark.parametrize("weights", [(1, 1), (1, 2, 7), (0.1, 0.3), (90, 10, 0), (1000, 0.5)])
@pytest.mark.parametrize("sticky", [False, True])
def test_the_first_place_falls_to_each_by_its_weight(weights, sticky):
    trials = 20_000
    pool = [Place(f"d{index}", weight) for index, weight in enumerate(weights)]
    firsts = Counter(
        order(pool, sticky_key=f"user-{number}" if sticky else None)[0].name
        for number in range(trials)
    )
    for place in pool:
        assert within(firsts[place.name], trials, place.weight / sum(weights))


def test_the_second_place_falls_to_the_rest_by_their_weights():
    pool, trials = [Place("a", 5), Place("b", 3), Place("c", 1)], 20_000
    seconds = Counter()
    for _ in range(trials):
        first, second, _ = order(pool)
        if first.name == "a":
            seconds[second.name] += 1
    assert within(seconds["b"], seconds.total(), 3 / 4)


@given(key=st.text(min_size=1), places=places)
def test_the_same_key_meets_the_same_deployments_whatever_order_they_are_declared_in(key, places):
    once = [each.name for each in order(places, sticky_key=key)]
    again = [each.name for each in order(places[::-1], sticky_key=key)]
    assert once == again


KEYS = [f"conversation-{number}" for number in range(4000)]


def homes(*pool: Place) -> dict[str, str]:
    return {key: order(pool, sticky_key=key)[0].name for key in KEYS}


def test_when_one_goes_only_its_keys_move():
    a, b, c = Place("a"), Place("b"), Place("c")
    before, after = homes(a, b, c), homes(a, b)
    assert all(after[key] == home for key, home in before.items() if home != "c")


def test_when_one_comes_keys_move_to_it_alone():
    a, b, c = Place("a"), Place("b"), Place("c")
    before, after = homes(a, b), homes(a, b, c)
    moved = {key for key in KEYS if before[key] != after[key]}
    assert {after[key] for key in moved} == {"c"}
    assert within(len(moved), len(KEYS), 1 / 3)


def test_when_a_weight_changes_no_more_keys_move_than_must():
    before = homes(Place("a", 1), Place("b", 1), Place("c", 1))
    after = homes(Place("a", 2), Place("b", 1), Place("c", 1))
    moved = {key for key in KEYS if before[key] != after[key]}
    assert {after[key] for key in moved} == {"a"}  # from a third of all to a half
    assert within(len(moved), len(KEYS), 1 / 2 - 1 / 3)


def test_a_share_moves_with_an_operators_shift_of_the_weights():
    for share in (0.01, 0.1, 0.5):
        at_new = homes(Place("old", 1 - share), Place("new", share))
        assert within(sum(home == "new" for home in at_new.values()), len(KEYS), share)


def test_without_a_weight_nobody_is_asked():
    assert order([Place("a", 0)]) == []
    assert order([Place("a", 0), Place("b", 0)]) == []


def test_a_pin_is_a_version_or_a_name_and_asks_for_no_weight():
    one, two, three = Place("a", version="1"), Place("b", 0, version="2"), Place("2")
    assert pinned([one, two, three], "1") == [one]
    assert pinned([one, two, three], "2") == [two]
    assert pinned([one, two, three], "a") == [one]
    assert pinned([one, two, three], "nobody") == []
