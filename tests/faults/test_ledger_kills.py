"""kill -9 under calls of every kind: each call that reached a model is on the books once.

What is on the books and reached no model was on its way when the host died: nobody can tell, and so
the books say that they do not know.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from tests.faults.ledger_lab import LedgerLab, ledger_lab

GIVE_UP_SECONDS = 400
UNHEARD = {"unknown", "cancelled", "not_connected"}


def check(it: LedgerLab, records: list[dict[str, Any]]) -> None:
    booked = Counter(each["request_id"] for each in records)
    by_id = {each["request_id"]: each for each in records}
    arrived = it.models.calls
    assert set(booked.values()) == {1}, "each call once"
    assert set(arrived.values()) == {1}, "a call that was sent twice had two ids"
    assert not arrived.keys() - booked.keys(), "each call that a model has seen"
    unheard = [by_id[each] for each in booked.keys() - arrived.keys()]
    assert {each["outcome"] for each in unheard} <= UNHEARD
    mirrored = {each["request_id"] for each in records if each["mirrored"]}
    assert it.models.seen["shadow"].keys() <= mirrored
    assert not it.models.seen["live"].keys() & mirrored
    assert all(each["cost"] == "0" for each in records if each["mirrored"])
    unknown = [each for each in records if each["outcome"] == "unknown"]
    assert all(each["estimated"] for each in unknown if not each["status"])
    outcomes = Counter(each["outcome"] for each in records)
    print(
        f"{len(arrived)} calls reached models, {len(mirrored)} records of mirrored ones;"
        f" {len(records)} on the books: {dict(outcomes)}, {len(unheard)} of which reached none"
    )


async def load(it: LedgerLab, over: asyncio.Event, *, jobs: int, lines: int) -> list[Any]:
    """Real-time calls until the jobs and the batch have ended."""
    callers = [asyncio.create_task(it.real_time(over)) for _ in range(8)]
    batch = asyncio.create_task(it.batch(lines))

    async def later(number: int) -> Any:
        await asyncio.sleep(number * 0.1)
        return await it.job()

    done = await asyncio.gather(batch, *(later(number) for number in range(jobs)))
    over.set()
    await asyncio.gather(*callers)
    return done


@pytest.mark.parametrize(
    ("kills", "jobs", "lines"),
    [(3, 20, 400), pytest.param(10, 80, 2000, marks=pytest.mark.long)],
)
async def test_the_books_are_right_whenever_the_host_dies(tmp_path, kills, jobs, lines):
    async with asyncio.timeout(GIVE_UP_SECONDS), ledger_lab(tmp_path) as it:
        over, chance = asyncio.Event(), random.Random(kills)
        loaded = asyncio.create_task(load(it, over, jobs=jobs, lines=lines))
        for _ in range(kills):
            seen, enough = it.models.calls.total(), chance.randrange(30, 90)
            while it.models.calls.total() < seen + enough and not over.is_set():
                await asyncio.sleep(0.005)
            await it.kill()
        batch, *records = await loaded
        assert {record["status"] for record in records} == {"succeeded"}
        assert batch["request_counts"]["completed"] == lines
        check(it, await it.settled())


async def test_what_storage_misses_while_it_is_away_it_gets_afterwards(tmp_path):
    async with asyncio.timeout(GIVE_UP_SECONDS), ledger_lab(tmp_path) as it:
        over = asyncio.Event()
        callers = [asyncio.create_task(it.real_time(over)) for _ in range(4)]
        for _ in range(2):
            seen = it.models.calls.total()
            while it.models.calls.total() < seen + 100:
                await asyncio.sleep(0.01)
            await it.kill(victim="azurite")
        before = it.answered
        while it.answered < before + 50:
            await asyncio.sleep(0.01)
        over.set()
        await asyncio.gather(*callers)
        check(it, await it.settled())


async def test_what_is_delivered_is_on_the_books_though_the_disk_is_lost_with_the_host(tmp_path):
    """Records of calls that came to nothing may be lost with the disk: of their last second."""
    lines, jobs = 300, 20
    async with asyncio.timeout(GIVE_UP_SECONDS), ledger_lab(tmp_path) as it:
        running = [asyncio.create_task(it.job()) for _ in range(jobs)]
        batch = asyncio.create_task(it.batch(lines))
        for _ in range(3):
            seen = it.models.calls.total()
            while it.models.calls.total() < seen + 60 and not batch.done():
                await asyncio.sleep(0.005)
            await it.kill(disk=True)
        records = await asyncio.gather(*running)
        ended = await batch
        await asyncio.sleep(2)
        told = await it.records()
        out, _ = await it.batches.results(ended)
    booked = Counter(each["request_id"] for each in told)
    assert set(booked.values()) == {1}
    answers = [line["response"]["request_id"] for line in out.values()]
    assert len(answers) == lines
    assert not set(answers) - booked.keys(), "a line was delivered that nobody pays"
    paid = {each["job_id"] for each in told if each["outcome"] == "answered"}
    assert not {record["id"] for record in records} - paid, "a job was delivered that nobody pays"
    lost = it.models.seen["live"].keys() - booked.keys()
    print(f"{it.models.calls.total()} calls, {len(told)} on the books, {len(lost)} lost with disks")
