"""A call's way through the deployments of a model."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from contracts.calls import CallScope, ModelCall, Task
from contracts.errors import CallFailed, DeadlineExceeded, InvalidRequest, NoCapacity, NotFound
from contracts.states import Priority
from endpoints.routing.budget import START
from endpoints.routing.reserve import MEMORY_SECONDS
from tests.unit.endpoints_fakes import (
    LOST,
    NOON,
    REFUSED,
    at_least_once,
    at_most_once,
    outcomes,
    reply,
)
from tests.unit.routing_fakes import Answer, Town, in_virtual_time, settled

BUSY = reply(429, retry_after="5")


def patient(seconds: float, **fields: object) -> CallScope:
    scope = at_least_once()
    scope.patience = seconds
    for name, value in fields.items():
        setattr(scope, name, value)
    return scope


@in_virtual_time
async def test_a_throttled_call_is_answered_by_another_deployment_in_the_same_attempt():
    here = Town.of({"name": "a", "priority": 1}, {"name": "b", "priority": 2})
    here.wire.plays(a=[Answer(0.1, BUSY)])
    scope = at_least_once()
    assert (await here.call(scope)).attempt.deployment == "b"
    assert outcomes(scope) == [("a", "throttled"), ("b", "answered")]


@in_virtual_time
async def test_the_next_tier_takes_only_what_the_former_does_not():
    here = Town.of(
        {"name": "cheap", "priority": 1, "max_concurrency": 3},
        {"name": "dear", "priority": 2},
    )
    here.wire.otherwise = Answer(1)
    await asyncio.gather(*(here.call() for _ in range(5)))
    assert Counter(here.wire.asked) == {"cheap": 3, "dear": 2}
    await asyncio.gather(*(here.call() for _ in range(3)))
    assert Counter(here.wire.asked) == {"cheap": 6, "dear": 2}


@in_virtual_time
async def test_the_same_region_is_asked_first():
    here = Town.of(
        {"name": "a", "region": "north"}, {"name": "b", "region": "south"}, region="south"
    )
    for _ in range(20):
        assert (await here.call()).attempt.deployment == "b"
    here.wire.plays(b=[Answer(0, BUSY)])
    assert (await here.call()).attempt.deployment == "a"


@in_virtual_time
async def test_a_sticky_key_meets_the_same_deployment_while_it_takes_calls():
    here = Town.of(*({"name": name} for name in "abcd"))
    homes = {}
    for key in (f"conversation-{number}" for number in range(40)):
        deployments = {
            (await here.call(patient(0, sticky_key=key))).attempt.deployment for _ in range(5)
        }
        [homes[key]] = deployments
    assert len(set(homes.values())) == 4
    home = homes["conversation-0"]
    here.wire.plays(**{home: [Answer(0, BUSY)]})
    away = (await here.call(patient(0, sticky_key="conversation-0"))).attempt.deployment
    assert away != home
    await asyncio.sleep(5)
    back = (await here.call(patient(0, sticky_key="conversation-0"))).attempt.deployment
    assert back == home


@in_virtual_time
async def test_a_pin_asks_one_version_or_one_deployment_though_it_is_drained():
    here = Town.of(
        {"name": "old", "version": "1"},
        {"name": "new", "version": "2", "weight": 0},
        {"name": "new-too", "version": "2", "weight": 0},
    )
    for _ in range(20):
        assert (await here.call()).attempt.deployment == "old"
    assert (await here.call(pin="new")).attempt.deployment == "new"
    assert (await here.call(pin="2")).attempt.deployment in {"new", "new-too"}
    here.wire.plays(new=[Answer(0, reply(500))], **{"new-too": [Answer(0, reply(500))]})
    with pytest.raises(CallFailed):  # and no other version
        await here.call(pin="2")
    with pytest.raises(NotFound, match="no version or deployment '3': 1, 2, old, new, new-too"):
        await here.call(pin="3")


@in_virtual_time
async def test_when_all_are_drained_a_later_try_may_fare_better():
    here = Town.of({"name": "a", "weight": 0}, {"name": "b", "weight": 0})
    with pytest.raises(CallFailed, match="drained"):
        await here.call()
    assert here.wire.asked == []


@in_virtual_time
async def test_an_operators_shift_of_the_weights_holds_at_once():
    here = Town.of({"name": "a"}, {"name": "b"})
    here.place("a").weight = 0
    for _ in range(30):
        assert (await here.call()).attempt.deployment == "b"


# Retries.


@in_virtual_time
async def test_of_calls_that_fail_no_more_than_a_share_is_tried_again():
    here = Town.of({"name": "a"}, {"name": "b"})
    failed, answered = Answer(0, reply(500)), Answer()  # too seldom to open a breaker
    script = [failed, failed, answered, answered, answered]
    calls, ended = 500, Counter()
    here.wire.plays(a=script * calls, b=script * calls)
    for _ in range(calls):
        try:
            await here.call()
            ended["answered"] += 1
        except CallFailed:
            ended["failed"] += 1
    assert calls * 1.15 <= len(here.wire.asked) <= calls * 1.2 + START
    assert ended["failed"] > 0


@in_virtual_time
async def test_refused_connections_and_throttling_are_no_retries():
    here = Town.of(*({"name": name, "priority": place} for place, name in enumerate("ab", 1)))
    here.wire.plays(a=[Answer(0, REFUSED), Answer(), Answer(), Answer(0, BUSY)] * 20)
    budget = here.endpoints._models["m"].pool.budget
    while budget.spend(here.now):
        pass
    for _ in range(80):
        await here.call()
        here.place("a").standing._cooling_until = 0
    assert here.wire.asked.count("b") == 40


@in_virtual_time
async def test_all_that_were_under_way_at_one_that_breaks_down_are_answered_elsewhere():
    here = Town.of({"name": "a", "priority": 1}, {"name": "b", "priority": 2})
    for name in "ab":
        here.place(name).standing.calls_at_once.limit = 400
    for _ in range(1500):
        await here.call(pin="b")
    here.wire.plays(a=[Answer(1, LOST)] * 300)
    answers = await asyncio.gather(*(here.call() for _ in range(300)))
    assert {answer.attempt.deployment for answer in answers} == {"b"}


# Waiting.


@in_virtual_time
async def test_a_patient_call_waits_for_room_and_an_impatient_one_is_told_when():
    here = Town.of({"name": "a", "max_concurrency": 1})
    here.wire.plays(a=[Answer(4)])
    first = asyncio.create_task(here.call())
    await settled()
    with pytest.raises(NoCapacity):
        await here.call()
    waiting = asyncio.create_task(here.call(patient(10)))
    await waiting
    assert here.now == pytest.approx(4)
    assert first.done()


@in_virtual_time
async def test_a_deadline_ends_patience():
    here = Town.of({"name": "a", "max_concurrency": 1})
    here.wire.plays(a=[Answer(40)])
    first = asyncio.create_task(here.call())
    await settled()
    with pytest.raises(DeadlineExceeded):
        await here.call(patient(100, deadline=NOON + timedelta(seconds=3)))
    assert here.now == pytest.approx(3)
    await first


@in_virtual_time
async def test_a_burst_is_answered_in_turn_real_time_first():
    here = Town.of({"name": "a", "max_concurrency": 5}, {"name": "b", "max_concurrency": 5})
    here.wire.otherwise = Answer(1)
    ended: list[Priority] = []

    async def caller(priority: Priority) -> None:
        await here.call(patient(1000, priority=priority))
        ended.append(priority)

    batch = [asyncio.create_task(caller(Priority.BATCH)) for _ in range(100)]
    await settled()
    realtime = [asyncio.create_task(caller(Priority.REALTIME)) for _ in range(100)]
    await asyncio.gather(*batch, *realtime)
    # Batch leaves slots to real time for a few seconds after the burst.
    assert 20 <= here.now <= 20 + 2 * MEMORY_SECONDS
    assert ended[10:125].count(Priority.REALTIME) >= 95
    assert ended[10:125].count(Priority.BATCH) >= 10


@in_virtual_time
async def test_the_earliest_time_at_which_any_may_take_the_call_is_told():
    here = Town.of(*({"name": name} for name in "abc"))
    here.wire.plays(
        a=[Answer(0, reply(429, retry_after="30"))],
        b=[Answer(0, reply(429, retry_after="9"))],
        c=[Answer(0, reply(429, retry_after="20"))],
    )
    for _ in range(2):  # when all were asked, and when nobody is
        with pytest.raises(NoCapacity) as told:
            await here.call()
        assert told.value.retry_at == NOON + timedelta(seconds=9)
    assert len(here.wire.asked) == 3


@in_virtual_time
async def test_while_all_breakers_are_open_nobody_is_asked_and_the_first_trial_is_the_time():
    here = Town.of({"name": "a", "probe_seconds": 30}, {"name": "b", "probe_seconds": 20})
    here.wire.otherwise = Answer(0, reply(503))
    for _ in range(3):
        with pytest.raises(CallFailed):
            await here.call()
    asked = len(here.wire.asked)
    with pytest.raises(NoCapacity) as told:
        await here.call()
    assert told.value.retry_at == NOON + timedelta(seconds=20)
    assert len(here.wire.asked) == asked


@in_virtual_time
async def test_a_trial_that_hangs_holds_its_caller_no_longer_than_calls_take():
    here = Town.of(
        {"name": "a", "priority": 1, "timeout_seconds": 600}, {"name": "b", "priority": 2}
    )
    here.wire.otherwise = Answer(0.5)
    for _ in range(10):
        await here.call()
    here.wire.plays(a=[Answer(0, reply(503))] * 3 + [Answer(1e6)])
    for _ in range(3):
        await here.call()
    await asyncio.sleep(10)
    begun, scope = here.now, at_least_once()
    await here.call(scope)
    assert outcomes(scope) == [("a", "unknown"), ("b", "answered")]
    assert here.now - begun < 3


@in_virtual_time
async def test_a_trial_of_a_call_that_may_run_once_is_given_all_its_time():
    here = Town.of({"name": "a"})
    here.wire.plays(a=[Answer(0, reply(503))] * 3 + [Answer(100)])
    for _ in range(3):
        with pytest.raises(CallFailed):
            await here.call()
    await asyncio.sleep(10)
    await here.call(at_most_once())
    assert here.now == pytest.approx(110)


# What a call needs.


@in_virtual_time
async def test_a_call_goes_only_to_those_that_can_carry_it():
    here = Town.of(
        {"name": "small", "priority": 1, "context_tokens": 100},
        {"name": "plain", "priority": 2, "json_mode": False, "modalities": ["text"]},
        {"name": "large", "priority": 3, "modalities": ["text", "image"]},
    )

    async def asked(**body: object) -> str:
        body = {"messages": [{"role": "user", "content": "x"}], **body}
        call = ModelCall("m", Task.CHAT, body)  # type: ignore[arg-type]
        return (await here.endpoints.invoke(call, at_least_once())).attempt.deployment

    image = {"type": "image_url", "image_url": {"url": "data:"}}
    assert await asked() == "small"
    assert await asked(max_tokens=400) == "plain"
    assert await asked(max_tokens=400, response_format={"type": "json_object"}) == "large"
    assert await asked(max_tokens=400, messages=[{"role": "user", "content": [image]}]) == "large"
    sound = {"type": "input_audio", "input_audio": {"data": ""}}
    with pytest.raises(InvalidRequest, match="audio content"):
        await asked(max_tokens=400, messages=[{"role": "user", "content": [sound]}])
