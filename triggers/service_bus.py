"""The Service Bus door: jobs and batches from the queue `inference-requests`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import azure.durable_functions as df
import azure.functions as func
from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json

import wiring
from contracts.batches import AcceptedBatch, BatchMessage, HandedBatch
from contracts.errors import (
    InvalidRequest,
    Misconfigured,
    NotFound,
    PayloadTooLarge,
    Settle,
    SluiceError,
)
from contracts.identity import Identity, Role
from contracts.jobs import AcceptedJob, JobRequest, Rejection, ReplyAddress
from contracts.names import (
    REJECTED_QUEUE,
    REQUESTS_QUEUE,
    RESULTS_QUEUE,
    SERVICE_BUS_CONNECTION,
)
from policies.identity.identities import PLATFORM_KEY, MessageFacts
from stores.queues import OutgoingMessage
from telemetry import metrics
from telemetry.tracing import Kind, span
from triggers.aside import aside
from triggers.batch_submission import BatchSubmission
from triggers.door import check_role, parse_json
from triggers.submission import Caller, check_reply_queue, submit
from wiring import Parts

bp = df.Blueprint()

_log = logging.getLogger("sluice.triggers")

LONGEST_BACKOFF_SECONDS = 30.0
"""Well within the queue's lock of a minute, which the host renews besides."""

AUTHORIZATION = "authorization"
"""The application property by which a message proves whose it is."""

TRACE_PROPERTIES = ("traceparent", "tracestate", "Diagnostic-Id")

TENANT = "tenant"
"""The property of a rejected message that tells whose it was proved to be. The token that proved
it is not kept: nobody else is to use it."""


class Message(Protocol):
    """What a door is told of a message, by the worker or by who looks into a queue."""

    def get_body(self) -> bytes: ...

    @property
    def message_id(self) -> str: ...
    @property
    def sequence_number(self) -> int | None: ...
    @property
    def content_type(self) -> str | None: ...
    @property
    def correlation_id(self) -> str | None: ...
    @property
    def reply_to(self) -> str | None: ...
    @property
    def reply_to_session_id(self) -> str | None: ...
    @property
    def enqueued_time_utc(self) -> datetime | None: ...
    @property
    def application_properties(self) -> Mapping[str, Any]: ...


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
    properties = message.application_properties or {}
    if message.enqueued_time_utc is not None:
        age = datetime.now(UTC) - message.enqueued_time_utc.astimezone(UTC)
        metrics.MESSAGE_AGE.record(max(0.0, age.total_seconds()))
    with span("receive job", Kind.MESSAGE, parent=context(properties)):
        await receive(wiring.parts(), client, message)


async def receive(
    parts: Parts, client: df.DurableFunctionsClient, message: func.ServiceBusMessage
) -> None:
    """Start what is asked for, or reject what can never be. Raises when a later delivery may do."""
    identity: Identity | None = None
    try:
        identity = await identify(parts, message)
        await start(parts, client, message, identity)
    except SluiceError as error:
        if error.settle is Settle.ABANDON:
            await _back_off(message)
            raise
        await _reject(parts, message, error, identity)


async def start(
    parts: Parts, client: df.DurableFunctionsClient, message: Message, identity: Identity
) -> AcceptedJob | AcceptedBatch:
    """What the message asks for; the same message again is the same job or batch.

    Raises a SluiceError, whose `settle` says whether a later delivery may do.
    """
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
    reply = _reply_address(message, asked.reply_to)
    caller = Caller(identity, _idempotency_key(message), reply)
    if isinstance(asked, JobRequest):
        return await submit(parts, client, asked, caller)
    return await BatchSubmission(parts, client, caller).handed(asked)


async def identify(parts: Parts, message: Message) -> Identity:
    """Whose message it is. Raises Unauthenticated, Forbidden or DependencyUnavailable."""
    if parts.identities is None:
        return PLATFORM_KEY
    sent_at = message.enqueued_time_utc or datetime.now(UTC)
    facts = MessageFacts(
        enqueued_at=sent_at if sent_at.tzinfo is not None else sent_at.replace(tzinfo=UTC),
        id=message.message_id,
        body=message.get_body(),
    )
    authorization = (message.application_properties or {}).get(AUTHORIZATION)
    identity = await parts.identities.identify_message(authorization, facts)
    check_role(identity, Role.SUBMIT)
    return identity


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


def _reply_address(message: Message, reply_to: str | None) -> ReplyAddress:
    return ReplyAddress(
        queue=message.reply_to or reply_to or RESULTS_QUEUE,
        correlation_id=message.correlation_id or _idempotency_key(message),
        session_id=message.reply_to_session_id,
        trace=_trace(message.application_properties or {}),
    )


def _error_reply_queue(parts: Parts, message: Message) -> str:
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


def context(properties: Mapping[str, object]) -> dict[str, str]:
    """The producer's trace; the older Azure SDKs call its `traceparent` by another name."""
    known = _trace(properties)
    if "traceparent" not in known and "Diagnostic-Id" in known:
        known["traceparent"] = known["Diagnostic-Id"]
    return known


def _idempotency_key(message: Message) -> str:
    """The message's id; for a producer that sets none, what is stable over its deliveries."""
    return message.message_id or f"{REQUESTS_QUEUE}#{message.sequence_number}"


async def _back_off(message: func.ServiceBusMessage) -> None:
    """Hold the message a while: abandoned at once, it would be delivered again at once."""
    deliveries = message.delivery_count or 1
    await asyncio.sleep(min(2.0 ** (deliveries - 1), LONGEST_BACKOFF_SECONDS))


async def _reject(
    parts: Parts, message: Message, error: SluiceError, identity: Identity | None
) -> None:
    """Tell the producer, and keep the original with the reason, each once."""
    if parts.queues is None:
        raise Misconfigured("A message came, but no ServiceBusConnection is set.")
    _log.warning("message rejected: %s", error.code)
    metrics.REJECTED.add(1, {"sluice.code": error.code})
    key = _idempotency_key(message)
    trace = _trace(message.application_properties or {})
    properties = {**trace, "code": error.code, "reason": aside(error)[:1024]}
    if identity is not None:
        properties[TENANT] = identity.tenant
    reply_queue = _error_reply_queue(parts, message)
    await parts.queues.send(
        REJECTED_QUEUE,
        OutgoingMessage(
            id=key,
            body=message.get_body(),
            content_type=message.content_type or "application/octet-stream",
            correlation_id=message.correlation_id,
            reply_to=reply_queue if message.reply_to else None,
            reply_to_session_id=message.reply_to_session_id,
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
        properties={"status": "rejected", **trace},
    )
    try:
        await parts.queues.send(reply_queue, reply)
    except NotFound:
        await parts.queues.send(RESULTS_QUEUE, reply)
