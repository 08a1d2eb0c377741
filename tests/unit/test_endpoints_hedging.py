"""A second deployment is asked when the first takes long, and the first answer counts."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest

from contracts.errors import CallFailed, CallRejected, DeadlineExceeded, PayloadTooLarge
from endpoints.model import FEWEST_FOR_P95
from tests.unit.endpoints_fakes import LOST, NOON, at_least_once, at_most_once, outcomes, reply
from tests.unit.routing_fakes import Answer, Town, in_virtual_time, settled

NOBODY = {"a": 0, "b": 0, "c": 0}


def town(**model: object) -> Town:
    """Deployments a, b and c, asked in that order; hedged after a second."""
    deployments = [{"name": name, "priority": place} for place, name in enumerate("abc", 1)]
    return Town.of(*deployments, **{"hedge_after_seconds": 1.0, **model})


@in_virtual_time
async def test_who_answers_in_time_is_the_only_one_asked():
    here = town()
    here.wire.plays(a=[Answer(0.9)])
    await here.call()
    assert here.wire.asked == ["a"]


@in_virtual_time
async def test_the_second_is_asked_when_the_first_is_late_and_answers_first():
    here = town()
    here.wire.plays(a=[Answer(60)], b=[Answer(0.5, reply(200, {"from": "b"}))])
    scope = at_least_once()
    answer = await here.call(scope)
    assert answer.body == {"from": "b"}
    assert here.now == pytest.approx(1.5)
    assert here.wire.asked == ["a", "b"]
    assert here.wire.cancelled == ["a"]
    assert here.in_flight() == NOBODY
    # Both are on record, and the one that was given up may be paid for.
    assert sorted(outcomes(scope)) == [("a", "cancelled"), ("b", "answered")]
    assert answer.attempt in scope.attempts
    assert [record.attempt.outcome for record in here.records] == [
        attempt.outcome for attempt in scope.attempts
    ]


@in_virtual_time
async def test_the_first_may_still_answer_first():
    here = town()
    here.wire.plays(a=[Answer(1.5, reply(200, {"from": "a"}))], b=[Answer(9)])
    scope = at_least_once()
    assert (await here.call(scope)).body == {"from": "a"}
    assert here.wire.cancelled == ["b"]
    assert here.in_flight() == NOBODY
    assert sorted(outcomes(scope)) == [("a", "answered"), ("b", "cancelled")]


@in_virtual_time
async def test_a_failure_is_not_an_answer():
    here = town()
    here.wire.plays(a=[Answer(5)], b=[Answer(0.5, reply(500))])
    scope = at_least_once()
    assert (await here.call(scope)).attempt.deployment == "a"
    assert outcomes(scope) == [("b", "failed"), ("a", "answered")]


@in_virtual_time
async def test_when_both_fail_the_third_is_asked():
    here = town()
    here.wire.plays(a=[Answer(1.2, LOST)], b=[Answer(0.5, reply(503))])
    scope = at_least_once()
    assert (await here.call(scope)).attempt.deployment == "c"
    assert outcomes(scope) == [("a", "unknown"), ("b", "failed"), ("c", "answered")]


@in_virtual_time
async def test_what_is_wrong_with_the_request_ends_the_call():
    here = town()
    here.wire.plays(a=[Answer(2, reply(400))], b=[Answer(2, reply(503))])
    with pytest.raises(CallRejected):
        await here.call()
    assert here.in_flight() == NOBODY


@in_virtual_time
async def test_at_most_once_is_never_asked_twice():
    here = town()
    here.wire.plays(a=[Answer(30)])
    await here.call(at_most_once())
    assert here.wire.asked == ["a"]
    assert here.now == 30


@in_virtual_time
async def test_without_room_elsewhere_the_first_is_waited_for_and_no_retry_is_used_up():
    here = Town.of(
        {"name": "a", "priority": 1},
        {"name": "b", "priority": 2, "max_concurrency": 1},
        hedge_after_seconds=1.0,
    )
    here.wire.plays(b=[Answer(1000)], a=[Answer(3)] * 30)
    busy = asyncio.create_task(here.call(pin="b"))
    await settled()
    for _ in range(30):
        assert (await here.call()).attempt.deployment == "a"
    assert here.wire.asked.count("b") == 1
    budget = here.endpoints._models["m"].pool.budget
    assert all(budget.spend(here.now) for _ in range(10))
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)


@in_virtual_time
async def test_without_retries_left_nobody_else_is_asked():
    here = town(retry_share=0, hedge_after_seconds=0.5)
    budget = here.endpoints._models["m"].pool.budget
    while budget.spend(here.now):
        pass
    here.wire.plays(a=[Answer(1.9)])
    await here.call()
    assert here.wire.asked == ["a"]


@in_virtual_time
async def test_that_the_second_cannot_carry_the_call_is_nothing_to_the_first():
    here = Town.of(
        {"name": "a", "priority": 1},
        {"name": "b", "priority": 2, "max_request_bytes": 5},
        hedge_after_seconds=1.0,
    )
    here.wire.plays(a=[Answer(3)])
    scope = at_least_once()
    assert (await here.call(scope)).attempt.deployment == "a"
    assert here.now == 3
    assert here.in_flight() == {"a": 0, "b": 0}
    assert outcomes(scope) == [("a", "answered")]


@in_virtual_time
async def test_when_neither_can_carry_it_that_is_what_is_told():
    here = Town.of(
        {"name": "a", "priority": 1, "max_request_bytes": 5},
        {"name": "b", "priority": 2, "max_request_bytes": 5},
        hedge_after_seconds=1.0,
    )
    with pytest.raises(PayloadTooLarge):
        await here.call()
    assert here.in_flight() == {"a": 0, "b": 0}


@in_virtual_time
async def test_after_the_deadline_both_are_given_up():
    here = town()
    here.wire.otherwise = Answer(1000)
    with pytest.raises(DeadlineExceeded):
        await here.call(at_least_once(NOON + timedelta(seconds=3)))
    assert here.now == pytest.approx(3)
    assert here.in_flight() == NOBODY


@in_virtual_time
async def test_p95_is_known_after_some_answers_and_follows_them():
    here = town(hedge_after_seconds="p95")
    here.wire.plays(a=[Answer(60)])
    await here.call()  # nobody knows yet what is slow
    assert here.wire.asked == ["a"]
    here.wire.plays(a=[Answer(0.2)] * (2 * FEWEST_FOR_P95) + [Answer(60)])
    for _ in range(2 * FEWEST_FOR_P95):
        await here.call()
    begun = here.now
    assert (await here.call()).attempt.deployment == "b"
    assert here.now - begun == pytest.approx(0.2)


@in_virtual_time
async def test_a_deployment_that_hangs_is_found_out_though_others_answer_for_it():
    here = Town.of(*({"name": name} for name in "abc"), hedge_after_seconds=0.5)
    here.wire.otherwise = Answer(0.1)
    for _ in range(40):
        await here.call()
    here.wire.plays(a=[Answer(1e6)] * 1000)
    for _ in range(600):
        assert (await here.call()).attempt.deployment != "a"
    assert here.place("a").standing.breaker.state(here.now) != "closed"
    in_a_while = here.wire.asked.count("a")
    for _ in range(100):
        await here.call()
    assert here.wire.asked.count("a") - in_a_while <= 1


@in_virtual_time
async def test_all_that_fail_end_as_one_error():
    here = town()
    here.wire.otherwise = Answer(1.5, reply(500))
    scope = at_least_once()
    with pytest.raises(CallFailed):
        await here.call(scope)
    assert [outcome for _, outcome in outcomes(scope)] == ["failed"] * 3


@pytest.mark.parametrize("seed", range(20))
@in_virtual_time
async def test_whenever_a_caller_goes_no_slot_stays_behind(seed):
    """At any moment: before the second is asked, when it is, when one has answered."""
    draw = random.Random(seed)
    here = town()
    here.wire.otherwise = Answer(2, reply(500))
    here.wire.plays(
        **{name: [Answer(draw.choice([0.5, 1.0, 1.5, 3.0])) for _ in range(60)] for name in "ab"}
    )
    loop = asyncio.get_running_loop()
    tasks = []
    for _ in range(60):
        task = asyncio.create_task(here.call())
        loop.call_later(draw.choice([0.0, 0.5, 0.99, 1.0, 1.01, 1.5, 2.0, 2.5]), task.cancel)
        tasks.append(task)
    await asyncio.gather(*tasks, return_exceptions=True)
    await settled()
    assert here.in_flight() == NOBODY
    assert here.endpoints._models["m"].pool.waiting == 0
