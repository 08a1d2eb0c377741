"""What the entity makes of the workers' reports."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from azure.durable_functions.testing import execute_entity
from hypothesis import given
from hypothesis import strategies as st

from contracts.sharing import (
    FORGET_AFTER,
    Counts,
    DeploymentReport,
    Fact,
    LimitUse,
    SharedModel,
    WorkerReport,
    latency_bin,
)
from contracts.steering import Override
from orchestrators.standing import (
    MOST_DEPLOYMENTS,
    MOST_WORKERS,
    Standing,
    merged,
    steered,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
entity = Standing._function._func.entity_function


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def report(worker: str, number: int = 1, seconds: float = 0, seen: int = 0, **fields):
    """A report of one deployment, `d`."""
    told = DeploymentReport(**fields)
    return WorkerReport(
        worker=worker, number=number, seen=seen, at=at(seconds), deployments={"d": told}
    )


def uses(whole: int, in_use: int) -> dict:
    return {"limits": {"slots": LimitUse(whole=whole, in_use=in_use)}}


def amount(shared: SharedModel, worker: str) -> int:
    return shared.workers[worker].holdings["d"]["slots"].grants[-1].amount


def held(shared: SharedModel) -> int:
    return sum(worker.holdings["d"]["slots"].held for worker in shared.workers.values())


FACTS = st.builds(
    Fact,
    until=st.none() | st.integers(0, 60).map(at),
    at=st.integers(0, 60).map(at),
    by=st.sampled_from("abc"),
)


@given(st.lists(FACTS, min_size=1, max_size=6), st.randoms())
def test_of_what_changes_the_latest_holds_in_whichever_order_it_comes(facts, random):
    def told(order):
        shared = SharedModel()
        for number, fact in enumerate(order, 1):
            shared = merged(shared, report("w", number, breaker=fact, unusable=fact))
        return shared.deployments["d"]

    shuffled = random.sample(facts, len(facts))
    latest = max(facts, key=lambda fact: (fact.at, fact.by))
    for known in (told(facts), told(shuffled)):
        assert (known.breaker.at, known.breaker.by) == (latest.at, latest.by)
        assert known.unusable == known.breaker


def test_of_several_cooldowns_the_longest_holds():
    shared = merged(SharedModel(), report("a", cooling_until=at(9)))
    shared = merged(shared, report("b", cooling_until=at(5)))
    shared = merged(shared, report("c"))
    assert shared.deployments["d"].cooling_until == at(9)


def test_counts_add_up_across_workers_and_reports():
    counts = Counts(calls=3, failures=1, throttled=2, seconds=1.5, bins={4: 2})
    shared = merged(SharedModel(), report("a", counts=counts))
    shared = merged(shared, report("b", counts=counts))
    shared = merged(shared, report("a", 2, counts=counts))
    total = shared.deployments["d"].counts
    assert (total.calls, total.failures, total.throttled, total.seconds) == (9, 3, 6, 4.5)
    assert total.bins == {4: 6}
    assert (total - counts).calls == 6


def test_a_report_that_comes_twice_or_late_changes_nothing():
    counts = Counts(calls=1)
    shared = merged(SharedModel(), report("a", 2, counts=counts))
    assert merged(shared, report("a", 2, 5, counts=counts)) is shared
    assert merged(shared, report("a", 1, 5, counts=counts)) is shared


def test_a_worker_that_is_silent_is_forgotten_and_what_it_held_is_free():
    shared = merged(SharedModel(), report("a", **uses(10, 10)))
    soon = FORGET_AFTER.total_seconds()
    assert amount(merged(shared, report("b", seconds=soon, **uses(10, 1))), "b") == 0
    late = merged(shared, report("b", seconds=soon + 1, **uses(10, 1)))
    assert late.workers.keys() == {"b"}
    assert amount(late, "b") == 10


def test_one_worker_has_the_whole():
    assert amount(merged(SharedModel(), report("a", **uses(10, 1))), "a") == 10


def test_a_second_one_gets_its_part_when_the_first_says_that_it_has_given_it_up():
    shared = merged(SharedModel(), report("a", 1, demand=1, **uses(10, 1)))
    shared = merged(shared, report("b", 1, demand=1, **uses(10, 1)))
    assert amount(shared, "b") == 0
    shared = merged(shared, report("a", 2, seen=1, demand=1, **uses(10, 10)))
    assert amount(shared, "a") == 5
    shared = merged(shared, report("b", 2, seen=1, demand=1, **uses(10, 0)))
    assert amount(shared, "b") == 0, "the first may not have read of it"
    shared = merged(shared, report("a", 3, seen=2, demand=1, **uses(10, 5)))
    shared = merged(shared, report("b", 3, seen=2, demand=1, **uses(10, 0)))
    assert (amount(shared, "a"), amount(shared, "b")) == (5, 5)
    assert held(shared) == 10


def test_what_a_worker_may_have_read_is_not_given_to_another_until_it_says_so():
    shared = merged(SharedModel(), report("a", 1, demand=1, **uses(10, 0)))
    assert amount(shared, "a") == 10
    shared = merged(shared, report("b", 1, demand=1, **uses(10, 0)))
    # Written before it read the first answer, by which it may be using all by now.
    shared = merged(shared, report("a", 2, seen=0, demand=1, **uses(10, 0)))
    assert amount(shared, "a") == 5
    shared = merged(shared, report("b", 2, demand=1, **uses(10, 0)))
    assert amount(shared, "b") == 0


def test_while_a_lower_limit_is_rolled_out_it_holds_for_all():
    shared = merged(SharedModel(), report("old", demand=1, **uses(100, 0)))
    shared = merged(shared, report("new", demand=1, **uses(10, 0)))
    shared = merged(shared, report("old", 2, seen=1, demand=1, **uses(100, 0)))
    assert amount(shared, "old") == 5


def test_a_field_that_an_operator_leaves_out_stays_and_null_takes_it_back():
    shared = steered(SharedModel(), {"d": Override(weight=2, priority=3)})
    shared = steered(shared, {"d": Override(weight=0)})
    assert (shared.deployments["d"].weight, shared.deployments["d"].priority) == (0, 3)
    shared = merged(shared, report("a"))
    shared = steered(shared, {"d": Override(priority=None)})
    assert (shared.deployments["d"].weight, shared.deployments["d"].priority) == (0, None)


def test_what_is_kept_is_bounded():
    shared = steered(SharedModel(), {"kept": Override(weight=1)})
    for number in range(MOST_DEPLOYMENTS + 50):
        told = {f"d{number}": DeploymentReport()}
        one = WorkerReport(worker="w", number=number + 1, seen=0, at=at(0), deployments=told)
        shared = merged(shared, one)
    assert len(shared.deployments) <= MOST_DEPLOYMENTS + 1
    assert "kept" in shared.deployments
    for number in range(MOST_WORKERS + 50):
        shared = merged(shared, report(f"w{number}", **uses(10, 0)))
    assert len(shared.workers) == MOST_WORKERS


def test_a_worker_that_does_not_read_does_not_grow_the_state():
    shared = SharedModel()
    for number in range(1, 40):
        shared = merged(shared, report("a", number, **uses(10, number % 3)))
    grants = shared.workers["a"].holdings["d"]["slots"].grants
    assert len(grants) <= 8
    assert held(shared) == 10


def test_the_entity_keeps_what_it_is_told():
    told = report("a", breaker=Fact(until=at(9), at=at(0), by="a"), **uses(10, 1))
    first = execute_entity(entity, "report", told.model_dump(mode="json"))
    state = json.loads(first.serialized_state)
    second = execute_entity(entity, "steer", {"d": {"weight": 0.5}}, state)
    shared = execute_entity(entity, "get", None, json.loads(second.serialized_state))
    known = SharedModel.model_validate(shared.get_result(dict))
    assert known.deployments["d"].weight == 0.5
    assert known.deployments["d"].breaker.until == at(9)
    assert amount(known, "a") == 10


def test_the_entity_begins_with_nothing():
    assert (
        SharedModel.model_validate(execute_entity(entity, "get").get_result(dict)) == SharedModel()
    )


@given(st.floats(0, 5000), st.floats(0, 5000))
def test_longer_calls_are_counted_in_no_earlier_bin(one, other):
    assert (latency_bin(one) <= latency_bin(other)) == (one <= other) or (
        latency_bin(one) == latency_bin(other)
    )


@given(st.lists(st.floats(0.002, 500), min_size=1, max_size=200))
def test_a_percentile_is_right_to_a_tenth(seconds):
    bins: dict[int, int] = {}
    for each in seconds:
        bins[latency_bin(each)] = bins.get(latency_bin(each), 0) + 1
    counts = Counts(calls=len(seconds), seconds=sum(seconds), bins=bins)
    ordered = sorted(seconds)
    exact = ordered[-(-95 * len(ordered) // 100) - 1]
    assert abs(counts.percentile(95) / exact - 1) < 0.1
