"""Sending a message on its way once more, after what kept it from it has been mended.

A request is not put back into its queue, but started from here, as the message that it was: its id
finds the job that an earlier delivery has started, its token is asked for the time at which it was
sent, and what is still wrong with it is told to whoever resubmits it.
"""

from __future__ import annotations

import hashlib

import azure.durable_functions as df

from contracts.batches import AcceptedBatch
from contracts.errors import Conflict, Misconfigured, Settle, SluiceError
from contracts.identity import Identity
from contracts.jobs import AcceptedJob
from contracts.names import REJECTED_QUEUE, REQUESTS_QUEUE, RESULTS_QUEUE
from stores.inspection import KeptMessage, Place
from stores.queues import OutgoingMessage
from telemetry.tracing import Kind, span
from triggers.aside import aside
from triggers.service_bus import TENANT, context, identify, start
from wiring import Parts

NOT_ANY_MORE = frozenset({"code", "reason", TENANT})
"""What the app itself has told of a message."""


def check_standing_aside(place: Place) -> None:
    """Raises Conflict for a queue whose messages are still on their way."""
    if not place.dead_letters and place.queue != REJECTED_QUEUE:
        raise Conflict(
            f"Messages of {place.queue} are on their way: only those in {REJECTED_QUEUE} and dead"
            " letters (`dead_letters=true`) can be resubmitted or deleted."
        )


async def resubmit_request(
    parts: Parts, client: df.DurableFunctionsClient, place: Place, message: KeptMessage
) -> AcceptedJob | AcceptedBatch:
    """The job or batch that a message asks for, started unless it had been.

    Raises Conflict when it still can be none, DependencyUnavailable or NoCapacity when it may
    later.
    """
    with span("resubmit message", Kind.MESSAGE, parent=context(message.application_properties)):
        try:
            return await start(parts, client, message, await _identity(parts, place, message))
        except SluiceError as error:
            if error.settle is Settle.ABANDON:
                raise
            raise Conflict(
                f"The message still can start nothing, and stays where it is: {aside(error)}"
            ) from error


async def resend_reply(parts: Parts, place: Place, message: KeptMessage) -> str:
    """Send a reply again to the queue that it was dead-lettered in; the queue's name."""
    if parts.queues is None:
        raise Misconfigured("There is no ServiceBusConnection.")
    await parts.queues.send(
        RESULTS_QUEUE,
        OutgoingMessage(
            id=again(place, message),
            body=message.body,
            content_type=message.content_type or "application/octet-stream",
            correlation_id=message.correlation_id,
            session_id=message.session_id,
            properties={name: str(value) for name, value in message.application_properties.items()},
        ),
    )
    return RESULTS_QUEUE


def again(place: Place, message: KeptMessage) -> str:
    """The id of its copy: one, however often it is sent, and not the one that the queue knows."""
    told = f"{place}\n{message.message_id}\n{message.sequence_number}"
    return f"again-{hashlib.sha256(told.encode()).hexdigest()[:32]}"


async def _identity(parts: Parts, place: Place, message: KeptMessage) -> Identity:
    """Whose request it is. Raises Unauthenticated, Forbidden, Conflict, DependencyUnavailable."""
    if place.queue != REJECTED_QUEUE or parts.identities is None:
        return await identify(parts, message)
    # Only the app sends to that queue, and it had proved whose the message is.
    tenant = message.application_properties.get(TENANT)
    known = parts.identities.of_tenant(tenant, "service-bus") if isinstance(tenant, str) else None
    if known is None:
        raise Conflict("nobody knows whose it is, since its producer could not prove it.")
    return known


def is_request(place: Place) -> bool:
    """Whether what is in this place asks for a job or batch."""
    return place.queue in (REQUESTS_QUEUE, REJECTED_QUEUE)
