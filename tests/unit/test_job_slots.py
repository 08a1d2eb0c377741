"""Jobs under way, as many as a tenant may have: at any number of hosts, whatever they do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from durabletask.client import OrchestrationStatus
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import QuotaReached, Settle
from contracts.identity import Identity, Role
from contracts.ids import new_job_id
from contracts.jobs import AcceptedJob, JobOutcome, JobRequest, JobTicket
from contracts.states import JobStatus
from policies.quotas.admission import Quotas
from policies.quotas.settings import QuotaSettings
from stores.slots import JobSlots
from tests.unit.fakes import FakeDurableClient, MemoryContainer, fake_parts
from triggers import concurrent_jobs
from triggers.submission import Caller, submit

ME = Identity("t", "me", frozenset(Role))
ASK = JobRequest(flow="f", input={})


@given(
    most=st.integers(1, 4),
    hosts=st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=4),
)
def test_no_more_jobs_hold_slots_than_there_are_and_none_is_left_out(most, hosts):
    """Hosts take slots at the same time; some jobs give theirs back."""

    async def run() -> None:
        blobs = MemoryContainer()
        holding: set[str] = set()
        gave_back = 0

        async def host(number: int, jobs: list[bool]) -> int:
            nonlocal gave_back
            slots, refused = JobSlots(blobs), 0  # type: ignore[arg-type]
            for place, ends in enumerate(jobs):
                job = f"{number}-{place}"
                if not await slots.take("t", job, most):
                    refused += 1
                    continue
                holding.add(job)
                assert len(holding) <= most
                if ends:
                    holding.discard(job)
                    gave_back += 1
                    await slots.free_of("t", job)
            return refused

        refused = await asyncio.gather(*(host(number, jobs) for number, jobs in enumerate(hosts)))
        assert len(await JobSlots(blobs).held("t")) == len(holding)  # type: ignore[arg-type]
        if sum(map(len, hosts)) <= most:
            assert sum(refused) == 0
        if sum(refused) and not gave_back:
            assert len(holding) == most

    asyncio.run(run())


async def test_a_job_that_asks_again_keeps_its_slot_and_tenants_have_their_own():
    slots = JobSlots(MemoryContainer())  # type: ignore[arg-type]
    assert await slots.take("t", "a", 1)
    assert await slots.take("t", "a", 1)
    assert not await slots.take("t", "b", 1)
    assert await slots.take("u", "b", 1)


async def test_a_slot_that_has_another_job_by_now_is_not_given_back():
    slots = JobSlots(MemoryContainer())  # type: ignore[arg-type]
    await slots.take("t", "a", 1)
    [old] = await slots.held("t")
    await slots.free("t", old)
    await slots.take("t", "b", 1)
    await slots.free("t", old)
    assert [slot.job_id for slot in await slots.held("t")] == ["b"]


async def test_where_the_limit_was_lowered_slots_beyond_it_count():
    slots = JobSlots(MemoryContainer())  # type: ignore[arg-type]
    for number in range(5):
        await slots.take("t", f"{number}", 5)
    assert not await slots.take("t", "x", 3)


@dataclass
class Ended:
    """As Durable Functions knows a job that has ended."""

    instance_id: str
    runtime_status: OrchestrationStatus = OrchestrationStatus.COMPLETED
    serialized_custom_status: str | None = None

    @property
    def serialized_output(self) -> str:
        ticket = JobTicket(id=self.instance_id, tenant="t")
        outcome = JobOutcome(status=JobStatus.SUCCEEDED, ended_at=datetime.now(UTC), ticket=ticket)
        return outcome.model_dump_json()


@dataclass
class Running(Ended):
    runtime_status: OrchestrationStatus = OrchestrationStatus.RUNNING


@pytest.fixture
def parts(monkeypatch):
    async def flow(input: Any, run: Any) -> None: ...

    made = fake_parts(MemoryContainer(), flow)
    monkeypatch.setattr(concurrent_jobs, "SWEEP_SECONDS", 0.0)
    quotas = Quotas({"t": QuotaSettings(concurrent_jobs=2)})
    return replace(made, quotas=quotas)


async def running(parts: Any, client: FakeDurableClient, key: str | None = None) -> AcceptedJob:
    job = await submit(parts, client, ASK, Caller(ME, key))  # type: ignore[arg-type]
    assert client.started[job.id]["holds_slot"]
    client.started[job.id] = Running(job.id)
    return job


async def test_one_job_more_is_refused_until_one_has_ended(parts):
    client = FakeDurableClient()
    first, _ = [await running(parts, client) for _ in range(2)]
    with pytest.raises(QuotaReached) as refused:
        await submit(parts, client, ASK, Caller(ME))  # type: ignore[arg-type]
    error = refused.value
    assert (error.status, error.limit, error.settle) == (429, "concurrent_jobs", Settle.ABANDON)
    assert "Tenant t has reached its concurrent_jobs of 2: try again" in error.detail
    assert error.retry_at > datetime.now(UTC)
    assert len(client.started) == 2
    await parts.jobs.slots.free_of("t", first.id)
    await running(parts, client)


async def test_a_repeat_of_a_request_is_the_job_that_it_started(parts):
    client = FakeDurableClient()
    first = await running(parts, client, "key")
    await running(parts, client)
    again = await submit(parts, client, ASK, Caller(ME, "key"))  # type: ignore[arg-type]
    assert again.id == first.id


async def test_what_was_refused_is_accepted_under_the_same_key_later(parts):
    client = FakeDurableClient()
    first, _ = [await running(parts, client) for _ in range(2)]
    with pytest.raises(QuotaReached):
        await submit(parts, client, ASK, Caller(ME, "key"))  # type: ignore[arg-type]
    await parts.jobs.slots.free_of("t", first.id)
    await running(parts, client, "key")


async def test_slots_of_jobs_that_have_ended_are_found_when_there_is_no_other(parts):
    client = FakeDurableClient()
    first, _ = [await running(parts, client) for _ in range(2)]
    client.started[first.id] = Ended(first.id)
    await running(parts, client)
    with pytest.raises(QuotaReached):
        await submit(parts, client, ASK, Caller(ME))  # type: ignore[arg-type]


@pytest.mark.parametrize(("minutes", "free"), [(0, False), (3, True)])
async def test_a_slot_whose_job_was_never_started_is_free_after_a_while(parts, minutes, free):
    client = FakeDurableClient()
    await running(parts, client)
    never = new_job_id(datetime.now(UTC) - timedelta(minutes=minutes))
    assert await parts.jobs.slots.take("t", never, 2)
    if free:
        await running(parts, client)
    else:
        with pytest.raises(QuotaReached):
            await submit(parts, client, ASK, Caller(ME))  # type: ignore[arg-type]


async def test_who_has_no_such_limit_needs_no_slot(parts):
    client = FakeDurableClient()
    other = Identity("another", "me", frozenset(Role))
    for _ in range(5):
        job = await submit(parts, client, ASK, Caller(other))  # type: ignore[arg-type]
        assert not client.started[job.id]["holds_slot"]
    assert await parts.jobs.slots.held("another") == []
