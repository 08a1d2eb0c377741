"""Let a tenant have another job in the place of one that has ended."""

from __future__ import annotations

import azure.durable_functions as df

import wiring
from contracts.jobs import JobTicket
from contracts.names import FREE_SLOT_ACTIVITY

bp = df.Blueprint()


@bp.activity_trigger(input_name="ticket", activity=FREE_SLOT_ACTIVITY)
async def free_slot(ticket: object) -> None:
    """JobTicket in; raises DependencyUnavailable when storage cannot be used."""
    ended = JobTicket.model_validate(ticket)
    await wiring.parts().jobs.slots.free_of(ended.tenant, ended.id)
