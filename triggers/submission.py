"""Accepting a job, the same way at every door: check it all, keep it, start it once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import azure.durable_functions as df
import grpc

from contracts.errors import (
    CallerError,
    DependencyUnavailable,
    IdempotencyKeyReused,
    InvalidRequest,
)
from contracts.identity import Identity
from contracts.ids import new_job_id
from contracts.jobs import LONGEST_DEADLINE, AcceptedJob, JobRequest, JobTicket, ReplyAddress
from contracts.names import JOB_ORCHESTRATOR
from contracts.problems import FieldProblem
from flows.adapters.plain import PLAIN_FLOWS
from policies.identity.scopes import check_flow, check_model, may_call
from policies.screening.sender import UNKNOWN, Origin
from stores.jobs import KeyClaim
from telemetry import jobs as telemetry
from telemetry.tracing import carried
from triggers.concurrent_jobs import take_slot
from triggers.screening import screened_job
from wiring import Parts


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and by which key a repeat of the request is known."""

    identity: Identity
    idempotency_key: str | None = None
    reply: ReplyAddress | None = None
    """Where the door itself wants the end announced, whatever the request says."""
    origin: Origin = UNKNOWN

    @property
    def tenant(self) -> str:
        return self.identity.tenant


async def submit(
    parts: Parts, client: df.DurableFunctionsClient, request: JobRequest, caller: Caller
) -> AcceptedJob:
    """Accept a job: when this returns, it is kept in storage and its orchestration is started.

    With a key, a repeat of the request returns the job that the first one started. Raises a
    CallerError, with nothing kept or started, when the request is not valid, and QuotaReached when
    the tenant has as many jobs under way as it may.
    """
    now = datetime.now(UTC)
    try:
        _check(parts, request, caller.identity, now)
        flags = await screened_job(parts, request, caller.identity, caller.origin)
    except CallerError:
        # What was valid when it was accepted may not be any more: its deadline may have passed.
        if accepted := await _accepted_before(parts, client, request, caller):
            return accepted
        raise
    job = AcceptedJob(
        id=new_job_id(now),
        tenant=caller.tenant,
        created_at=now,
        deadline_at=request.deadline_after(now),
        request=request,
        flags=flags,
    )
    if caller.idempotency_key is not None:
        job, repeated = await _claim(parts, job, caller.idempotency_key)
        if repeated and await _is_started(client, job.id):
            return job
    holds_slot = await take_slot(parts, client, job)
    await parts.jobs.put_request(job)
    await _start(client, job, caller.reply or _reply_of(job), holds_slot=holds_slot)
    telemetry.accepted(job)
    return job


def _check(parts: Parts, request: JobRequest, identity: Identity, now: datetime) -> None:
    deadline_at = request.deadline_after(now)
    if deadline_at is not None and not now < deadline_at <= now + LONGEST_DEADLINE:
        raise _wrong("deadline", f"a time to come, at most {LONGEST_DEADLINE.days} days ahead")
    if request.model is not None:
        _check_model(parts, request.model, identity)
    if request.reply_to is not None:
        check_reply_queue(parts, request.reply_to)
    flow = parts.flows.check(request.flow, request.input, request.model)
    if request.flow not in PLAIN_FLOWS.values():  # those are calls of the model
        check_flow(identity, flow.info)


def _check_model(parts: Parts, model: str, identity: Identity) -> None:
    if model.partition("@")[0] not in parts.endpoints.models:
        known = sorted(name for name in parts.endpoints.models if may_call(identity, name))
        raise _wrong("model", f"one of {', '.join(known)}")
    check_model(identity, model)


def check_reply_queue(parts: Parts, queue: str) -> None:
    """Raises InvalidRequest when the app may not send replies to this queue."""
    if parts.queues is None:
        raise _wrong("reply_to", "no such field, since this app has no Service Bus connection")
    if not any(fnmatchcase(queue.lower(), allowed) for allowed in parts.reply_queues):
        raise _wrong("reply_to", f"one of {', '.join(parts.reply_queues)}")


def _reply_of(job: AcceptedJob) -> ReplyAddress | None:
    queue = job.request.reply_to
    return ReplyAddress(queue=queue, correlation_id=job.id) if queue is not None else None


def _wrong(field: str, expected: str) -> CallerError:
    return InvalidRequest(
        f"`{field}` is not as expected: {expected}.", [FieldProblem(field=field, expected=expected)]
    )


async def _accepted_before(
    parts: Parts, client: df.DurableFunctionsClient, request: JobRequest, caller: Caller
) -> AcceptedJob | None:
    """The job that this very request started before, under its key."""
    if caller.idempotency_key is None:
        return None
    claim = await parts.jobs.get_claim(caller.tenant, caller.idempotency_key)
    if claim is None or claim.fingerprint != _fingerprint(request):
        return None
    job = await parts.jobs.get_request(caller.tenant, claim.job_id)
    return job if job is not None and await _is_started(client, job.id) else None


def _fingerprint(request: JobRequest) -> str:
    return hashlib.sha256(request.model_dump_json().encode()).hexdigest()


async def _claim(parts: Parts, job: AcceptedJob, key: str) -> tuple[AcceptedJob, bool]:
    """The job that has the key, and whether it had it before."""
    fingerprint = _fingerprint(job.request)
    claim = await parts.jobs.claim_key(
        job.tenant, key, KeyClaim(job_id=job.id, fingerprint=fingerprint)
    )
    if claim.fingerprint != fingerprint:
        raise IdempotencyKeyReused(
            "The Idempotency-Key was used with another request: use a new key for a new request."
        )
    if claim.job_id == job.id:
        return job, False
    # Its request may be missing, when the first try was interrupted: then this one is kept.
    first = await parts.jobs.get_request(job.tenant, claim.job_id)
    return first or job.model_copy(update={"id": claim.job_id}), True


async def _is_started(client: df.DurableFunctionsClient, job_id: str) -> bool:
    try:
        return await client.get_orchestration_state(job_id, fetch_payloads=False) is not None
    except grpc.RpcError as error:
        raise _unreachable() from error


async def _start(
    client: df.DurableFunctionsClient,
    job: AcceptedJob,
    reply: ReplyAddress | None,
    *,
    holds_slot: bool,
) -> None:
    ticket = JobTicket(
        id=job.id,
        tenant=job.tenant,
        deadline_at=job.deadline_at,
        reply=reply,
        holds_slot=holds_slot,
        trace=carried(),
    )
    try:
        await client.schedule_new_orchestration(
            JOB_ORCHESTRATOR, input=ticket.model_dump(mode="json"), instance_id=job.id
        )
    except grpc.RpcError as error:
        # Hosts refuse an id that is taken with different codes, so ask: two requests with one
        # key may have come at the same time, and the other one started the job.
        if not await _is_started(client, job.id):
            raise _unreachable() from error


def _unreachable() -> DependencyUnavailable:
    return DependencyUnavailable(
        "The job could not be started now. Nothing was started: try again in a few seconds."
    )
