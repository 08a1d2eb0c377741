"""The Service Bus door: jobs and batches from the queue `inference-requests`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Literal

import azure.durable_functions as df
import azure.functions as func
from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json

import wiring
from contracts.batches import BatchMessage, HandedBatch
from contracts.errors import (
    InvalidRequest,
    Misconfigured,
    NotFound,
    PayloadTooLarge,
    Settle,
    SluiceError,
)
from contracts.jobs import DEFAULT_TENANT, JobRequest, Rejection, ReplyAddress
from contracts.names import (
    REJECTED_QUEUE,
    REQUESTS_QUEUE,
    RESULTS_QUEUE,
    SERVICE_BUS_CONNECTION,
)
from stores.queues import OutgoingMessage
from triggers.batch_submission import BatchSubmission
from triggers.door import parse_json
from triggers.submission import Caller, check_reply_queue, submit
from wiring import Parts

bp = df.Blueprint()

_log = logging.getLogger("sluice.triggers")

LONGEST_BACKOFF_SECONDS = 30.0
"""Well within the queue's lock of a minute, which the host renews besides."""

TRACE_PROPERTIES = ("traceparent", "tracestate", "Diagnostic-Id")


class CloudEvent[D: BaseModel](BaseModel):
    """A CloudEvents 1.0 envelope in structured mode; attributes that are not used are ignored."""

    model_config = ConfigDict(extra="ignore")

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    data: D


@bp.function_name("receive_job")
@bp.service_bus_queue_trigger(
    arg_name="message", queue_name=REQUESTS_QUEUE, connection=SERVICE_BUS_CONNECTION
)
@bp.durable_client_input(client_name="client")
async def receive_job(message: func.ServiceBusMessage, client: df.DurableFunctionsClient) -> None:
    """Start the job or batch that a message asks for. Returns as soon as it is durably started.

    Returning completes the message; raising abandons it, and after the queue's maximum
    delivery count it is dead-lettered.
    """
    await receive(wiring.parts(), client, message)


async def receive(
    parts: Parts, client: df.DurableFunctionsClient, message: func.ServiceBusMessage
) -> None:
    """Start what is asked for, or reject what can never be. Raises when a later delivery may do."""
    try:
        await _start(parts, client, message)
    except SluiceError as error:
        if error.settle is Settle.ABANDON:
            await _back_off(message)
            raise
        await _reject(parts, message, error)


async def _start(
    parts: Parts, client: df.DurableFunctionsClient, message: func.ServiceBusMessage
) -> None:
    body = message.get_body()
    if len(body) > parts.limits.request_bytes:
        raise PayloadTooLarge(
            f"The message has {len(body):,} bytes; at most {parts.limits.request_bytes:,} are"
            " taken."
        )
    asked = read_request(body, message.content_type)
    for queue in (message.reply_to, asked.reply_to):
        if queue:
            check_reply_queue(parts, queue)
    caller = Caller(
        DEFAULT_TENANT, _idempotency_key(message), _reply_address(message, asked.reply_to)
    )
    if isinstance(asked, JobRequest):
        await submit(parts, client, asked, caller)
    else:
        await BatchSubmission(parts, client, caller).handed(asked)


def read_request(body: bytes, content_type: str | None) -> JobRequest | HandedBatch:
    """What a body asks for: a job as `POST /v1/jobs` takes it, or `{"batch": {…}}`; either may be
    in a CloudEvents envelope.

    A CloudEvent in binary mode has its attributes in properties and its data as the body, so
    it needs nothing of its own (CloudEvents AMQP binding 1.0.2, section 3.1). Raises
    InvalidRequest naming each field.
    """
    enveloped = (content_type or "").lower().startswith("application/cloudevents")
    if _asks_for_batch(body):
        if enveloped:
            return parse_json(body, CloudEvent[BatchMessage]).data.batch
        return parse_json(body, BatchMessage).batch
    if enveloped:
        return parse_json(body, CloudEvent[JobRequest]).data
    return parse_json(body, JobRequest)


def _asks_for_batch(body: bytes) -> bool:
    """Whether the body, or the data in its envelope, has a `batch`."""
    if b'"batch"' not in body:
        return False
    try:
        asked = from_json(body)
    except ValueError:
        return False
    data = asked.get("data", asked) if isinstance(asked, dict) else None
    return isinstance(data, dict) and "batch" in data


def _reply_address(message: func.ServiceBusMessage, reply_to: str | None) -> ReplyAddress:
    return ReplyAddress(
        queue=message.reply_to or reply_to or RESULTS_QUEUE,
        correlation_id=message.correlation_id or _idempotency_key(message),
        session_id=message.reply_to_session_id,
        trace=_trace(message.application_properties or {}),
    )


def _error_reply_queue(parts: Parts, message: func.ServiceBusMessage) -> str:
    try:
        check_reply_queue(parts, message.reply_to or RESULTS_QUEUE)
    except InvalidRequest:
        return RESULTS_QUEUE
    return message.reply_to or RESULTS_QUEUE


def _trace(properties: Mapping[str, object]) -> dict[str, str]:
    return {
        name: value
        for name in TRACE_PROPERTIES
        if isinstance(value := properties.get(name), str) and len(value) <= 512
    }


def _idempotency_key(message: func.ServiceBusMessage) -> str:
    """The message's id; for a producer that sets none, what is stable over its deliveries."""
    return message.message_id or f"{REQUESTS_QUEUE}#{message.sequence_number}"


async def _back_off(message: func.ServiceBusMessage) -> None:
    """Hold the message a while: abandoned at once, it would be delivered again at once."""
    deliveries = message.delivery_count or 1
    await asyncio.sleep(min(2.0 ** (deliveries - 1), LONGEST_BACKOFF_SECONDS))


async def _reject(parts: Parts, message: func.ServiceBusMessage, error: SluiceError) -> None:
    """Tell the producer, and keep the original with the reason, each once."""
    if parts.queues is None:
        raise Misconfigured("A message came, but no ServiceBusConnection is set.")
    _log.warning("message rejected: %s", error.code)
    key = _idempotency_key(message)
    properties = {"code": error.code, "reason": error.detail[:1024]}
    await parts.queues.send(
        REJECTED_QUEUE,
        OutgoingMessage(
            id=key,
            body=message.get_body(),
            content_type=message.content_type or "application/octet-stream",
            correlation_id=message.correlation_id,
            properties=properties,
        ),
    )
    rejection = Rejection(
        object="batch" if _asks_for_batch(message.get_body()) else "job", error=error.problem()
    )
    reply = OutgoingMessage(
        id=f"{key}-rejected"[:128],
        body=rejection.model_dump_json(exclude_none=True).encode(),
        correlation_id=message.correlation_id or key,
        session_id=message.reply_to_session_id,
        properties={"status": "rejected", **_trace(message.application_properties or {})},
    )
    try:
        await parts.queues.send(_error_reply_queue(parts, message), reply)
    except NotFound:
        await parts.queues.send(RESULTS_QUEUE, reply)
