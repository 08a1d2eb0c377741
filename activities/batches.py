"""The steps of a batch: see `batches.engine`."""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df

import wiring
from contracts.batches import BatchTicket, CommitTicket, SliceTicket
from contracts.names import (
    COMMIT_BATCH_ACTIVITY,
    HUB_BINDING,
    RELEASE_BATCH_ACTIVITY,
    RUN_SLICE_ACTIVITY,
    STOP_BATCH_ACTIVITY,
    VALIDATE_BATCH_ACTIVITY,
)
from telemetry.tracing import Kind, span

bp = df.Blueprint()


@bp.activity_trigger(input_name="ticket", activity=VALIDATE_BATCH_ACTIVITY)
async def validate_batch(ticket: Any) -> dict[str, Any]:
    """BatchTicket in, Validation out."""
    found = await wiring.parts().batches.validate(BatchTicket.model_validate(ticket))
    return found.model_dump(mode="json")


@bp.generic_input_binding(**HUB_BINDING)
@bp.activity_trigger(input_name="ticket", activity=RUN_SLICE_ACTIVITY)
async def run_slice(ticket: Any, hub: str) -> dict[str, Any]:
    """SliceTicket in, SliceOutcome out."""
    parts = wiring.parts()
    parts.share_by(hub)
    mine = SliceTicket.model_validate(ticket)
    asked = {"sluice.batch_id": mine.batch.id, "sluice.tenant": mine.batch.tenant}
    with span(
        "run slice", Kind.STEP, {**asked, "sluice.slice": mine.index}, parent=mine.batch.trace
    ):
        outcome = await parts.batches.run_slice(mine)
        await parts.booked()
    return outcome.model_dump(mode="json")


@bp.activity_trigger(input_name="ticket", activity=STOP_BATCH_ACTIVITY)
async def stop_batch(ticket: Any) -> None:
    """BatchTicket and `why` in."""
    why = str(ticket.pop("why"))
    await wiring.parts().batches.stop(BatchTicket.model_validate(ticket), why)


@bp.activity_trigger(input_name="ticket", activity=COMMIT_BATCH_ACTIVITY)
async def commit_batch(ticket: Any) -> dict[str, Any]:
    """CommitTicket in, BatchObject out."""
    ended = await wiring.parts().batches.commit(CommitTicket.model_validate(ticket))
    return ended.model_dump(mode="json")


@bp.activity_trigger(input_name="ticket", activity=RELEASE_BATCH_ACTIVITY)
async def release_batch(ticket: Any) -> None:
    """BatchTicket in."""
    await wiring.parts().batches.release(BatchTicket.model_validate(ticket))
