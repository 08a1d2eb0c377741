"""Batch leaves as many slots free as real time has lately needed."""

from __future__ import annotations

import asyncio
import random
from math import sqrt

from hypothesis import given
from hypothesis import strategies as st

from endpoints.routing.reserve import DEVIATIONS, MEMORY_SECONDS, Reserve
from endpoints.routing.standing import Refusal
from tests.unit.routing_fakes import Place, Waited, in_virtual_time

events = st.lists(st.tuples(st.booleans(), st.floats(0, 20)), max_size=60)


def played(events: list[tuple[bool, float]]) -> tuple[Reserve, float]:
    """A reserve after calls have come (True) and gone, so many seconds after each other."""
    reserve, now = Reserve(), 0.0
    for begins, seconds in events:
        now += seconds
        if begins:
            reserve.begin(now)
        elif reserve.under_way:
            reserve.end(now)
    return reserve, now


def test_a_deployment_that_real_time_never_used_is_all_for_batch():
    assert Reserve().unused(64, now=100.0) == 0


@given(events=events, limit=st.integers(0, 200))
def test_batch_always_has_half_of_what_real_time_does_not_use(events, limit):
    reserve, now = played(events)
    unused = reserve.unused(limit, now)
    assert 0 <= unused <= limit // 2
    assert unused + reserve.under_way <= max(reserve.under_way, limit // 2)


@given(events=events)
def test_what_is_kept_fades_once_real_time_is_over(events):
    reserve, now = played(events)
    while reserve.under_way:
        reserve.end(now)
    kept = [reserve.unused(1000, now + after * MEMORY_SECONDS) for after in range(10)]
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] == 0


@given(level=st.integers(1, 40))
def test_of_a_steady_load_the_average_and_some_more_is_kept(level):
    reserve = Reserve()
    for _ in range(level):
        reserve.begin(0.0)
    for _ in range(level):
        reserve.end(20 * MEMORY_SECONDS)
    kept = reserve.unused(1000, 20 * MEMORY_SECONDS)
    assert abs(kept - (level + DEVIATIONS * sqrt(level))) <= 1


def test_most_calls_that_come_at_random_find_a_slot_and_little_is_left_unused():
    chance, now, seconds = random.Random(7), 0.0, 0.05
    reserve, ends = Reserve(), []
    found = came = unused = 0
    while now < 120:
        now += chance.expovariate(256)
        for end in [end for end in ends if end <= now]:
            ends.remove(end)
            reserve.end(end)
        kept = reserve.unused(64, now)
        if now > 3 * MEMORY_SECONDS:
            came, found, unused = came + 1, found + (kept > 0), unused + kept
        reserve.begin(now)
        ends.append(now + seconds)
    assert found / came > 0.8
    assert unused / came < 0.1 * (64 - 256 * seconds)


@in_virtual_time
async def test_batch_waits_while_real_time_is_expected_and_real_time_does_not():
    place = Place("a", max_concurrency=8)
    pool = Waited.of(place)
    taken = [await pool.slot() for _ in range(3)]
    await asyncio.sleep(10 * MEMORY_SECONDS)
    for each in taken:
        pool.answer(each)
    batch = [await pool.take(batch=True) for _ in range(4)]
    assert None not in batch
    assert await pool.take(batch=True) is None
    assert place.standing.refusal(pool.now, batch=True) is Refusal.RESERVED
    realtime = [await pool.take() for _ in range(4)]
    assert None not in realtime
    assert await pool.take() is None


@in_virtual_time
async def test_who_is_refused_for_the_reserve_is_told_a_time_to_come():
    place = Place("a", max_concurrency=4)
    pool = Waited.of(place)
    taken = [await pool.slot() for _ in range(2)]
    await asyncio.sleep(10 * MEMORY_SECONDS)
    for each in taken:
        pool.answer(each)
    for _ in range(2):
        await pool.take(batch=True)
    visit = pool.visit(batch=True)
    assert await pool.pool.take(visit) is None
    assert visit.retry_at is not None
    assert visit.retry_at > pool.now


@in_virtual_time
async def test_a_slot_that_batch_may_not_have_goes_to_real_time_though_it_is_the_turn_of_batch():
    place = Place("a", max_concurrency=8)
    pool = Waited.of(place)
    first = [await pool.slot() for _ in range(8)]
    await asyncio.sleep(10 * MEMORY_SECONDS)
    waiting = [asyncio.create_task(pool.take(patience=60)) for _ in range(12)]
    batch = asyncio.create_task(pool.take(patience=60, batch=True))
    await asyncio.sleep(0)
    for each in first[:7]:
        pool.answer(each)
        await asyncio.sleep(0)
    assert sum(task.done() for task in waiting) == 7
    pool.answer(first[7])
    await asyncio.sleep(0.001)
    assert batch.done()  # all the others are real time's: batch is not kept out for ever
    assert not waiting[7].done()
    for task in waiting[7:]:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


@in_virtual_time
async def test_what_is_kept_does_not_keep_the_limit_from_growing():
    place = Place("a")
    pool = Waited.of(place)
    taken = [await pool.slot() for _ in range(12)]
    await asyncio.sleep(10 * MEMORY_SECONDS)
    for each in taken:
        pool.answer(each)
    before = place.standing.calls_at_once.limit
    batch = [each for _ in range(before) if (each := await pool.take(batch=True)) is not None]
    assert len(batch) < before
    await asyncio.sleep(0.01)
    for each in batch:
        pool.answer(each)
    assert place.standing.calls_at_once.limit > before
