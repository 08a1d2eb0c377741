"""A slot at the best deployment that has room, or a wait that is never in vain."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoints.routing.breaker import CONSECUTIVE
from endpoints.routing.pool import Taken
from endpoints.routing.standing import RESERVE_LOOK_SECONDS, Refusal
from endpoints.verdicts import Verdict
from tests.unit.routing_fakes import (
    FAILED,
    HUNG,
    REFUSED,
    REJECTED,
    UNUSABLE,
    Place,
    Waited,
    in_virtual_time,
    settled,
    throttled,
)
from tests.unit.virtual_time import run_in_virtual_time

PROBE = 10.0


async def broken(pool: Waited, place: Place) -> None:
    for _ in range(CONSECUTIVE):
        pool.end(await pool.slot(place), FAILED)
    assert place.standing.refusal(pool.now) is Refusal.OPEN


# Without waiting.


@in_virtual_time
async def test_the_first_that_has_room_is_taken_and_each_is_asked_once():
    a, b, c = Place("a", max_concurrency=1), Place("b"), Place("c")
    pool = Waited.of(a, b, c)
    await pool.slot(a)
    visit = pool.visit()
    names = []
    while (taken := await pool.pool.take(visit)) is not None:
        names.append(taken.deployment.name)
        pool.end(taken, FAILED)
    assert names == ["b", "c"]
    assert visit.wanted == [a]


@in_virtual_time
async def test_without_patience_nobody_waits_and_the_earliest_time_is_told():
    a, b = Place("a"), Place("b")
    pool = Waited.of(a, b)
    pool.end(await pool.slot(a), throttled(30))
    pool.end(await pool.slot(b), throttled(7))
    visit = pool.visit()
    assert await pool.pool.take(visit) is None
    assert (pool.now, visit.retry_at, pool.pool.turned_away) == (0, 7, 1)


@in_virtual_time
async def test_a_deployment_that_cannot_be_used_is_no_reason_to_come_back_early():
    a, b = Place("a"), Place("b")
    pool = Waited.of(a, b)
    pool.end(await pool.slot(a), UNUSABLE)
    pool.end(await pool.slot(b), throttled(7))
    visit = pool.visit()
    assert await pool.pool.take(visit) is None
    assert visit.retry_at == 7


@in_virtual_time
async def test_when_there_is_no_other_the_unusable_is_asked_but_never_beyond_its_limit():
    a = Place("a", max_concurrency=2)
    pool = Waited.of(a)
    pool.end(await pool.slot(), UNUSABLE)
    assert await pool.take() is not None
    assert await pool.take() is not None
    visit = pool.visit()
    assert await pool.pool.take(visit) is None
    assert visit.retry_at is not None


@in_virtual_time
async def test_when_there_is_no_other_the_silent_is_asked():
    a, b = Place("a"), Place("b")
    pool = Waited.of(a, b)
    pool.answer(await pool.slot(a))
    first = await pool.slot(a)
    await asyncio.sleep(0.1)
    pool.answer(first)
    await pool.slot(a)
    await asyncio.sleep(5)
    pool.end(await pool.slot(b), UNUSABLE)
    assert a.standing.refusal(pool.now) is Refusal.STALLED
    assert (await pool.slot()).deployment is a


@in_virtual_time
async def test_a_slot_now_or_none():
    a, b = Place("a", max_concurrency=1), Place("b", max_concurrency=1)
    pool = Waited.of(a, b)
    visit = pool.visit(patience=60)
    assert [pool.pool.take_now(visit).deployment for _ in range(2)] == [a, b]  # type: ignore[union-attr]
    assert pool.pool.take_now(pool.visit(patience=60)) is None


# Waiting.


@in_virtual_time
async def test_who_waits_is_given_the_slot_that_comes_free():
    a = Place("a", max_concurrency=1)
    pool = Waited.of(a)
    first = await pool.slot()
    waiting = asyncio.create_task(pool.take(patience=60))
    await asyncio.sleep(5)
    assert pool.pool.waiting == 1
    pool.answer(first)
    second = await waiting
    assert second is not None
    assert (pool.now, pool.pool.waiting, a.standing.calls_at_once.in_flight) == (5, 0, 1)


@in_virtual_time
async def test_patience_ends_when_it_said():
    pool = Waited.of(Place("a", max_concurrency=1))
    await pool.slot()
    visit = pool.visit(patience=3)
    assert await pool.pool.take(visit) is None
    assert pool.now == pytest.approx(3)
    assert visit.retry_at is not None
    assert visit.retry_at > pool.now
    assert pool.pool.waiting == 0


@in_virtual_time
async def test_nobody_waits_for_what_cannot_come_in_time():
    pool = Waited.of(Place("a"))
    pool.end(await pool.slot(), throttled(30))
    assert await pool.take(patience=29) is None
    assert pool.now == 0
    assert await pool.take(patience=31) is not None
    assert pool.now == pytest.approx(30)


@in_virtual_time
async def test_when_those_before_are_throttled_the_waiting_are_served_once_that_is_over():
    """All slots come free at a moment when the deployment takes no call."""
    a = Place("a", max_concurrency=4)
    pool = Waited.of(a)
    under_way = [await pool.slot() for _ in range(4)]
    waiting = [asyncio.create_task(pool.take(patience=60)) for _ in range(2)]
    await asyncio.sleep(1)
    for taken in under_way:
        pool.end(taken, throttled(5))
    for task in waiting:
        assert await task is not None
    assert pool.now == pytest.approx(6, abs=0.01)


@in_virtual_time
async def test_when_the_breaker_opens_one_of_the_waiting_is_the_trial_and_lets_in_the_others():
    a = Place("a", max_concurrency=3)
    a.standing.calls_at_once.limit = 1
    pool = Waited.of(a)
    for _ in range(CONSECUTIVE - 1):
        pool.end(await pool.slot(), FAILED)
    last = await pool.slot()
    waiting = [asyncio.create_task(pool.take(patience=60)) for _ in range(3)]
    await settled()
    pool.end(last, FAILED)
    a.standing.calls_at_once.limit = 3
    trial = await waiting[0]
    assert trial is not None
    assert trial.slot.trial
    assert pool.now == pytest.approx(PROBE, abs=0.01)
    await asyncio.sleep(0.5)
    assert not any(task.done() for task in waiting[1:])
    pool.answer(trial)
    await settled()
    assert all(task.done() for task in waiting)


@in_virtual_time
async def test_after_a_failed_trial_the_next_of_the_waiting_is_the_next():
    a = Place("a", max_concurrency=CONSECUTIVE)
    pool = Waited.of(a)
    await broken(pool, a)
    waiting = [asyncio.create_task(pool.take(patience=60)) for _ in range(2)]
    first = await waiting[0]
    assert first is not None
    pool.end(first, FAILED)
    second = await waiting[1]
    assert second is not None
    assert second.slot.trial
    assert pool.now == pytest.approx(2 * PROBE, abs=0.01)


@in_virtual_time
async def test_who_waits_for_the_minutes_limit_is_served_when_there_is_room():
    a = Place("a", requests_per_minute=2)
    pool = Waited.of(a)
    for _ in range(2):
        pool.answer(await pool.slot())
    tasks = [asyncio.create_task(pool.take(patience=100)) for _ in range(2)]
    taken = [await task for task in tasks]
    assert all(taken)
    assert 60 <= pool.now <= 61.1


@in_virtual_time
async def test_real_time_goes_before_batch_that_came_earlier():
    a = Place("a", max_concurrency=1)
    pool = Waited.of(a)
    first = await pool.slot()
    order = []

    async def caller(name: str, *, batch: bool) -> None:
        taken = await pool.take(patience=1000, batch=batch)
        assert taken is not None
        order.append(name)
        await asyncio.sleep(1)
        pool.answer(taken)

    tasks = [asyncio.create_task(caller(f"b{n}", batch=True)) for n in range(3)]
    await settled()
    tasks += [asyncio.create_task(caller(f"r{n}", batch=False)) for n in range(10)]
    await settled()
    pool.answer(first)
    await asyncio.gather(*tasks)
    realtime = [f"r{n}" for n in range(10)]
    assert order == [*realtime[:7], "b0", *realtime[7:], "b1", "b2"]


@in_virtual_time
async def test_who_comes_just_when_there_is_room_again_does_not_go_before_those_who_wait():
    a = Place("a")
    pool = Waited.of(a)
    pool.end(await pool.slot(), throttled(5))
    a.standing.calls_at_once.limit = 1
    waiting = asyncio.create_task(pool.take(patience=60))
    await settled()
    loop = asyncio.get_running_loop()
    came: asyncio.Future[Taken[Place] | None] = loop.create_future()

    def come() -> None:  # the deployment is ready, its timer is yet to be called
        came.set_result(pool.pool.take_now(pool.visit()))

    loop.call_at(5.0, come)
    assert await came is None
    assert await waiting is not None


@in_virtual_time
async def test_a_slot_of_a_deployment_that_none_of_the_waiting_wants_is_there_for_others():
    a, b = Place("a", max_concurrency=1), Place("b", max_concurrency=1)
    pool = Waited.of(a, b)
    on_a, on_b = await pool.slot(a), await pool.slot(b)
    waiting = asyncio.create_task(pool.take(a, patience=60))
    await settled()
    pool.answer(on_b)
    await settled()
    assert not waiting.done()
    assert (await pool.slot(b)).deployment is b
    pool.answer(on_a)
    assert (await waiting).deployment is a  # type: ignore[union-attr]


@in_virtual_time
async def test_a_slot_granted_to_one_who_is_cancelled_at_that_moment_goes_to_the_next():
    a = Place("a", max_concurrency=1)
    pool = Waited.of(a)
    first = await pool.slot()
    one, other = (asyncio.create_task(pool.take(patience=60)) for _ in range(2))
    await settled()
    pool.answer(first)  # granted to one, which has not run yet
    one.cancel()
    assert await other is not None
    assert a.standing.calls_at_once.in_flight == 1
    assert one.cancelled()


@in_virtual_time
async def test_who_is_cancelled_while_waiting_waits_no_longer():
    pool = Waited.of(Place("a", max_concurrency=1))
    first = await pool.slot()
    waiting = asyncio.create_task(pool.take(patience=60))
    await settled()
    waiting.cancel()
    await settled()
    assert pool.pool.waiting == 0
    pool.answer(first)
    assert await pool.take() is not None


@in_virtual_time
async def test_who_stood_behind_one_that_needs_much_is_served_when_that_one_gives_up():
    a = Place("a", tokens_per_minute=100)
    pool = Waited.of(a)
    pool.answer(await pool.slot(), tokens=60)
    pool.end(await pool.slot(), throttled(1))
    much = asyncio.create_task(pool.take(patience=70, tokens=50))
    await settled()
    little = asyncio.create_task(pool.take(patience=70, tokens=10))
    await asyncio.sleep(5)
    assert not little.done()  # or much would never have its turn
    much.cancel()
    assert await little is not None
    assert pool.now == 5


# Any number of callers, with any ends, cancelled at any moment.


@dataclass
class Caller:
    at: float
    wanted: list[int]
    patience: float
    batch: bool
    tokens: int
    ends: list[tuple[float, Verdict | str]]
    """How long each call takes, and how it ends; then it is answered in no time."""
    cancel_at: float | None


callers = st.builds(
    Caller,
    at=st.floats(0, 20),
    wanted=st.permutations([0, 1, 2]).flatmap(
        lambda order: st.integers(1, 3).map(lambda count: order[:count])
    ),
    patience=st.sampled_from([0.0, 0.5, 5.0, 40.0]),
    batch=st.booleans(),
    tokens=st.sampled_from([0, 10, 60]),
    ends=st.lists(
        st.tuples(
            st.floats(0, 6),
            st.sampled_from(
                [FAILED, HUNG, REFUSED, REJECTED, UNUSABLE, throttled(0.5), throttled(8), "let go",
                 "unsent", "answered"]
            ),
        ),
        max_size=3,
    ),
    cancel_at=st.none() | st.floats(0, 60),
)  # fmt: skip


@dataclass
class Street:
    """Callers at three deployments, watched."""

    places: list[Place] = field(
        default_factory=lambda: [
            Place("a", max_concurrency=2, probe_seconds=3),
            Place("b", max_concurrency=1, requests_per_minute=6, probe_seconds=1),
            Place("c", max_concurrency=3, tokens_per_minute=100),
        ]
    )

    async def run(self, every: list[Caller]) -> None:
        self.pool = Waited.of(*self.places)
        watch = asyncio.create_task(self.watch())
        tasks = [asyncio.create_task(self.call(caller)) for caller in every]
        loop = asyncio.get_running_loop()
        for caller, task in zip(every, tasks, strict=True):
            if caller.cancel_at is not None:
                loop.call_at(caller.cancel_at, task.cancel)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), repr(result)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        assert watch.cancelled(), watch.exception()
        assert self.pool.pool.waiting == 0
        for place in self.places:
            assert place.standing.calls_at_once.in_flight == 0

    async def call(self, caller: Caller) -> None:
        await asyncio.sleep(caller.at)
        wanted = [self.places[index] for index in caller.wanted]
        visit = self.pool.visit(
            *wanted, patience=caller.patience, batch=caller.batch, tokens=caller.tokens
        )
        ends = iter(caller.ends)
        while True:
            asked_at = self.pool.now
            taken = await self.pool.pool.take(visit)
            if asked_at < visit.patient_until:
                assert self.pool.now <= visit.patient_until + 0.01
            else:
                assert self.pool.now == asked_at
            if taken is None:
                return
            seconds, end = next(ends, (0.0, "answered"))
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                self.pool.let_go(taken)
                raise
            match end:
                case "answered":
                    self.pool.answer(taken, tokens=caller.tokens // 2)
                    return
                case "let go" | "unsent":
                    self.pool.let_go(taken, used=end == "let go")
                case Verdict():
                    self.pool.end(taken, end)

    async def watch(self) -> None:
        """Nobody waits for a deployment that would take the call; batch, for what was kept for real
        time, no longer than until its next look."""
        free_since: dict[str, float] = {}
        while True:
            await asyncio.sleep(0.0537)
            waiters = self.pool.pool._waiters
            for place in self.places:
                waiter = waiters._next(place)
                now = self.pool.now
                if waiter is None or place.standing.refusal(now, waiter.tokens, batch=waiter.batch):
                    free_since.pop(place.name, None)
                    continue
                since = free_since.setdefault(place.name, now)
                longest = RESERVE_LOOK_SECONDS if waiter.batch else 0.0
                assert now - since < longest, f"{place} is free, and someone waits for it"


@settings(max_examples=200, deadline=None)
@given(every=st.lists(callers, max_size=25))
def test_whoever_comes_is_served_or_told_in_time_and_nothing_leaks(every):
    run_in_virtual_time(Street().run(every))
