"""What a worker tells others of a model, and what it takes from them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from contracts.errors import NoCapacity, SluiceError
from contracts.sharing import (
    LEASE_SECONDS,
    Counts,
    Fact,
    SharedDeployment,
    SharedModel,
)
from endpoints.lease import UNHEARD_SECONDS
from endpoints.sharing import USED_SECONDS, Due, Sharing
from orchestrators.standing import merged
from tests.unit.endpoints_fakes import (
    CALL,
    NOON,
    Clock,
    ScriptedWire,
    at_least_once,
    endpoints,
    reply,
)


class Worker:
    def __init__(self, name: str, clock: Clock, **fields: object) -> None:
        self.wire = ScriptedWire(clock=clock)
        self.endpoints = endpoints(self.wire, "d", **fields)
        self.sharing: Sharing = self.endpoints.share(name)["m"]
        self.deployment = self.endpoints._models["m"].deployments[0]

    @property
    def state(self) -> str:
        return self.endpoints.statuses()[0].state

    async def call(self, *replies) -> None:
        for each in replies:
            self.wire.plays(d=[each])
            with suppress(SluiceError):  # how it ends is not the subject here
                await self.endpoints.invoke(CALL, at_least_once())


class Group:
    """Workers and what they share."""

    def __init__(self, *names: str, **fields: object) -> None:
        self.clock = Clock()
        self.shared = SharedModel()
        self.workers = [Worker(name, self.clock, **fields) for name in names]

    def exchange(self, *workers: Worker) -> None:
        for worker in workers or self.workers:
            self.shared = merged(self.shared, worker.sharing.report())
            worker.sharing.arrived()
            worker.sharing.apply(self.shared)


async def fails(worker: Worker) -> None:
    for _ in range(3):
        await worker.call(reply(503))
    assert worker.state == "open"


async def test_what_one_opens_is_open_at_all_and_what_one_closes_is_closed():
    group = Group("a", "b")
    a, b = group.workers
    group.exchange()
    await fails(a)
    group.exchange()
    assert b.state == "open"
    group.clock.advance(10.1)
    await a.call(reply(200, {}))
    group.exchange()
    assert (a.state, b.state) == ("ready", "ready")


async def test_who_opened_it_makes_the_next_trial_and_the_others_stand_in_line():
    group = Group("a", "b", "c")
    a, b, c = group.workers
    group.exchange()
    await fails(b)
    group.exchange(b, a, c)
    group.clock.advance(10.1)
    assert (a.state, b.state, c.state) == ("open", "half_open", "open")
    group.clock.advance(2)
    assert (a.state, c.state) == ("half_open", "open")
    group.clock.advance(2)
    assert c.state == "half_open"


async def test_an_older_word_changes_nothing():
    group = Group("a")
    (a,) = group.workers
    await fails(a)
    group.exchange()
    old = Fact(until=None, at=NOON - timedelta(seconds=1), by="z")
    a.sharing.apply(SharedModel(deployments={"d": SharedDeployment(breaker=old)}))
    assert a.state == "open"


async def test_that_it_was_left_alone_long_ago_is_no_reason_to_be_careful():
    group = Group("a")
    (a,) = group.workers
    long_ago = NOON - timedelta(hours=1)
    old = Fact(until=long_ago, at=long_ago, by="z")
    a.sharing.apply(SharedModel(deployments={"d": SharedDeployment(breaker=old)}))
    assert a.state == "ready"


async def test_a_cooldown_is_kept_by_all():
    group = Group("a", "b")
    a, b = group.workers
    group.exchange()
    await a.call(reply(429, retry_after="30"))
    group.exchange()
    assert b.state == "cooling"
    group.clock.advance(30.1)
    assert b.state == "ready"


async def test_a_clock_that_is_set_back_keeps_nothing_shut_for_longer():
    group = Group("one", "two")
    one, two = group.workers
    await fails(one)
    group.exchange(one)
    group.clock.jump(-3600)
    group.exchange(two)
    assert two.state == "open"
    group.clock.advance(15)  # the probe interval, and a place in the line
    assert two.state == "half_open"


async def test_what_is_unusable_is_passed_over_by_all_until_it_answers_one():
    group = Group("a", "b")
    a, b = group.workers
    group.exchange()
    await a.call(reply(401))
    group.exchange()
    assert b.state == "unusable"
    group.clock.advance(1)
    await a.call(reply(200, {}))  # the only one there is: it is asked all the same
    group.exchange()
    assert (a.state, b.state) == ("ready", "ready")


def test_an_operators_word_goes_before_the_file_until_it_is_taken_back():
    group = Group("a")
    (a,) = group.workers
    a.sharing.apply(SharedModel(deployments={"d": SharedDeployment(weight=0.25, priority=9)}))
    assert (a.deployment.weight, a.deployment.priority) == (0.25, 9)
    a.sharing.apply(SharedModel())
    assert (a.deployment.weight, a.deployment.priority) == (1, 1)


def share_of(worker: Worker) -> tuple[int | None, float]:
    standing = worker.deployment.standing
    assert standing.requests is not None
    return standing.calls_at_once.cap, standing.requests.per_minute


def test_a_worker_that_nobody_hears_uses_a_tenth():
    assert share_of(Group("a", max_concurrency=30, requests_per_minute=600).workers[0]) == (3, 60)


def test_a_worker_that_is_about_to_be_heard_waits_for_what_is_free():
    group = Group("a", max_concurrency=30, requests_per_minute=600)
    (a,) = group.workers
    a.sharing.greet()
    assert share_of(a) == (0, 0)
    group.exchange()
    assert share_of(a) == (30, 600)


def test_it_does_not_wait_for_long():
    group = Group("a", max_concurrency=30, requests_per_minute=600)
    (a,) = group.workers
    a.sharing.greet()
    a.sharing.look()
    group.clock.advance(UNHEARD_SECONDS - 0.1)
    a.sharing.look()
    assert share_of(a) == (0, 0)
    group.clock.advance(0.2)
    a.sharing.look()
    assert share_of(a) == (3, 60)


async def test_a_call_waits_until_the_worker_has_been_heard():
    group = Group("a", requests_per_minute=600)
    (a,) = group.workers
    a.sharing.greet()
    a.wire.plays(d=[reply(200, {})])
    patient = at_least_once()
    patient.patience = 10.0
    call = asyncio.create_task(a.endpoints.invoke(CALL, patient))
    await asyncio.sleep(0)
    assert not a.wire.sent
    group.exchange()
    assert (await asyncio.wait_for(call, 60)).attempt.outcome == "answered"


async def test_until_it_has_heard_of_the_others_a_call_is_told_to_come_back_soon():
    group = Group("a", requests_per_minute=10)
    (a,) = group.workers
    await a.call(reply(200, {}))
    with pytest.raises(NoCapacity) as refused:
        await a.endpoints.invoke(CALL, at_least_once())
    assert refused.value.retry_at <= group.clock.time + timedelta(seconds=1)
    group.exchange()
    await a.call(*[reply(200, {})] * 9)
    with pytest.raises(NoCapacity) as refused:
        await a.endpoints.invoke(CALL, at_least_once())
    assert refused.value.retry_at > group.clock.time + timedelta(seconds=50)


def test_of_a_small_limit_it_begins_with_one():
    group = Group("a", max_concurrency=4, requests_per_minute=5)
    assert share_of(group.workers[0]) == (1, 1)


def test_without_sharing_the_whole_is_used():
    made = endpoints(ScriptedWire(), "d", max_concurrency=30)
    assert made._models["m"].deployments[0].standing.calls_at_once.cap == 30


def test_workers_that_want_the_same_come_to_have_the_same():
    group = Group("a", "b", "c", max_concurrency=30, requests_per_minute=600)
    for _ in range(6):
        group.exchange()
        group.clock.advance(1)
    assert [share_of(worker) for worker in group.workers] == [(10, 200)] * 3


async def test_who_asks_more_gets_more():
    group = Group("a", "b", requests_per_minute=1000)
    a, b = group.workers
    for _ in range(8):
        await a.call(*[reply(200, {})] * 9)
        await b.call(reply(200, {}))
        group.exchange()
        group.clock.advance(1)
    assert 990 < share_of(a)[1] + share_of(b)[1] <= 1000
    assert share_of(a)[1] > 700


def test_a_worker_that_cannot_be_heard_gives_up_what_it_held():
    group = Group("a", max_concurrency=30, requests_per_minute=600)
    (a,) = group.workers
    a.sharing.greet()
    group.exchange()
    group.clock.advance(LEASE_SECONDS - 0.1)
    a.sharing.look()
    assert share_of(a) == (30, 600)
    group.clock.advance(0.2)
    a.sharing.look()
    assert share_of(a) == (0, 0)
    group.clock.advance(UNHEARD_SECONDS)
    a.sharing.look()
    assert share_of(a) == (3, 60)
    group.exchange()
    assert share_of(a) == (30, 600)


def test_a_grant_that_was_read_too_late_is_not_used():
    group = Group("a", max_concurrency=30, requests_per_minute=600)
    (a,) = group.workers
    group.shared = merged(group.shared, a.sharing.report())
    group.clock.advance(LEASE_SECONDS)
    a.sharing.apply(group.shared)
    assert share_of(a) == (3, 60)


async def test_others_hear_of_a_model_while_it_is_used_and_at_once_of_a_change():
    group = Group("a")
    (a,) = group.workers
    assert a.sharing.look() is Due.IDLE
    await a.call(reply(200, {}))
    assert a.sharing.look() is Due.SOON
    group.clock.advance(USED_SECONDS - 1)
    assert a.sharing.look() is Due.SOON
    group.clock.advance(1)
    assert a.sharing.look() is Due.IDLE
    await fails(a)
    assert a.sharing.look() is Due.AT_ONCE
    assert a.sharing.look() is Due.AT_ONCE, "until it is told"
    group.exchange()
    assert a.sharing.look() is Due.SOON


def test_of_a_limited_model_a_worker_is_heard_before_it_is_used():
    (a,) = Group("a", max_concurrency=3).workers
    a.sharing.greet()
    assert a.sharing.look() is Due.SOON


async def test_what_comes_from_others_is_no_news():
    group = Group("a", "b")
    a, b = group.workers
    group.exchange()
    await fails(a)
    await a.call(reply(429, retry_after="30"))
    group.exchange()
    assert b.sharing.look() is not Due.AT_ONCE


async def test_each_call_is_counted_once_and_again_only_when_the_report_was_lost():
    group = Group("a")
    (a,) = group.workers
    await a.call(reply(200, {}), reply(500), reply(400), reply(429, retry_after="0.1"))
    lost = a.sharing.report().deployments["d"].counts
    assert (lost.calls, lost.failures, lost.throttled) == (2, 1, 1)
    group.clock.advance(1)
    a.wire.seconds = 0.5
    await a.call(reply(200, {}))
    group.exchange()
    await a.call(reply(200, {}))
    group.exchange()
    counts: Counts = group.shared.deployments["d"].counts
    assert (counts.calls, counts.failures, counts.throttled) == (4, 1, 1)
    assert counts.seconds == pytest.approx(1.0)
    assert counts.percentile(50) == pytest.approx(0.5, rel=0.1)
