"""How many calls at once: the laws under any history, and where it settles in simulated worlds."""

from __future__ import annotations

from statistics import median

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from endpoints.routing.concurrency import START, ConcurrencyLimit
from tests.unit.routing_world import Batching, Capacity, Workers, World, constant, lognormal

# The laws.


class LimitMachine(RuleBasedStateMachine):
    cap: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.limit = ConcurrencyLimit(self.cap)
        self.now = 0.0
        self.levels: list[int] = []

    @rule(seconds=st.sampled_from([0.01, 1.0, 30.0, 300.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(calls=st.integers(1, 60))
    def begin(self, calls: int) -> None:
        for _ in range(calls):
            if self.limit.admits():
                self.levels.append(self.limit.begin())

    @precondition(lambda self: self.levels)
    @rule(calls=st.integers(1, 60), seconds=st.sampled_from([0.001, 0.1, 0.3, 20.0]))
    def answer(self, calls: int, seconds: float) -> None:
        for _ in range(min(calls, len(self.levels))):
            self.limit.answered(self.levels.pop(0), seconds, self.now)

    @precondition(lambda self: self.levels)
    @rule(calls=st.integers(1, 5), wait=st.sampled_from([0.1, 10.0]))
    def throttle(self, calls: int, wait: float) -> None:
        for _ in range(min(calls, len(self.levels))):
            self.limit.throttled(self.levels.pop(), self.now, wait)

    @precondition(lambda self: self.levels)
    @rule()
    def let_go(self) -> None:
        self.levels.pop()
        self.limit.let_go()

    @invariant()
    def counts_what_is_under_way(self) -> None:
        assert self.limit.in_flight == len(self.levels)

    @invariant()
    def always_one_and_never_more_than_the_cap(self) -> None:
        assert 1 <= self.limit.limit <= (self.cap or 4096)

    @invariant()
    def admits_below_the_limit_alone(self) -> None:
        assert self.limit.admits() == (self.limit.in_flight < self.limit.limit)


class CappedLimitMachine(LimitMachine):
    cap = 5


TestLimit = LimitMachine.TestCase
TestCappedLimit = CappedLimitMachine.TestCase


def test_it_doubles_each_round_trip_while_it_is_what_holds_calls_back():
    world = World(Batching(1.0, 0.0, constant(1)), callers=3000)
    world.pass_time(2.5)
    assert world.limit.limit == 4 * START
    world.pass_time(30)  # one look at half of them included
    assert world.limit.limit > 1000


def test_it_does_not_grow_while_few_calls_come():
    limit = ConcurrencyLimit()
    for second in range(1000):
        levels = [limit.begin() for _ in range(START // 2)]
        for level in levels:
            limit.answered(level, 0.1, second)
    assert limit.limit == START


def test_one_burst_of_refusals_halves_it_at_most():
    limit = ConcurrencyLimit()
    limit.limit = 80
    for level in [limit.begin() for _ in range(80)]:
        limit.throttled(level, now=1.0, wait=5.0)
    assert limit.limit == 40
    *_, last = [limit.begin() for _ in range(40)]
    limit.throttled(last, now=6.0, wait=5.0)
    assert limit.limit == 39


def test_a_refusal_tells_of_the_calls_under_way_when_it_was_sent():
    limit = ConcurrencyLimit()
    levels = [limit.begin() for _ in range(START)]
    for level in levels[:6]:  # answered before the refusal is seen
        limit.answered(level, 0.1, 0.0)
    limit.throttled(levels[-1], now=0.1, wait=1.0)
    assert limit.limit == START - 1


def test_a_share_of_nothing_admits_nothing_until_there_is_one_again():
    limit = ConcurrencyLimit(10)
    limit.share(0)
    assert (limit.limit, limit.cap, limit.admits()) == (0, 0, False)
    limit.share(4)
    assert (limit.limit, limit.cap, limit.admits()) == (4, 4, True)


# Where it settles.


@pytest.mark.parametrize("capacity", [1, 5, 60])
@pytest.mark.parametrize("wait", [0.1, 1.0])
def test_a_deployment_that_refuses_is_kept_full_and_seldom_refuses(capacity, wait):
    world = World(Capacity(capacity, lognormal(0.2), wait), callers=3 * capacity + 20)
    world.pass_time(60)
    refused = world.refused
    limits = list(world.limits(300))
    assert abs(median(limits) - capacity) <= max(0.1 * capacity, 0.5)
    assert world.refused - refused <= 4  # tried again ever more rarely
    assert world.throughput(100) >= 0.85 * capacity / 0.2


def test_when_a_deployment_that_refuses_grows_it_is_used_and_when_it_shrinks_it_is_spared():
    deployment = Capacity(40, lognormal(0.2), wait=1.0)
    world = World(deployment, callers=300)
    world.pass_time(100)
    deployment.capacity = 120
    world.pass_time(300)  # the longest time between two probes, and a few steps
    assert abs(median(world.limits(100)) - 120) <= 12
    deployment.capacity, refused = 30, world.refused
    world.pass_time(30)
    assert abs(median(world.limits(100)) - 30) <= 3
    assert world.refused - refused <= 150  # those under way when it shrank, and a few


@pytest.mark.parametrize("workers", [1, 4, 16, 48])
@pytest.mark.parametrize("seconds", [constant(0.1), lognormal(0.1)], ids=["constant", "lognormal"])
def test_no_more_wait_inside_a_deployment_than_keep_it_busy(workers, seconds):
    world = World(Workers(workers, seconds), callers=10 * workers + 40)
    world.pass_time(200)
    assert world.throughput(100) >= 0.8 * workers / 0.1
    assert workers * 0.75 <= median(world.limits(200)) <= workers * 2.5


def test_when_workers_go_fewer_calls_are_sent_and_when_they_come_more():
    deployment = Workers(32, lognormal(0.1, 0.5))
    world = World(deployment, callers=200)
    world.pass_time(150)
    deployment.workers = 8
    world.pass_time(60)
    assert 6 <= median(world.limits(60)) <= 20
    deployment.workers = 64
    world.pass_time(330)
    assert world.throughput(60) >= 0.75 * 64 / 0.1


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_a_model_that_computes_calls_together_is_not_held_back(sigma):
    """Twice the calls take 1.6 times as long here, and are still a fourth more each second."""
    alone, each = 0.4, 0.002
    world = World(Batching(alone, each, lognormal(1, sigma)), callers=300)
    world.pass_time(120)
    assert world.throughput(120) >= 0.9 * 300 / (alone + 300 * each)


def test_a_model_whose_answers_take_as_long_however_many_come_is_given_all():
    world = World(Batching(2.0, 0.0, lognormal(1)), callers=250)
    world.pass_time(120)
    assert world.throughput(120) >= 0.9 * 250 / 2.0


def test_longer_prompts_are_not_taken_for_a_crowd():
    deployment = Batching(0.2, 0.0, lognormal(1, 0.5))
    world = World(deployment, callers=100)
    world.pass_time(60)
    deployment.alone = 1.0
    world.pass_time(60)
    assert world.throughput(120) >= 0.85 * 100 / 1.0


def test_calls_that_are_quick_are_not_held_back():
    """A hundred times as many as keep the worker busy, and each is answered in 30 ms."""
    world = World(Workers(1, constant(0.0003)), callers=100)
    world.pass_time(20)
    assert min(world.limits(20)) >= 100


def test_half_the_calls_are_not_tried_where_quieter_times_have_shown_how_long_calls_take():
    world = World(Capacity(20, constant(1), wait=1.0), callers=60)
    world.pass_time(5)
    assert min(world.limits(60)) >= 15
