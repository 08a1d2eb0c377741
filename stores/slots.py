"""Slots of jobs under way, for tenants that may have so many: `TENANT/active/NUMBER`.

A slot is a blob that is made only where there is none, so no two jobs have the same one, whichever
host took it: nothing is counted that a crash could leave wrong. A slot whose job has ended without
giving it back is found by the job's id.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from stores.blobs import Container


@dataclass(frozen=True, slots=True)
class Slot:
    name: str
    job_id: str
    etag: str


class JobSlots:
    """Methods raise DependencyUnavailable when storage cannot be used."""

    def __init__(self, container: Container) -> None:
        self._blobs = container

    async def take(self, tenant: str, job_id: str, most: int) -> bool:
        """Take one for the job, unless it has one; False when `most` are taken."""
        while True:
            held = await self.held(tenant)
            if any(slot.job_id == job_id for slot in held):
                return True
            taken = {slot.name for slot in held}
            free = [name for name in map(str, range(most)) if name not in taken]
            # Where the limit was lowered, slots beyond it count too.
            if len(held) >= most or not free:
                return False
            # Not always the first: many may take one at the same time.
            name = _name(tenant, random.choice(free))  # noqa: S311
            if await self._blobs.put_new(name, b"{}", metadata={"job": job_id}):
                return True

    async def held(self, tenant: str) -> list[Slot]:
        """All that are taken. Listing shows what was written before, at any host."""
        return [
            Slot(blob.name, blob.metadata.get("job", ""), blob.etag)
            async for blob in self._blobs.descriptions(_name(tenant, ""))
        ]

    async def free(self, tenant: str, slot: Slot) -> None:
        """Give it back, unless another job has it by now."""
        await self._blobs.delete_as(_name(tenant, slot.name), slot.etag)

    async def free_of(self, tenant: str, job_id: str) -> None:
        """Give back what the job has."""
        for slot in await self.held(tenant):
            if slot.job_id == job_id:
                await self.free(tenant, slot)


def _name(tenant: str, number: str) -> str:
    return f"{tenant}/active/{number}"
