"""What an operator sees of each deployment."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from contracts.deployments import DeploymentStatus
from contracts.errors import SluiceError
from endpoints.routing.breaker import CONSECUTIVE
from tests.unit.endpoints_fakes import NOON, at_least_once, reply
from tests.unit.routing_fakes import Answer, Town, in_virtual_time, settled


def seen(here: Town, name: str = "a") -> DeploymentStatus:
    [status] = [each for each in here.endpoints.statuses() if each.name == name]
    return status


async def failing(here: Town, *answers: Answer) -> None:
    here.wire.plays(a=list(answers))
    for _ in answers:
        with pytest.raises(SluiceError):
            await here.call()


@in_virtual_time
async def test_as_declared_and_before_any_call():
    here = Town.of(
        {"name": "a", "version": "7", "region": "north", "priority": 2, "weight": 30},
        {"name": "b", "protocol": "openai", "url": "http://b/v1", "model": "x"},
    )
    a, b = here.endpoints.statuses()
    assert (a.model, a.name, a.protocol, b.protocol) == ("m", "a", "aml_online", "openai")
    assert (a.version, a.region, a.priority, a.weight) == ("7", "north", 2, 30)
    assert (a.state, a.until, a.in_flight, a.waiting) == ("ready", None, 0, 0)
    assert (a.latency.p50, a.latency.p95, a.latency.p99) == (0, 0, 0)
    assert (a.outcomes, a.last_reason, a.last_reason_at) == ({}, None, None)
    assert (a.requests_last_minute, a.tokens_last_minute) == (None, None)
    assert (b.version, b.region, b.priority, b.weight) == (None, None, 1, 1)


@in_virtual_time
async def test_what_has_become_of_the_calls():
    here = Town.of({"name": "a", "requests_per_minute": 100, "tokens_per_minute": 10_000})
    usage = {"usage": {"prompt_tokens": 40, "completion_tokens": 10}}
    answered = [Answer(n / 100, reply(200, usage)) for n in (*range(1, 20), 200)]
    here.wire.plays(a=[*answered, Answer(1, reply(500))])
    for _ in range(20):
        await here.call()
    with pytest.raises(SluiceError):
        await here.call()
    status = seen(here)
    assert status.outcomes == {"answered": 20, "failed": 1}
    assert (status.latency.p50, status.latency.p95) == (pytest.approx(0.11), pytest.approx(2))
    assert status.last_reason == "HTTP 500"
    assert status.last_reason_at is not None
    assert (status.last_reason_at - NOON).total_seconds() == pytest.approx(here.now)
    assert status.requests_last_minute == 21
    assert status.tokens_last_minute == pytest.approx(20 * 50, abs=20)
    await asyncio.sleep(62)
    assert (seen(here).requests_last_minute, seen(here).tokens_last_minute) == (0, 0)


@in_virtual_time
async def test_cooling():
    here = Town.of({"name": "a"})
    await failing(here, Answer(0, reply(429, retry_after="30")))
    assert (seen(here).state, seen(here).until) == ("cooling", NOON + timedelta(seconds=30))
    await asyncio.sleep(30)
    assert (seen(here).state, seen(here).until) == ("ready", None)


@in_virtual_time
async def test_open_half_open_and_ready_again():
    here = Town.of({"name": "a"})
    await failing(here, *[Answer(0, reply(503))] * CONSECUTIVE)
    assert (seen(here).state, seen(here).until) == ("open", NOON + timedelta(seconds=10))
    await asyncio.sleep(10)
    assert (seen(here).state, seen(here).until) == ("half_open", None)
    here.wire.plays(a=[Answer(1)])
    trial = asyncio.create_task(here.call())
    await settled()
    assert (seen(here).state, seen(here).in_flight) == ("half_open", 1)
    assert seen(here).until is not None
    await trial
    assert (seen(here).state, seen(here).in_flight) == ("ready", 0)


@in_virtual_time
async def test_unusable():
    here = Town.of({"name": "a"})
    await failing(here, Answer(0, reply(401)))
    assert (seen(here).state, seen(here).last_reason) == ("unusable", "HTTP 401")


@in_virtual_time
async def test_full_and_who_waits():
    here = Town.of({"name": "a", "max_concurrency": 2}, {"name": "b", "weight": 0})
    here.wire.plays(a=[Answer(5)] * 5)

    async def patient() -> None:
        scope = at_least_once()
        scope.patience = 60
        await here.call(scope)

    tasks = [asyncio.create_task(patient()) for _ in range(5)]
    await settled()
    a, b = here.endpoints.statuses()
    assert (a.state, a.limit, a.in_flight, a.waiting) == ("full", 2, 2, 3)
    assert (b.state, b.waiting) == ("drained", 3)
    await asyncio.gather(*tasks)
    assert (seen(here).state, seen(here).waiting) == ("ready", 0)


@in_virtual_time
async def test_rate_limited():
    here = Town.of({"name": "a", "requests_per_minute": 1})
    await here.call()
    status = seen(here)
    assert status.state == "rate_limited"
    assert status.until is not None
    assert 60 <= (status.until - NOON).total_seconds() <= 61


@in_virtual_time
async def test_stalled():
    here = Town.of({"name": "a"})
    here.wire.plays(a=[Answer(0.5), Answer(100)])
    await here.call()
    waiting = asyncio.create_task(here.call())
    await asyncio.sleep(3)
    assert seen(here).state == "stalled"
    await waiting
    assert seen(here).state == "ready"


@in_virtual_time
async def test_what_matters_most_is_shown():
    here = Town.of({"name": "a", "weight": 0, "requests_per_minute": 1})
    assert seen(here).state == "drained"
    await here.call(pin="a")
    assert seen(here).state == "rate_limited"
