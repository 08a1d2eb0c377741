"""What a tenant may ask of one worker: rates, budgets, models; who waits and who is told."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.calls import Usage
from contracts.errors import BudgetSpent, Forbidden, QuotaReached
from policies.quotas.periods import day_of, month_of
from tests.unit.quota_fakes import NOON, asks, call, loop_clocks, quotas, record
from tests.unit.virtual_time import run_in_virtual_time


def loop_now() -> float:
    return asyncio.get_running_loop().time()


async def made(kept: Any, count: int, *, tokens: int = 1) -> int:
    """How many of so many calls are let pass at once."""
    passed = 0
    for _ in range(count):
        try:
            await kept.reserve(call(tokens=tokens), asks())
        except QuotaReached:
            continue
        passed += 1
    return passed


def test_a_rate_lets_as_many_pass_in_a_minute_and_says_when_there_will_be_more():
    async def run() -> None:
        kept = quotas(requests_per_minute=10)
        await asyncio.sleep(0.25)
        assert await made(kept, 12) == 10
        with pytest.raises(QuotaReached) as refused:
            await kept.reserve(call(), asks(patience=10))
        assert loop_now() == 0.25, "who waits for an answer is told at once"
        error = refused.value
        assert error.limit == "requests_per_minute"
        assert error.detail == (
            "Tenant t has reached its requests_per_minute of 10: try again in 61 s."
        )
        assert error.retry_at == NOON + timedelta(seconds=61)
        [told] = error.standing
        assert (told.kind, told.limit, told.remaining) == ("requests", 10, 0)
        assert told.reset_seconds == pytest.approx(60.75)
        await asyncio.sleep(60.8)
        assert await made(kept, 12) == 10
        assert await kept.reserve(call(), asks("another")) is None

    run_in_virtual_time(run())


@given(
    limit=st.integers(1, 20),
    pauses=st.lists(st.sampled_from([0.0, 0.3, 1.0, 7.3, 29.5, 60.0]), max_size=60),
    batch=st.booleans(),
)
def test_no_minute_holds_more_requests_than_the_limit(limit, pauses, batch):
    async def run() -> list[float]:
        kept = quotas(requests_per_minute=limit)
        passed: list[float] = []

        async def one() -> None:
            try:
                await kept.reserve(call(), asks(batch=batch, patience=30))
            except QuotaReached:
                return
            passed.append(loop_now())

        tasks = []
        for pause in pauses:
            await asyncio.sleep(pause)
            tasks.append(asyncio.create_task(one()))
        await asyncio.gather(*tasks)
        return passed

    passed = run_in_virtual_time(run())
    for begin in passed:
        assert sum(begin <= at < begin + 60 for at in passed) <= limit


def test_lines_of_batches_wait_in_line_and_jobs_are_told():
    async def run() -> None:
        kept = quotas(requests_per_minute=2)
        order: list[int] = []

        async def line(number: int) -> None:
            await kept.reserve(call(), asks(batch=True, patience=130))
            order.append(number)

        await asyncio.gather(*(line(number) for number in range(5)))
        assert order == [0, 1, 2, 3, 4]
        assert 120 < loop_now() < 124
        await kept.reserve(call(), asks(patience=2))
        with pytest.raises(QuotaReached):
            await kept.reserve(call(), asks(patience=2))
        began = loop_now()
        with pytest.raises(QuotaReached) as refused:  # the last would not get through in time
            await asyncio.gather(*(line(number) for number in range(7)))
        assert loop_now() - began <= 131
        assert refused.value.retry_at > NOON + timedelta(seconds=loop_now())

    run_in_virtual_time(run())


def test_a_line_that_is_not_patient_enough_is_told_at_once_when_it_is_the_first():
    async def run() -> None:
        kept = quotas(requests_per_minute=1)
        await kept.reserve(call(), asks())
        scope = asks(batch=True, patience=30)
        with pytest.raises(QuotaReached):
            await kept.reserve(call(), scope)
        assert loop_now() == 0
        assert not scope.waiting

    run_in_virtual_time(run())


def test_tokens_are_set_aside_and_settled_by_what_was_used():
    async def run() -> None:
        kept = quotas(tokens_per_minute=1000)
        first = await kept.reserve(call(tokens=900), asks())
        assert await made(kept, 1, tokens=200) == 0
        first.settle(Usage(input_tokens=100, output_tokens=200, requests=1))
        first.settle(Usage(input_tokens=100, output_tokens=200, requests=1))
        assert kept.standing("t", "chat")[0].remaining == 700
        with pytest.raises(QuotaReached, match="has 700 left of its tokens_per_minute of 1,000"):
            await kept.reserve(call(tokens=1800), asks())
        second = await kept.reserve(call(tokens=700), asks())
        second.release()
        assert kept.standing("t", "chat")[0].remaining == 700
        third = await kept.reserve(call(tokens=600), asks())
        third.settle(Usage(requests=1))  # which does not say: the estimate holds
        assert kept.standing("t", "chat")[0].remaining == 100

    run_in_virtual_time(run())


def test_a_models_own_rate_holds_beside_the_tenants():
    async def run() -> None:
        kept = quotas(requests_per_minute=5, per_model={"chat": {"requests_per_minute": 2}})
        for _ in range(2):
            await kept.reserve(call(), asks())
        with pytest.raises(QuotaReached) as refused:
            await kept.reserve(call("chat@3"), asks())
        assert refused.value.limit == "per_model.chat.requests_per_minute"
        assert [each.remaining for each in kept.standing("t", "chat@3")] == [0]
        assert [each.remaining for each in kept.standing("t", "embed")] == [3]
        for _ in range(3):
            await kept.reserve(call("embed"), asks())
        with pytest.raises(QuotaReached) as refused:
            await kept.reserve(call("embed"), asks())
        assert refused.value.limit == "requests_per_minute"

    run_in_virtual_time(run())


def test_a_call_that_is_refused_for_one_limit_takes_nothing_of_another():
    async def run() -> None:
        kept = quotas(requests_per_minute=3, tokens_per_minute=100)
        assert await made(kept, 1, tokens=90) == 1
        assert await made(kept, 5, tokens=90) == 0
        assert await made(kept, 5, tokens=2) == 2

    run_in_virtual_time(run())


def test_a_budget_is_spent_by_what_calls_use_and_new_the_next_day():
    async def run() -> None:
        kept = quotas(tokens_per_day=1000, money_per_month="25")
        for _ in range(4):
            asked = await kept.reserve(call(tokens=250), asks())
            told = record(tokens=240)
            kept.meter(told)
            asked.settle(told.attempt.usage)
        with pytest.raises(BudgetSpent) as spent:
            await kept.reserve(call(tokens=300), asks(patience=10))
        assert loop_now() == 0
        assert spent.value.status == 403
        assert spent.value.detail == (
            "Tenant t has 40 left of its tokens_per_day of 1,000, and the call may take 300: it is"
            " new from 2026-11-27T00:00:00Z."
        )
        kept.meter(record(tokens=40, mirrored=True))
        kept.meter(record("another", tokens=40))
        kept.meter(record(tokens=40))
        with pytest.raises(BudgetSpent, match="has used up its tokens_per_day of 1,000: it is new"):
            await kept.reserve(call(tokens=1), asks())
        await asyncio.sleep(12 * 3600 - 1)
        with pytest.raises(BudgetSpent):
            await kept.reserve(call(tokens=1), asks())
        await asyncio.sleep(1)
        await kept.reserve(call(tokens=300), asks())
        for _ in range(10):
            kept.meter(record(tokens=150))
        await asyncio.sleep(24 * 3600)
        with pytest.raises(BudgetSpent, match=r"its money_per_month of 25: .* 2026-12-01T00"):
            await kept.reserve(call(tokens=1), asks())

    run_in_virtual_time(run())


def test_what_is_set_aside_for_calls_under_way_is_not_given_to_others():
    async def run() -> None:
        kept = quotas(tokens_per_day=1000)
        under_way = [await kept.reserve(call(tokens=400), asks()) for _ in range(2)]
        with pytest.raises(QuotaReached, match="has nearly used up its tokens_per_day") as soon:
            await kept.reserve(call(tokens=400), asks())
        assert soon.value.retry_at == NOON + timedelta(seconds=loop_now() + 2)
        line = asyncio.create_task(kept.reserve(call(tokens=400), asks(batch=True, patience=30)))
        await asyncio.sleep(20)
        assert not line.done(), "some of it may come back"
        under_way[0].release()
        (await line).release()
        again = await kept.reserve(call(tokens=400), asks())
        kept.meter(record(tokens=10))
        again.settle(Usage(output_tokens=10, requests=1))
        under_way.clear()  # of the other nobody ever hears: what was set aside is used
        await kept.reserve(call(tokens=590), asks())
        with pytest.raises(BudgetSpent):
            await kept.reserve(call(tokens=1), asks())

    run_in_virtual_time(run())


def test_what_was_set_aside_yesterday_is_not_given_back_today():
    async def run() -> None:
        kept = quotas(tokens_per_day=1000)
        asked = await kept.reserve(call(tokens=900), asks())
        await asyncio.sleep(12 * 3600 + 5)
        assert await made(kept, 1, tokens=1000) == 1
        asked.release()
        with pytest.raises(BudgetSpent):
            await kept.reserve(call(tokens=1), asks())

    run_in_virtual_time(run())


def test_what_a_call_costs_is_learned_from_those_before_it():
    async def run() -> None:
        kept = quotas(money_per_day="10")
        asked = await kept.reserve(call(tokens=300), asks())
        told = record(tokens=100)  # one of money
        kept.meter(told)
        asked.settle(told.attempt.usage)
        for _ in range(3):  # of nine
            await kept.reserve(call(tokens=300), asks())
        with pytest.raises(BudgetSpent, match="has used up its money_per_day of 10: it is new"):
            await kept.reserve(call(tokens=300), asks())

    run_in_virtual_time(run())


@given(
    budget=st.integers(10, 300),
    each=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), max_size=40),
)
def test_no_budget_is_exceeded_by_calls_that_use_no_more_than_they_said(budget, each):
    async def run() -> int:
        kept = quotas(tokens_per_day=budget)
        used = 0
        for said, really in each:
            try:
                asked = await kept.reserve(call(tokens=said), asks())
            except BudgetSpent:
                continue
            told = record(tokens=min(said, really))
            used += min(said, really)
            kept.meter(told)
            asked.settle(told.attempt.usage)
        return used

    assert run_in_virtual_time(run()) <= budget


def test_models_that_are_not_allowed_are_refused_but_those_that_an_allowed_flow_calls_are_not():
    async def run() -> None:
        kept = quotas(models=["embed"])
        await kept.reserve(call("embed@2"), asks())
        await kept.reserve(call("chat"), asks(flow="summarize"))
        await kept.reserve(call("chat"), asks("another"))
        with pytest.raises(Forbidden, match="may not use the model 'chat'; it may use embed"):
            await kept.reserve(call("chat"), asks())

    run_in_virtual_time(run())


def test_without_tokens_in_its_limits_a_body_is_not_looked_through():
    async def run() -> None:
        kept = quotas(requests_per_minute=1)
        asked = await kept.reserve(call(tokens=500), asks())
        assert asked.tokens == 0

    run_in_virtual_time(run())


def test_money_is_counted_to_the_billionth():
    async def run() -> None:
        kept = quotas(cost=lambda _: Decimal("0.0000000004"), money_per_day="0.000000002")
        for _ in range(2):
            kept.meter(record(tokens=1))
        with pytest.raises(BudgetSpent, match=r"of 0\.000000002"):
            await kept.reserve(call(tokens=5), asks())

    run_in_virtual_time(run())


def test_lines_leave_room_for_a_real_time_call_that_was_refused_but_not_for_ever():
    async def run() -> None:
        kept = quotas(requests_per_minute=60)
        lines: list[float] = []

        async def line() -> None:
            await kept.reserve(call(), asks(batch=True, patience=1000))
            lines.append(loop_now())

        tasks = [asyncio.create_task(line()) for _ in range(1000)]
        for _ in range(3):
            await asyncio.sleep(1)
            with pytest.raises(QuotaReached) as refused:
                await kept.reserve(call(), asks(patience=10))
            seconds = (refused.value.retry_at - NOON).total_seconds() - loop_now()
            await asyncio.sleep(seconds + 0.5)
            await kept.reserve(call(), asks(patience=10))
            await asyncio.sleep(2)
        assert len(lines) == 60 + 3 * 59
        began = loop_now()
        while loop_now() < began + 200:  # more than there is room for
            try:
                await kept.reserve(call(), asks())
            except QuotaReached:
                await asyncio.sleep(0.05)
        assert 2 <= sum(began <= at < began + 200 for at in lines) <= 10
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run_in_virtual_time(run())


def test_who_leaves_the_line_lets_the_next_one_through():
    async def run() -> None:
        kept = quotas(requests_per_minute=1)
        await kept.reserve(call(), asks())
        lines = [
            asyncio.create_task(kept.reserve(call(), asks(batch=True, patience=200)))
            for _ in range(3)
        ]
        await asyncio.sleep(5)
        lines[0].cancel()
        await asyncio.wait(lines[1:2])
        assert lines[1].result() is not None
        assert 60 < loop_now() < 62
        lines[2].cancel()

    run_in_virtual_time(run())


@given(at=st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1)), hours=st.integers(-12, 14))
def test_days_and_months_are_those_of_utc_and_follow_each_other(at, hours):
    from datetime import UTC, timezone

    local = at.replace(tzinfo=timezone(timedelta(hours=hours)))
    for period_of in (day_of, month_of):
        period = period_of(local)
        assert local.astimezone(UTC).isoformat().startswith(period.name)
        assert period.ends_at > local
        following = period_of(period.ends_at)
        assert following.name > period.name
        assert period_of(period.ends_at - timedelta(microseconds=1)) == period


def test_clocks_of_the_loop_are_as_they_say():
    async def run() -> None:
        clocks = loop_clocks()
        await asyncio.sleep(5)
        assert clocks.now() - NOON == timedelta(seconds=5)

    run_in_virtual_time(run())
