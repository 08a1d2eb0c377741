"""What is due goes, what has not ended stays, and a run that broke off is made good."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.batches import AcceptedBatch, BatchObject, BatchPlan, BatchRequest, FileObject
from contracts.errors import DependencyUnavailable
from contracts.ids import is_job_id, new_batch_id, new_file_id, new_job_id
from contracts.jobs import AcceptedJob, JobRequest
from contracts.names import lane_id
from policies.privacy.due import Counts, Stores
from policies.privacy.expiry import delete_due
from policies.privacy.settings import PrivacySettings
from stores import old
from stores.batches import BatchStore, Note
from stores.files import FileStore
from stores.jobs import JobStore, KeyClaim
from stores.old import old_names
from tests.unit.fakes import MemoryContainer

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
A_MONTH = {"requests": "P30D", "results": "P30D", "files": "P30D", "batches": "P30D"}


@dataclass
class FakeHistories:
    """`ends` are those that have ended; None runs; what is missing is unknown."""

    ends: dict[str, datetime | None] = field(default_factory=dict)
    purged: list[str] = field(default_factory=list)
    down: bool = False

    async def ended_at(self, instance: str, unknown: datetime) -> datetime | None:
        if self.down:
            raise DependencyUnavailable("The hub is down.")
        return self.ends.get(instance, unknown)

    async def purge(self, instance: str) -> None:
        assert self.ends.get(instance, NOW) is not None, "it still runs"
        if self.ends.pop(instance, None) is not None:
            self.purged.append(instance)


class World:
    def __init__(self, retention: dict[str, str] | None = None) -> None:
        self.jobs_blobs, self.files_blobs = MemoryContainer(), MemoryContainer()
        self.jobs = JobStore(cast(Any, self.jobs_blobs))
        self.files = FileStore(cast(Any, self.files_blobs))
        self.batches = BatchStore(cast(Any, self.files_blobs))
        self.histories = FakeHistories()
        self.retention = {"t": A_MONTH if retention is None else retention}

    async def run(self, **options: Any) -> Counts:
        def settings_of(tenant: str) -> PrivacySettings:
            return PrivacySettings.model_validate({"retention": self.retention.get(tenant, {})})

        stores = Stores(self.jobs, self.files, self.batches)
        return await delete_due(stores, self.histories, settings_of, now=NOW, **options)

    async def job(self, age: timedelta, ended: timedelta | None, tenant: str = "t") -> str:
        """Accepted so long ago, and ended so long ago."""
        at = NOW - age
        job_id = new_job_id(at)
        request = JobRequest(flow="f", input={})
        job = AcceptedJob(
            id=job_id, tenant=tenant, created_at=at, deadline_at=None, request=request
        )
        await self.jobs.claim_key(tenant, job_id, KeyClaim(job_id=job_id, fingerprint="x"))
        await self.jobs.put_request(job)
        await self.jobs.mark_start(tenant, job_id, 0)
        await self.jobs.mark_start(tenant, job_id, 1)
        if ended is not None:
            await self.jobs.put_result(tenant, job_id, b"{}")
        self.histories.ends[job_id] = None if ended is None else NOW - ended
        return job_id

    async def file(self, age: timedelta) -> str:
        async def pieces() -> Any:
            yield b"content"

        at = NOW - age
        file = FileObject(
            id=new_file_id(at),
            bytes=0,
            created_at=int(at.timestamp()),
            filename="in.jsonl",
            purpose="batch",
        )
        await self.files.upload("t", file, pieces())
        return file.id

    async def batch(self, age: timedelta, ended: timedelta | None, input_file: str) -> str:
        at = NOW - age
        batch_id = new_batch_id(at)
        request = BatchRequest(
            input_file_id=input_file, endpoint="/v1/embeddings", completion_window="24h"
        )
        accepted = AcceptedBatch(
            id=batch_id, tenant="t", request=request, created_at=at, expires_at=at + DAY
        )
        await self.batches.claim_key("t", batch_id, KeyClaim(job_id=batch_id, fingerprint="x"))
        await self.batches.accept(accepted)
        await self.batches.put_plan("t", batch_id, BatchPlan(model="m", slices=[]))
        for kind in ("out", "err", "left"):
            name = self.batches.part_name("t", batch_id, 0, kind)
            taken = await self.batches.take(name, Note(run="r"))
            await self.batches.append(name, b"line\n", taken.etag)
        self.histories.ends[batch_id] = None if ended is None else NOW - ended
        self.histories.ends[lane_id(batch_id, 0)] = self.histories.ends[batch_id]
        if ended is not None:
            output = await self._output(batch_id, NOW - ended)
            await self.batches.end(
                "t",
                BatchObject(
                    id=batch_id,
                    endpoint="/v1/embeddings",
                    input_file_id=input_file,
                    status="completed",
                    created_at=int(at.timestamp()),
                    completed_at=int((NOW - ended).timestamp()),
                    output_file_id=output,
                ),
            )
        return batch_id

    async def _output(self, batch_id: str, at: datetime) -> str:
        file = FileObject(
            id=f"file-{batch_id.removeprefix('batch_')}",
            bytes=5,
            created_at=int(at.timestamp()),
            filename="out.jsonl",
            purpose="batch_output",
        )
        await self.files.put("t", file, [self.batches.part_name("t", batch_id, 0, "out")])
        return file.id

    @property
    def names(self) -> set[str]:
        return {*self.jobs_blobs.blobs, *self.files_blobs.blobs}


async def test_nothing_is_deleted_where_nothing_says_so():
    world = World(retention={})
    await world.job(400 * DAY, 399 * DAY)
    await world.batch(400 * DAY, 399 * DAY, await world.file(400 * DAY))
    before = world.names
    assert await world.run() == Counts()
    assert world.names == before


async def test_an_ended_job_goes_with_all_that_is_its():
    world = World()
    gone = await world.job(32 * DAY, 31 * DAY)
    young = await world.job(3 * DAY, 2 * DAY)
    counts = await world.run()
    assert (counts.jobs, counts.keys) == (1, 1)
    assert world.histories.purged == [gone]
    assert not [name for name in world.names if gone in name]
    assert await world.jobs.get_request("t", gone) is None, "nor is it remembered"
    assert await world.jobs.get_claim("t", gone) is None
    assert await world.jobs.get_request("t", young) is not None
    assert await world.jobs.get_claim("t", young) is not None
    assert await world.run() == Counts(), "a second run finds nothing"


async def test_a_job_that_has_not_ended_stays_however_old_it_is():
    world = World()
    await world.job(300 * DAY, None)
    before = world.names
    assert await world.run() == Counts()
    assert world.names == before


async def test_its_end_counts_not_its_beginning():
    world = World()
    await world.job(300 * DAY, 29 * DAY)
    assert await world.run() == Counts()


async def test_results_may_go_first():
    world = World(retention={"requests": "P30D", "results": "P1D"})
    job_id = await world.job(5 * DAY, 4 * DAY)
    assert await world.run() == Counts(results=1)
    assert await world.jobs.get_result("t", job_id) is None
    assert await world.jobs.get_request("t", job_id) is not None
    assert await world.run() == Counts()


async def test_each_tenant_by_its_own_rules():
    world = World()
    world.retention["other"] = {}
    mine, others = await world.job(40 * DAY, 39 * DAY), await world.job(40 * DAY, 39 * DAY, "other")
    await world.run()
    assert await world.jobs.get_request("t", mine) is None
    assert await world.jobs.get_request("other", others) is not None


async def test_a_request_that_was_never_started_goes_too_but_not_at_once():
    world = World(retention={"requests": "PT1S"})
    fresh = await world.job(timedelta(minutes=5), None)
    stale = await world.job(2 * DAY, None)
    world.histories.ends.clear()
    assert await world.run() == Counts(jobs=1, keys=1)
    assert await world.jobs.get_request("t", fresh) is not None
    assert await world.jobs.get_request("t", stale) is None


async def test_a_file_goes_but_not_while_a_batch_reads_it():
    world = World()
    unused, used = await world.file(31 * DAY), await world.file(31 * DAY)
    young = await world.file(DAY)
    await world.batch(30.5 * DAY, None, used)
    assert await world.run() == Counts(files=1)
    assert await world.files.get("t", unused) is None
    assert await world.files.get("t", used) is not None
    assert await world.files.get("t", young) is not None
    assert not [name for name in world.names if unused in name]


async def test_content_that_nobody_came_to_know_of():
    world = World()
    left, late = new_file_id(NOW - 40 * DAY), new_file_id(NOW - timedelta(minutes=5))
    world.retention["t"] = {"files": "PT1S"}
    for file_id in (left, late):
        await world.files_blobs.put(f"t/content/{file_id}", b"half an upload")
    assert await world.run() == Counts(files=1)
    assert world.names == {f"t/content/{late}"}


async def test_a_batch_goes_but_not_what_its_files_are_made_of():
    world = World(retention={"batches": "P7D"})
    batch_id = await world.batch(10 * DAY, 9 * DAY, await world.file(10 * DAY))
    assert await world.run() == Counts(batches=1, keys=1)
    mine = {name for name in world.names if batch_id in name}
    assert mine == {f"t/slices/{batch_id}/00000.out"}
    assert set(world.histories.purged) == {batch_id, lane_id(batch_id, 0)}
    assert await world.batches.get("t", batch_id) is None

    world.retention["t"] = {"files": "P7D"}
    assert await world.run() == Counts(files=2)
    assert world.names == set()


@pytest.mark.parametrize("ended", [None, timedelta(days=1)])
async def test_a_batch_that_runs_or_has_just_ended_stays(ended):
    world = World(retention={"batches": "P7D"})
    await world.batch(30 * DAY, ended, "file-x")
    before = world.names
    assert await world.run() == Counts()
    assert world.names == before


async def test_a_batch_that_is_still_announced_stays():
    world = World(retention={"batches": "P7D"})
    batch_id = await world.batch(30 * DAY, 20 * DAY, "file-x")
    world.histories.ends[batch_id] = None
    assert await world.run() == Counts()


@given(st.integers(0, 60))
async def test_a_run_that_broke_off_is_taken_up(at):
    world = World()
    for _ in range(2):
        await world.job(40 * DAY, 39 * DAY)
        await world.batch(40 * DAY, 39 * DAY, await world.file(40 * DAY))
    kept = await world.job(40 * DAY, None)
    calls = 0
    deletes = [world.jobs_blobs.delete, world.files_blobs.delete]

    def failing(delete: Any) -> Any:
        async def once(name: str) -> None:
            nonlocal calls
            calls += 1
            if calls == at:
                raise DependencyUnavailable("Storage is down.")
            await delete(name)

        return once

    for container, delete in zip((world.jobs_blobs, world.files_blobs), deletes, strict=True):
        container.delete = failing(delete)  # type: ignore[method-assign]
    for _ in range(3):
        try:
            await world.run()
        except DependencyUnavailable:
            continue
    assert all(kept in name or "/keys/" in name for name in world.names)
    assert sum("/keys/" in name for name in world.names) == 1


async def test_a_run_has_its_time_and_says_what_is_left(caplog):
    world = World()
    job_id = await world.job(40 * DAY, 39 * DAY)
    with caplog.at_level(logging.INFO, "sluice.retention"):
        counts = await world.run(longest=0.0)
        await world.run()
    assert counts == Counts(unfinished=True)
    told = [record.getMessage() for record in caplog.records]
    assert "jobs 0" in told[0] and "unfinished True" in told[0]
    assert "jobs 1" in told[1] and "unfinished False" in told[1]
    assert len(told) == 2
    assert job_id not in caplog.text


async def test_what_cannot_be_read_keeps_no_other_tenant_waiting(caplog):
    world = World()
    world.retention["a"] = A_MONTH
    at = NOW - 40 * DAY
    await world.files_blobs.put(f"a/meta/{new_file_id(at)}", b'{"a": "canary"}')
    job_id = await world.job(40 * DAY, 39 * DAY)
    counts = await world.run()
    assert (counts.jobs, counts.unfinished) == (1, True)
    assert await world.jobs.get_request("t", job_id) is None
    assert "cannot be read" in caplog.text
    assert "canary" not in caplog.text


async def test_the_engine_being_down_deletes_nothing():
    world = World()
    await world.job(40 * DAY, 39 * DAY)
    world.histories.down = True
    before = world.names
    with pytest.raises(DependencyUnavailable):
        await world.run()
    assert world.names == before


@given(st.lists(st.integers(0, 4000), max_size=30), st.integers(0, 4000))
async def test_old_names_are_all_that_are_older(ages, cutoff):
    """However many there are, and however the listing is cut."""
    blobs, before = MemoryContainer(), NOW - cutoff * HOUR
    ids = [new_job_id(NOW - age * HOUR) for age in ages]
    for job_id in ids:
        await blobs.put(f"t/requests/{job_id}", b"")
    await blobs.put("t/requests/stray", b"")
    expected = {job_id for job_id, age in zip(ids, ages, strict=True) if age > cutoff}
    with pytest.MonkeyPatch.context() as patch:
        for page in (1, 1000):
            patch.setattr(old, "PAGE", page)
            found = [
                name
                async for names in old_names(
                    cast(Any, blobs), "t/requests/", "job_", is_job_id, before
                )
                for name in names
            ]
            assert sorted(found) == sorted(expected)
