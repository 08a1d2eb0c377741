"""What a job needs kept: its request, the marks of its starts, its result.

Names in the container: `TENANT/requests/ID`, `TENANT/keys/HASH`, `TENANT/starts/ID-STEP`,
`TENANT/results/ID`; and those of `stores.slots` and `stores.sweeps`. Ids sort newest first, so the
requests are their own list of jobs.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel

from contracts.ids import is_job_id
from contracts.jobs import AcceptedJob
from stores.blobs import Container
from stores.old import old_names
from stores.recent import Recent
from stores.slots import JobSlots
from stores.sweeps import SweepStore
from stores.window import jobs_between


class KeyClaim(BaseModel):
    """Which job an Idempotency-Key stands for."""

    job_id: str
    fingerprint: str


class StartMark(BaseModel):
    """How often a step of a job was started: more than once after a worker died in it."""

    starts: int


@dataclass(frozen=True, slots=True)
class JobPage:
    """Ids of jobs, newest first, and the token of the next page."""

    ids: list[str]
    token: str | None


RECENT_BYTES = 32 * 1024 * 1024
"""Of requests kept in memory: the worker that accepts a job is often the one that runs it, and
reading a request back is a tenth of what a small job costs."""


class JobStore:
    """Blobs of jobs. Methods raise DependencyUnavailable when storage cannot be used."""

    def __init__(self, container: Container) -> None:
        self._blobs = container
        self.slots = JobSlots(container)
        self.sweeps = SweepStore(container)
        self._recent = Recent(RECENT_BYTES)

    async def claim_key(self, tenant: str, key: str, claim: KeyClaim) -> KeyClaim:
        """Bind an Idempotency-Key to a job, or learn which job has it already."""
        name, content = _key_name(tenant, key), claim.model_dump_json().encode()
        if await self._blobs.put_new(name, content, metadata={"of": claim.job_id}):
            return claim
        # A key's blob is only ever removed by retention, long after: then it is free again.
        return await self.get_claim(tenant, key) or claim

    async def get_claim(self, tenant: str, key: str) -> KeyClaim | None:
        """Which job has an Idempotency-Key; None when none has."""
        stored = await self._blobs.get(_key_name(tenant, key))
        return KeyClaim.model_validate_json(stored) if stored is not None else None

    async def put_request(self, job: AcceptedJob) -> None:
        """Keep an accepted job; one that is there already stays as it is."""
        name, content = f"{job.tenant}/requests/{job.id}", job.model_dump_json().encode()
        if await self._blobs.put_new(name, content):
            self._recent.add(name, content)

    async def get_request(self, tenant: str, job_id: str) -> AcceptedJob | None:
        """The job as it was accepted; None when the tenant has no such job."""
        name = f"{tenant}/requests/{job_id}"
        stored = self._recent.get(name) or await self._blobs.get(name)
        return AcceptedJob.model_validate_json(stored) if stored is not None else None

    async def list_jobs(self, tenant: str, *, token: str | None, most: int) -> JobPage:
        """A page of the tenant's jobs, newest first."""
        page = await self._blobs.page(f"{tenant}/requests/", token=token, most=most)
        return JobPage(page.names, page.token)

    async def mark_start(self, tenant: str, job_id: str, step: int) -> int:
        """Note that a step starts; how often it has been started, this time included."""
        name = f"{tenant}/starts/{job_id}-{step}"
        if await self._blobs.put_new(name, StartMark(starts=1).model_dump_json().encode()):
            return 1
        stored = await self._blobs.get(name)
        before = StartMark.model_validate_json(stored).starts if stored is not None else 0
        await self._blobs.put(name, StartMark(starts=before + 1).model_dump_json().encode())
        return before + 1

    async def put_result(self, tenant: str, job_id: str, result: bytes) -> None:
        """Keep a job's result: JSON text."""
        await self._blobs.put(f"{tenant}/results/{job_id}", result)

    async def get_result(self, tenant: str, job_id: str) -> bytes | None:
        """The result's JSON text; None when there is none."""
        return await self._blobs.get(f"{tenant}/results/{job_id}")

    async def without_result(self, tenant: str, since: datetime, until: datetime) -> list[str]:
        """Jobs that were accepted from `since` on and before `until`, oldest first."""
        kept = jobs_between(self._blobs, f"{tenant}/requests/", since, until)
        requests = [each async for each in kept]
        if not requests:
            return []
        kept = jobs_between(self._blobs, f"{tenant}/results/", since, until)
        results = {each async for each in kept}
        return sorted((each for each in requests if each not in results), reverse=True)

    # Retention.

    async def tenants(self) -> set[str]:
        """Those that have anything here."""
        return await self._blobs.folders()

    def old_requests(self, tenant: str, before: datetime) -> AsyncIterator[list[str]]:
        """Pages of jobs that were accepted before then."""
        return old_names(self._blobs, f"{tenant}/requests/", "job_", is_job_id, before)

    def old_results(self, tenant: str, before: datetime) -> AsyncIterator[list[str]]:
        """Pages of jobs that were accepted before then and have a result."""
        return old_names(self._blobs, f"{tenant}/results/", "job_", is_job_id, before)

    async def has(self, tenant: str, job_id: str) -> bool:
        """Whether the job's request is in storage."""
        return await self._blobs.look(f"{tenant}/requests/{job_id}") is not None

    async def forget(self, tenant: str, job_id: str) -> None:
        """Remove a job; its request comes last, as the job is found by it."""
        await self.forget_result(tenant, job_id)
        starts = f"{tenant}/starts/{job_id}-"
        page = await self._blobs.page(starts, token=None, most=5000)
        for step in page.names:
            await self._blobs.delete(starts + step)
        if page.token is not None:
            return await self.forget(tenant, job_id)
        name = f"{tenant}/requests/{job_id}"
        await self._blobs.delete(name)
        self._recent.drop(name)
        return None

    async def forget_result(self, tenant: str, job_id: str) -> None:
        await self._blobs.delete(f"{tenant}/results/{job_id}")

    def keys(self, tenant: str) -> AsyncIterator[tuple[str, str]]:
        """The digest of each Idempotency-Key, and the job that has it."""
        return claimed_keys(self._blobs, tenant)

    async def free_key(self, tenant: str, digest: str) -> None:
        await self._blobs.delete(f"{tenant}/keys/{digest}")


async def claimed_keys(blobs: Container, tenant: str) -> AsyncIterator[tuple[str, str]]:
    """The digest of each Idempotency-Key, and the id that it stands for."""
    prefix = f"{tenant}/keys/"
    async for blob in blobs.descriptions(prefix):
        made = blob.metadata.get("of")
        if made is None and (stored := await blobs.get(prefix + blob.name)) is not None:
            made = KeyClaim.model_validate_json(stored).job_id
        if made is not None:
            yield blob.name, made


def _key_name(tenant: str, key: str) -> str:
    return f"{tenant}/keys/{hashlib.sha256(key.encode()).hexdigest()}"
