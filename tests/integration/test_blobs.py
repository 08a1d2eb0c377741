"""The store of jobs on a real Blob Storage (Azurite)."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from contracts.errors import DependencyUnavailable
from devhost.stack.network import free_port
from stores.blobs import Container, StorageAccount
from stores.jobs import JobStore, KeyClaim


@pytest.fixture
async def container(stack):
    async with StorageAccount(connection_string=stack.blob).open() as service:
        yield Container(lambda: service, f"test-{uuid.uuid4().hex}")


async def test_a_container_is_made_when_it_is_first_written_to(container):
    assert await container.get("a") is None
    assert (await container.page("", token=None, most=10)).names == []
    await container.put("a", b"1")
    assert await container.get("a") == b"1"


async def test_writers_of_a_new_container_do_not_disturb_each_other(container):
    await asyncio.gather(*(container.put(f"b{n}", b"x") for n in range(20)))
    assert len((await container.page("b", token=None, most=50)).names) == 20


async def test_of_many_only_one_writes_a_new_blob(container):
    wrote = await asyncio.gather(*(container.put_new("k", str(n).encode()) for n in range(20)))
    assert sum(wrote) == 1
    assert await container.get("k") == str(wrote.index(True)).encode()


async def test_pages_follow_each_other_in_order(container):
    names = [f"{n:03}" for n in range(25)]
    await asyncio.gather(*(container.put(f"p/{name}", b"") for name in names))
    seen: list[str] = []
    token = None
    while True:
        page = await container.page("p/", token=token, most=10)
        seen += page.names
        if (token := page.token) is None:
            break
    assert seen == names


async def test_a_key_is_bound_once(container):
    store = JobStore(container)
    claims = [KeyClaim(job_id=f"job_{n}", fingerprint="f") for n in range(10)]
    bound = await asyncio.gather(*(store.claim_key("t", "key/..%2f", claim) for claim in claims))
    assert len({claim.job_id for claim in bound}) == 1


async def test_starts_are_counted(container):
    store = JobStore(container)
    assert [await store.mark_start("t", "job_1", 0) for _ in range(3)] == [1, 2, 3]
    assert await store.mark_start("t", "job_1", 1) == 1


async def test_an_account_that_is_not_there_is_told_as_such():
    connection = (
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;"
        f"BlobEndpoint=http://127.0.0.1:{free_port()}/a;"
    )
    async with StorageAccount(connection_string=connection).open() as service:
        container = Container(lambda: service, "c")
        for attempt in (container.get("x"), container.put("x", b""), container.put_new("x", b"")):
            with pytest.raises(DependencyUnavailable, match="Nothing was lost"):
                await attempt


async def test_what_is_appended_follows_what_is_there(container):
    for number in range(3):
        assert await container.append("log", f"{number}\n".encode(), most_bytes=100)
    assert await container.get("log") == b"0\n1\n2\n"


async def test_many_append_to_one_new_blob_and_nothing_is_lost(container):
    lines = [f"{number:03}\n".encode() for number in range(20)]
    assert all(
        await asyncio.gather(*(container.append("log", line, most_bytes=1000) for line in lines))
    )
    stored = await container.get("log")
    assert sorted(stored.splitlines(keepends=True)) == lines


async def test_a_blob_does_not_grow_beyond_its_bound(container):
    assert await container.append("log", b"12345", most_bytes=8)
    assert not await container.append("log", b"6789", most_bytes=8)
    assert await container.append("log", b"678", most_bytes=8)
    assert await container.get("log") == b"12345678"


async def test_a_blob_can_be_deleted_and_one_that_is_not_there_too(container):
    await container.put("a", b"1")
    await container.delete("a")
    await container.delete("a")
    assert await container.get("a") is None
