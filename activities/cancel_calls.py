"""End what models still work on for a job that has ended without them."""

from __future__ import annotations

import azure.durable_functions as df

import wiring
from contracts.jobs import JobTicket
from contracts.names import CANCEL_CALLS_ACTIVITY

bp = df.Blueprint()


@bp.activity_trigger(input_name="ticket", activity=CANCEL_CALLS_ACTIVITY)
async def cancel_calls(ticket: object) -> None:
    """JobTicket in; raises DependencyUnavailable while a deployment cannot be told."""
    await wiring.parts().endpoints.cancel(JobTicket.model_validate(ticket).handles)
