"""Whether a tenant may have one more job under way."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

import azure.durable_functions as df
import grpc

from contracts.errors import QuotaReached
from contracts.ids import time_of
from contracts.jobs import AcceptedJob
from stores.slots import Slot
from triggers.job_state import unreachable
from triggers.records import outcome_of
from wiring import Parts

AGAIN_AFTER = timedelta(seconds=5)
"""Nobody knows when a job ends."""
STARTED_WITHIN = timedelta(minutes=2)
"""Of its acceptance: a job that is not known to Durable Functions by then was never started."""
SWEEP_SECONDS = 2.0
"""Between two looks of a worker at what holds a tenant's slots."""
MOST_LOOKED_AT = 50
"""Jobs, in one such look."""

_swept_at: dict[str, float] = {}
"""By tenant: bounded, as tenants are."""


async def take_slot(parts: Parts, client: df.DurableFunctionsClient, job: AcceptedJob) -> bool:
    """Whether the job holds a slot: not where its tenant needs none. Raises QuotaReached."""
    most = parts.quotas.of(job.tenant).concurrent_jobs
    if most is None:
        return False
    slots = parts.jobs.slots
    if await slots.take(job.tenant, job.id, most):
        return True
    if await _sweep(parts, client, job.tenant) and await slots.take(job.tenant, job.id, most):
        return True
    raise QuotaReached(
        f"Tenant {job.tenant} has reached its concurrent_jobs of {most:,}: try again when one of"
        " its jobs has ended.",
        datetime.now(UTC) + AGAIN_AFTER,
        "concurrent_jobs",
    )


async def _sweep(parts: Parts, client: df.DurableFunctionsClient, tenant: str) -> bool:
    """Free slots whose jobs have ended without giving them back. Returns whether there was one."""
    now = time.monotonic()
    if now - _swept_at.get(tenant, -SWEEP_SECONDS) < SWEEP_SECONDS:
        return False
    _swept_at[tenant] = now
    held = await parts.jobs.slots.held(tenant)
    looked_at = random.sample(held, min(len(held), MOST_LOOKED_AT))
    over = await asyncio.gather(*(_is_over(client, slot) for slot in looked_at))
    for slot, ended in zip(looked_at, over, strict=True):
        if ended:
            await parts.jobs.slots.free(tenant, slot)
    return any(over)


async def _is_over(client: df.DurableFunctionsClient, slot: Slot) -> bool:
    try:
        state = await client.get_orchestration_state(slot.job_id)
    except grpc.RpcError as error:
        raise unreachable() from error
    if state is None:
        return datetime.now(UTC) - time_of(slot.job_id) > STARTED_WITHIN
    return outcome_of(state) is not None
