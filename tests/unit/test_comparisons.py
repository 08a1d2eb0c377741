"""Comparisons of mirrored calls: kept, bounded, listed and summed up."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from contracts.comparisons import ComparisonSummary, summarized
from contracts.deployments import Comparison, Side
from stores.comparisons import MOST_SEGMENTS, MOST_WAITING, SEGMENT_SECONDS, ComparisonStore
from tests.unit.fakes import MemoryContainer
from tests.unit.virtual_time import run_in_virtual_time

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def comparison(
    number: float = 0,
    model: str = "m",
    outcome: str = "answered",
    seconds: float = 1.0,
    tokens: int = 10,
    similarity: float | None = 0.5,
) -> Comparison:
    def side(name: str, outcome: str, seconds: float, tokens: int) -> Side:
        return Side(
            deployment=name,
            outcome=outcome,
            status=200,
            seconds=seconds,
            input_tokens=1,
            output_tokens=tokens,
        )

    return Comparison(
        model=model,
        at=NOON + timedelta(seconds=number),
        live=side("live", "answered", 1.0, 10),
        shadow=side("shadow", outcome, seconds, tokens),
        similarity=similarity,
    )


class Now:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time


def store(container: MemoryContainer, now: Now | None = None) -> ComparisonStore:
    return ComparisonStore(cast(Any, container), now=now or Now())


async def written(kept: ComparisonStore) -> None:
    assert kept._writer is not None
    await kept._writer


def test_the_latest_come_first_whichever_worker_wrote_them():
    async def run() -> None:
        container = MemoryContainer()
        one, other = store(container), store(container)
        for number in range(10):
            (one if number % 2 else other).add(comparison(number))
        await written(one)
        await written(other)
        found = await one.latest("m", 4)
        assert [each.at for each in found] == [NOON + timedelta(seconds=n) for n in (9, 8, 7, 6)]
        assert await one.latest("other", 4) == []

    run_in_virtual_time(run())


def test_newer_segments_come_before_older_ones():
    async def run() -> None:
        now = Now()
        kept = store(MemoryContainer(), now)
        for number in range(3):
            now.time = NOON + timedelta(seconds=number * SEGMENT_SECONDS)
            kept.add(comparison(number * SEGMENT_SECONDS))
            await written(kept)
        found = await kept.latest("m", 2)
        assert [(each.at - NOON).total_seconds() for each in found] == [1200, 600]

    run_in_virtual_time(run())


def test_models_are_kept_apart_also_where_one_name_begins_the_other():
    async def run() -> None:
        kept = store(MemoryContainer())
        kept.add(comparison(1, "meta"))
        kept.add(comparison(2, "meta/llama"))
        await written(kept)
        assert [each.model for each in await kept.latest("meta", 9)] == ["meta"]
        assert [each.model for each in await kept.latest("meta/llama", 9)] == ["meta/llama"]

    run_in_virtual_time(run())


def test_the_oldest_segments_are_dropped():
    async def run() -> None:
        now, container = Now(), MemoryContainer()
        kept = store(container, now)
        for number in range(MOST_SEGMENTS + 5):
            now.time = NOON + timedelta(seconds=number * SEGMENT_SECONDS)
            kept.add(comparison(number * SEGMENT_SECONDS))
            await written(kept)
        assert len(container.blobs) == MOST_SEGMENTS
        assert (await kept.latest("m", 1))[0].at == now.time

    run_in_virtual_time(run())


def test_a_full_segment_takes_no_more(monkeypatch):
    monkeypatch.setattr("stores.comparisons.SEGMENT_BYTES", 1000)

    async def run() -> None:
        container = MemoryContainer()
        kept = store(container)
        for number in range(20):
            kept.add(comparison(number))
            await written(kept)
        assert sum(len(data) for data in container.blobs.values()) <= 1000
        assert await kept.latest("m", 9)

    run_in_virtual_time(run())


def test_while_storage_is_down_the_latest_wait_and_the_log_says_so_once(caplog):
    async def run() -> None:
        container = MemoryContainer(down=True)
        kept = store(container)
        for number in range(MOST_WAITING + 10):
            kept.add(comparison(number))
        await asyncio.sleep(300)
        container.down = False
        await written(kept)
        assert len(await kept.latest("m", 2 * MOST_WAITING)) == MOST_WAITING
        assert (await kept.latest("m", 1))[0].at == NOON + timedelta(seconds=MOST_WAITING + 9)
        await kept.aclose()

    with caplog.at_level(logging.WARNING, "sluice.stores"):
        run_in_virtual_time(run())
    assert len([each for each in caplog.records if "Comparisons" in each.getMessage()]) == 1


def test_of_none_there_is_nothing_to_say():
    assert summarized([]) == ComparisonSummary(count=0)


def test_a_summary():
    found = summarized(
        [
            comparison(1, seconds=1.0, tokens=10, similarity=0.4),
            comparison(2, seconds=2.0, tokens=20, similarity=0.8),
            comparison(3, seconds=4.0, tokens=30, similarity=None),
            comparison(4, outcome="failed", seconds=9.0, tokens=0, similarity=None),
        ]
    )
    assert found.count == 4
    assert found.shadow_failures == 0.25
    assert found.latency_ratio == 2.0
    assert found.similarity == pytest.approx(0.6)
    assert found.token_ratio == 2.0


def test_of_failures_alone_only_their_share_is_known():
    found = summarized([comparison(outcome="failed", similarity=None)])
    assert found == ComparisonSummary(count=1, shadow_failures=1.0)
