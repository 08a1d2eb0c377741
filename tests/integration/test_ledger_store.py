"""The ledger's container on a real Blob Storage (Azurite)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from devhost.stack.running import Stack
from ledger.segments import Segment
from ledger.shipping import ship
from stores.blobs import Container, StorageAccount
from stores.ledger import LedgerStore

NAME = "usage/2030-01-31/w-000001.jsonl"


@pytest.fixture
async def container(stack: Stack) -> AsyncIterator[Container]:
    async with StorageAccount(connection_string=stack.blob).open() as service:
        yield Container(lambda: service, f"test-{uuid.uuid4().hex}")


async def test_an_append_is_made_once_however_often_it_is_sent(container):
    store = LedgerStore(container)
    assert await store.size(NAME) == 0
    for _ in range(3):
        assert await store.append_at(NAME, b"1234\n", 0) == 5
    assert await store.append_at(NAME, b"6789\n", 5) == 10
    assert await store.append_at(NAME, b"xxxx\n", 5) == 10
    assert await store.append_at(NAME, b"xxxx\n", 99) == 10
    assert await container.get(NAME) == b"1234\n6789\n"
    assert await store.size(NAME) == 10


async def test_a_blob_that_is_gone_is_told_to_be_empty(container):
    assert await LedgerStore(container).append_at(NAME, b"1234\n", 5) == 0


async def test_of_two_who_ship_the_same_segment_each_line_arrives_once(container, tmp_path):
    store = LedgerStore(container)
    (tmp_path / "w").mkdir()
    written = Segment.new(tmp_path / "w", 1, "2030-01-31")
    lines = b"".join(b"%06d\n" % number for number in range(200_000))
    written.write(lines)
    others = [Segment.open(written.path) for _ in range(3)]
    await asyncio.gather(*(ship(store, each) for each in [written, *others]))
    assert await container.get(NAME) == lines
    for each in [written, *others]:
        assert each.shipped == len(lines)
        each.close()


async def test_usage_is_listed_by_day(container):
    store = LedgerStore(container)
    for day in ("2030-01-30", "2030-01-31", "2030-02-01"):
        await store.append_at(f"usage/{day}/w-000001.jsonl", b"{}\n", 0)
    listed = await store.usage("2030-01")
    assert sorted(listed) == ["2030-01-30", "2030-01-31"]
    assert listed["2030-01-31"] == {NAME: 3}
