"""Workers of one tenant: what each may use, what is kept of what they used, and who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from contracts.errors import BudgetSpent, QuotaReached
from contracts.quotas import QuotaReport, SharedTenant
from contracts.sharing import FORGET_AFTER, LEASE_SECONDS
from endpoints.lease import UNHEARD_SECONDS
from endpoints.sharing import USED_SECONDS, Due
from orchestrators.quotas import merged
from tests.unit.quota_fakes import NOON, Hub, Worker, asks, call, loop_clocks
from tests.unit.virtual_time import run_in_virtual_time


async def passed(worker: Worker, seconds: float, *, every: float = 0.01, tokens: int = 1) -> int:
    """How many calls get through, of one after the other."""
    loop = asyncio.get_running_loop()
    until, count = loop.time() + seconds, 0
    while loop.time() < until:
        try:
            await worker.call(tokens)
        except (QuotaReached, BudgetSpent):
            await asyncio.sleep(every)
        else:
            count += 1
            await asyncio.sleep(every)
    return count


def together(*names: str, **limits: object) -> Callable[[Callable[..., Awaitable[None]]], None]:
    """Run with workers that exchange twice a second."""

    def run(test: Callable[..., Awaitable[None]]) -> None:
        async def main() -> None:
            hub = Hub()
            workers = [Worker(hub, name, **limits) for name in names]
            beats = [asyncio.create_task(worker.exchanges()) for worker in workers]
            await test(hub, *workers)
            for beat in beats:
                beat.cancel()

        run_in_virtual_time(main())

    return run


def test_two_workers_that_are_both_flooded_let_the_whole_limit_pass_and_no_more():
    @together("a", "b", requests_per_minute=100)
    async def _(hub: Hub, a: Worker, b: Worker) -> None:
        counts = await asyncio.gather(passed(a, 58), passed(b, 58))
        assert sum(counts) == 100
        assert min(counts) >= 40


def test_what_one_does_not_need_goes_to_the_other_within_two_in_a_hundred():
    @together("a", "b", requests_per_minute=1000)
    async def _(hub: Hub, a: Worker, b: Worker) -> None:
        await a.call(patience=10)
        await b.call(patience=10)
        await asyncio.sleep(3)
        count = await passed(a, 55, every=0.02)
        assert 980 <= count + 2 <= 1000


def test_who_has_not_been_heard_waits_a_moment_and_then_goes_on_with_a_small_part():
    async def run() -> None:
        hub = Hub(away=True)
        worker = Worker(hub, "a", requests_per_minute=100, tokens_per_day=1000)
        beat = asyncio.create_task(worker.exchanges(0.1))
        assert await passed(worker, 10, tokens=10) == 10
        assert asyncio.get_running_loop().time() >= UNHEARD_SECONDS
        hub.away = False
        await asyncio.sleep(1)
        assert await passed(worker, 30, tokens=10) == 90
        assert hub.spent("tokens_per_day") == 1000
        beat.cancel()

    run_in_virtual_time(run())


def test_a_call_waits_for_the_first_share_and_is_then_made():
    async def run() -> None:
        hub = Hub()
        worker = Worker(hub, "a", requests_per_minute=100)
        assert worker.sharing.look() is Due.IDLE
        asked = asyncio.create_task(worker.quotas.reserve(call(), asks(patience=10)))
        await asyncio.sleep(0.3)
        assert worker.sharing.look() is Due.AT_ONCE
        assert not asked.done()
        worker.exchange()
        assert worker.sharing.look() is Due.SOON
        assert await asked is not None
        assert asyncio.get_running_loop().time() < 0.4
        await asyncio.sleep(USED_SECONDS + LEASE_SECONDS)
        assert worker.sharing.look() is Due.IDLE

    run_in_virtual_time(run())


def test_what_an_idle_worker_held_is_free_for_the_next_one_at_once():
    @together("a", "b", requests_per_minute=100, tokens_per_day=1000)
    async def _(hub: Hub, a: Worker, b: Worker) -> None:
        await a.call(10, patience=10)
        await asyncio.sleep(USED_SECONDS + 2)
        assert hub.state.workers == {}
        assert hub.spent("tokens_per_day") == 10
        assert await passed(b, 30, tokens=5) == 100
        await asyncio.sleep(USED_SECONDS)
        await a.call(10, patience=10)
        await asyncio.sleep(1)
        assert hub.spent("tokens_per_day") == 520


def test_a_worker_that_comes_when_another_holds_all_waits_for_its_part():
    @together("a", "b", requests_per_minute=1000)
    async def _(hub: Hub, a: Worker, b: Worker) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(20):
            await a.call(patience=10)
            await asyncio.sleep(0.1)
        began = loop.time()
        await b.call(patience=10)
        assert loop.time() - began < 3


def test_what_was_used_is_kept_though_every_worker_is_gone():
    async def run() -> None:
        hub = Hub()
        for life in range(4):
            worker = Worker(hub, f"w{life}", tokens_per_day=1000)
            beat = asyncio.create_task(worker.exchanges())
            for _ in range(3):
                await worker.call(100, patience=10)
            await asyncio.sleep(1)
            beat.cancel()
            if life < 3:
                text = hub.state.model_dump_json()  # as Durable Functions keeps it
                hub.state = SharedTenant.model_validate_json(text)
                assert hub.spent("tokens_per_day") == (life + 1) * 300
            await asyncio.sleep(1500)

    with pytest.raises(BudgetSpent):
        run_in_virtual_time(run())


def test_a_worker_that_was_idle_for_long_or_away_is_not_counted_twice():
    async def run() -> None:
        hub = Hub()
        worker = Worker(hub, "a", tokens_per_day=100_000)
        beat = asyncio.create_task(worker.exchanges())
        used = 0
        for pause in (0.0, 10.0, 21.0, 29.0, 35.0, 100.0, 700.0, 4000.0):
            for _ in range(3):
                await worker.call(100, patience=10)
                used += 100
            await asyncio.sleep(0.7)  # the last may have been told, or not
            await worker.call(100, patience=10)
            used += 100
            hub.away = True
            await asyncio.sleep(pause)
            hub.away = False
            await asyncio.sleep(1.2)
            assert hub.spent("tokens_per_day") == used
        beat.cancel()

    run_in_virtual_time(run())


def test_what_a_crash_loses_is_what_was_used_since_the_last_report():
    async def run() -> None:
        hub = Hub()
        one, other = (Worker(hub, name, tokens_per_day=10_000) for name in "ab")
        for worker in (one, other):
            asked = asyncio.create_task(worker.call(10, patience=10))
            await asyncio.sleep(0.1)
            worker.exchange()
            await asked
        for worker in (one, other, one, other):
            worker.exchange()
        told = hub.spent("tokens_per_day")
        lost = 0
        try:
            while True:
                await one.call(100)
                lost += 100
        except QuotaReached:
            pass
        # No more than it was granted: a tenth of what was left, or so many calls.
        assert 0 < lost <= 3300
        await asyncio.sleep(FORGET_AFTER.total_seconds() + 1)
        beat = asyncio.create_task(other.exchanges())
        rest = 100 * await passed(other, 30, tokens=100)
        assert told + rest <= 10_000
        assert told + rest > 9_800
        beat.cancel()

    run_in_virtual_time(run())


def test_the_last_of_a_budget_goes_to_who_wants_it_and_none_of_it_is_spent_twice():
    @together("a", "b", "c", tokens_per_day=3_000)
    async def _(hub: Hub, *workers: Worker) -> None:
        for worker in workers:
            await worker.call(1, patience=10)
        counts = await asyncio.gather(
            *(passed(worker, 90, every=0.05, tokens=90) for worker in workers[:2])
        )
        used = 3 + 90 * sum(counts)
        assert used == hub.spent("tokens_per_day")
        assert 3000 - 90 < used <= 3000
        for worker in workers:
            with pytest.raises(BudgetSpent):
                await worker.call(90, patience=10)


def test_at_midnight_a_budget_is_new_at_every_worker_and_in_the_hub():
    async def run() -> None:
        hub = Hub()
        start = NOON.replace(hour=23, minute=59, second=30)
        workers = [Worker(hub, name, loop_clocks(start), tokens_per_day=1000) for name in "ab"]
        beats = [asyncio.create_task(worker.exchanges()) for worker in workers]
        counts = await asyncio.gather(*(passed(each, 25, tokens=100) for each in workers))
        assert sum(counts) == 10
        await asyncio.sleep(5.1)
        began = asyncio.get_running_loop().time()
        await workers[0].call(100, patience=10)
        assert asyncio.get_running_loop().time() - began < 1.1
        assert hub.state.budgets["tokens_per_day"].period == "2026-11-27"
        counts = await asyncio.gather(*(passed(each, 25, tokens=100) for each in workers))
        assert sum(counts) == 9
        assert hub.spent("tokens_per_day") == 1000
        for beat in beats:
            beat.cancel()

    run_in_virtual_time(run())


def test_a_day_that_begins_while_the_hub_is_away_is_begun_alone():
    async def run() -> None:
        hub = Hub(away=True)
        start = NOON.replace(hour=23, minute=59, second=30)
        worker = Worker(hub, "a", loop_clocks(start), tokens_per_day=1000)
        beat = asyncio.create_task(worker.exchanges(0.1))
        assert await passed(worker, 25, tokens=10) == 10
        await asyncio.sleep(6)
        assert await passed(worker, 25, tokens=10) == 10
        hub.away = False
        assert await passed(worker, 25, tokens=10) == 90
        assert hub.spent("tokens_per_day") == 1000
        beat.cancel()

    run_in_virtual_time(run())


def test_of_a_lowered_limit_the_lower_one_holds_while_workers_disagree():
    async def run() -> None:
        hub = Hub()
        old = Worker(hub, "a", requests_per_minute=100, tokens_per_day=1000)
        new = Worker(hub, "b", requests_per_minute=10, tokens_per_day=100)
        beats = [asyncio.create_task(worker.exchanges()) for worker in (new, old)]
        await asyncio.gather(old.call(patience=10), new.call(patience=10))
        await asyncio.sleep(2)
        counts = await asyncio.gather(passed(old, 40), passed(new, 40))
        assert sum(counts) + 2 <= 10
        for beat in beats:
            beat.cancel()

    run_in_virtual_time(run())


def report(number: int, spent: int, *, life: int = 1, at: float = 0.0) -> QuotaReport:
    use = {"whole": 1000, "in_use": spent, "period": "2026-11-26", "spent": spent}
    return QuotaReport.model_validate(
        {
            "worker": "w",
            "number": number,
            "seen": 0,
            "at": NOON + timedelta(seconds=at),
            "life": life,
            "scopes": {"*": {"demand": 1.0}},
            "budgets": {"tokens_per_day": use},
        }
    )


def test_what_comes_twice_or_late_changes_nothing():
    shared = merged(SharedTenant(), report(2, 50))
    assert merged(shared, report(2, 50)) is shared
    assert merged(shared, report(1, 20)) is shared
    left = merged(shared, report(4, 60).model_copy(update={"leaves": True}))
    assert left.workers == {}
    assert merged(left, report(3, 55)).budgets["tokens_per_day"].spent == 60


def test_lives_that_are_over_are_summed():
    shared = SharedTenant()
    for life in range(1, 20):
        shared = merged(shared, report(life, 10, life=life, at=60.0 * life))
    kept = shared.budgets["tokens_per_day"]
    assert kept.spent == 190
    assert len(kept.lives) <= 12
    assert kept.settled == 190 - 10 * len(kept.lives)


def test_of_a_period_that_is_over_nothing_more_is_heard():
    shared = merged(SharedTenant(), report(1, 10))
    tomorrow = report(2, 5, at=86_400).model_dump(mode="json")
    tomorrow["budgets"]["tokens_per_day"]["period"] = "2026-11-27"
    shared = merged(shared, QuotaReport.model_validate(tomorrow))
    assert shared.budgets["tokens_per_day"].spent == 5
    late = report(3, 500).model_copy(update={"worker": "another"})
    assert merged(shared, late).budgets["tokens_per_day"].spent == 5
