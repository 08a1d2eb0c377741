"""A call that was not answered moves on: it goes before others, and its next wait is its own."""

from __future__ import annotations

import asyncio

from endpoints.routing.breaker import SUSPECT_SECONDS
from tests.unit.endpoints_fakes import at_least_once, reply
from tests.unit.routing_fakes import FAILED, Answer, Place, Town, Waited, in_virtual_time, settled


@in_virtual_time
async def test_who_has_been_asked_goes_before_those_who_came_earlier():
    a, b = Place("a", max_concurrency=1), Place("b", max_concurrency=1)
    pool = Waited.of(a, b)
    failing, busy = await pool.slot(a), await pool.slot(b)
    first = asyncio.create_task(pool.take(b, patience=10))
    await settled()
    pool.end(failing, FAILED)
    moving = pool.visit(b, patience=10)
    moving.asked = True
    again = asyncio.create_task(pool.pool.take(moving))
    await settled()
    pool.answer(busy)
    await settled()
    assert again.done()
    assert not first.done()
    taken = await again
    assert taken is not None
    pool.answer(taken)
    assert await first is not None


@in_virtual_time
async def test_among_batch_calls_too_but_never_before_real_time_ones():
    a = Place("a", max_concurrency=1)
    pool = Waited.of(a)
    busy = await pool.slot()
    order: list[str] = []

    async def call(name: str, *, batch: bool, asked: bool) -> None:
        visit = pool.visit(a, patience=10, batch=batch)
        visit.asked = asked
        taken = await pool.pool.take(visit)
        assert taken is not None
        order.append(name)
        pool.answer(taken)

    calls = [
        asyncio.create_task(call("batch", batch=True, asked=False)),
        asyncio.create_task(call("batch again", batch=True, asked=True)),
        asyncio.create_task(call("real time", batch=False, asked=False)),
    ]
    await settled()
    pool.answer(busy)
    await asyncio.gather(*calls)
    assert order == ["real time", "batch again", "batch"]


@in_virtual_time
async def test_its_patience_begins_anew():
    town = Town.of({"name": "a", "priority": 1}, {"name": "b", "priority": 2, "max_concurrency": 1})
    town.wire.plays(a=[Answer(5, reply(503))], b=[Answer(6)])
    busy = asyncio.create_task(town.call(at_least_once(), pin="b"))
    await settled()
    scope = at_least_once()
    scope.patience = 2.0
    answer = await town.call(scope)  # fails at a after 5 s, waits for b until 6 s
    assert answer.attempt.deployment == "b"
    assert [each.deployment for each in scope.attempts] == ["a", "b"]
    await busy


@in_virtual_time
async def test_a_suspect_is_asked_after_its_like_but_before_a_spare():
    a, b, spare = Place("a"), Place("b"), Place("spare", priority=2)
    pool = Waited.of(a, b, spare)
    pool.end(await pool.slot(a), FAILED)
    assert (await pool.slot(a, b, spare)).deployment is b
    assert (await pool.slot(a, spare)).deployment is a
    await asyncio.sleep(SUSPECT_SECONDS)
    assert (await pool.slot(a, b, spare)).deployment is a


@in_virtual_time
async def test_an_answer_to_a_later_call_clears_a_suspect():
    a, b = Place("a"), Place("b")
    pool = Waited.of(a, b)
    failing, later = await pool.slot(a), await pool.slot(a)
    pool.end(failing, FAILED)
    pool.answer(later)
    assert (await pool.slot(a, b)).deployment is a
