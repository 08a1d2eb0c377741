"""Announce a job's end on the queue that its producer named."""

from __future__ import annotations

import logging

import azure.durable_functions as df

import wiring
from contracts.errors import Misconfigured, NotFound
from contracts.jobs import AcceptedJob, JobOutcome, ReplyAddress, fits, job_record
from contracts.names import PUBLISH_REPLY_ACTIVITY
from stores.queues import OutgoingMessage
from telemetry.tracing import Kind, carried, span
from wiring import Parts

bp = df.Blueprint()

_log = logging.getLogger("sluice.activities")

INLINE_REPLY_BYTES = 180_000
"""A larger result is sent as a link: the smallest tier takes messages of 256 KB in all."""


@bp.activity_trigger(input_name="outcome", activity=PUBLISH_REPLY_ACTIVITY)
async def publish_reply(outcome: object) -> None:
    """JobOutcome in; the job's record is sent to the reply address of its ticket."""
    ended = JobOutcome.model_validate(outcome)
    asked = {"sluice.job_id": ended.ticket.id, "sluice.tenant": ended.ticket.tenant}
    with span("publish reply", Kind.REPLY, asked, parent=ended.ticket.trace):
        await publish(wiring.parts(), ended)


async def publish(parts: Parts, outcome: JobOutcome) -> None:
    """Send the reply. Its message id is the job's id: sent again, it is a duplicate.

    Raises DependencyUnavailable when storage or Service Bus cannot be used.
    """
    ticket = outcome.ticket
    if parts.queues is None or ticket.reply is None:
        raise Misconfigured("The job asks for a reply, but no ServiceBusConnection is set.")
    job = await parts.jobs.get_request(ticket.tenant, ticket.id)
    if job is None:
        return  # removed by retention: there is nothing left to tell
    message = await _message(parts, job, outcome, ticket.reply)
    try:
        await parts.queues.send(ticket.reply.queue, message)
    except NotFound as error:
        # No later try would help; the job's record has all that the reply would have said.
        _log.error("job %s: no reply: %s", job.id, error.detail)


async def _message(
    parts: Parts, job: AcceptedJob, outcome: JobOutcome, reply: ReplyAddress
) -> OutgoingMessage:
    result = None
    if fits(outcome, INLINE_REPLY_BYTES):
        result = await parts.jobs.get_result(job.tenant, job.id)
    record = job_record(job, outcome, result)
    return OutgoingMessage(
        id=job.id,
        body=record.model_dump_json().encode(),
        correlation_id=reply.correlation_id,
        session_id=reply.session_id,
        properties={"job_id": job.id, "status": record.status, **reply.trace, **carried()},
    )
