"""Announce a batch's end on the queue that its producer named."""

from __future__ import annotations

import logging

import azure.durable_functions as df

import wiring
from contracts.batches import AcceptedBatch, BatchObject, BatchTicket
from contracts.errors import Misconfigured, NotFound
from contracts.jobs import ReplyAddress
from contracts.names import ANNOUNCE_BATCH_ACTIVITY
from stores.queues import OutgoingMessage
from telemetry.tracing import Kind, carried, span
from wiring import Parts

bp = df.Blueprint()

_log = logging.getLogger("sluice.activities")


@bp.activity_trigger(input_name="ticket", activity=ANNOUNCE_BATCH_ACTIVITY)
async def announce_batch(ticket: object) -> None:
    """BatchTicket in; the batch object is sent to the batch's reply address."""
    ended = BatchTicket.model_validate(ticket)
    asked = {"sluice.batch_id": ended.id, "sluice.tenant": ended.tenant}
    with span("announce batch", Kind.REPLY, asked, parent=ended.trace):
        await announce(wiring.parts(), ended)


async def announce(parts: Parts, ticket: BatchTicket) -> None:
    """Send the message. Its id is the batch's id: sent again, it is a duplicate.

    Raises DependencyUnavailable when storage or Service Bus cannot be used.
    """
    batch = await parts.batch_store.get(ticket.tenant, ticket.id)
    ended = await parts.batch_store.ended(ticket.tenant, ticket.id)
    if batch is None or ended is None:
        return  # removed by retention: there is nothing left to tell
    if parts.queues is None or batch.reply is None:
        raise Misconfigured("The batch is to be announced, but no ServiceBusConnection is set.")
    try:
        await parts.queues.send(batch.reply.queue, _message(batch, ended, batch.reply))
    except NotFound as error:
        # No later try would help; the batch object has all that the message would have said.
        _log.error("batch %s: not announced: %s", batch.id, error.detail)


def _message(batch: AcceptedBatch, ended: BatchObject, reply: ReplyAddress) -> OutgoingMessage:
    return OutgoingMessage(
        id=batch.id,
        body=ended.model_dump_json().encode(),
        correlation_id=reply.correlation_id,
        session_id=reply.session_id,
        properties={"batch_id": batch.id, "status": ended.status, **reply.trace, **carried()},
    )
