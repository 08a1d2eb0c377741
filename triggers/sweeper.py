"""The timer that looks for jobs and batches that make no progress, and what it found."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from http import HTTPStatus

import azure.durable_functions as df
import azure.functions as func
import grpc
from durabletask.client import OrchestrationQuery, OrchestrationState, OrchestrationStatus
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

import wiring
from contracts.errors import DependencyUnavailable
from contracts.identity import Role
from contracts.ids import is_batch_id, is_job_id
from contracts.jobs import AcceptedJob, JobOutcome, JobTicket, JobWait, ReplyAddress
from contracts.names import JOB_ORCHESTRATOR, NUDGE_EVENT
from contracts.stuck import Nudge, StuckList
from policies.stuck.engine import Seen
from policies.stuck.rules import Looked
from policies.stuck.sweep import Sweeper
from triggers.door import door, json_response
from triggers.http import Request
from triggers.operation import Operation, operation
from triggers.records import standing

bp = df.Blueprint()

EVERY_FIVE_MINUTES = "0 */5 * * * *"
PAGE = 1000
"""Of a list of orchestrations: a gRPC message has its bounds."""
_KINDS = ("job_", "batch_")
_UNDER_WAY = [
    OrchestrationStatus.PENDING,
    OrchestrationStatus.RUNNING,
    OrchestrationStatus.CONTINUED_AS_NEW,
]


class _BatchWords(BaseModel):
    """What is read of a batch's or a lane's input and custom status."""

    tenant: str | None = None
    batch: _BatchWords | None = None
    resumes_at: datetime | None = None


class DurableEngine:
    """See `policies.stuck.engine.Engine`."""

    def __init__(self, client: df.DurableFunctionsClient) -> None:
        self._client = client

    async def under_way(self) -> list[Seen]:
        return [each for kind in _KINDS for each in await self._list(kind, _UNDER_WAY)]

    async def faulted(self, since: datetime) -> list[Seen]:
        failed = [OrchestrationStatus.FAILED]
        found = [each for kind in _KINDS for each in await self._list(kind, failed, since)]
        # What a lane fails of, its batch tells.
        return [each for each in found if is_job_id(each.id) or is_batch_id(each.id)]

    async def look(self, instance: str) -> Looked | None:
        state = await self._state(instance, payloads=True)
        if state is None or state.runtime_status not in _UNDER_WAY:
            return None
        return looked_at(state)

    async def knows(self, instance: str) -> bool:
        return await self._state(instance, payloads=False) is not None

    async def nudge(self, job_id: str, nudge: Nudge) -> None:
        try:
            await self._client.raise_orchestration_event(
                job_id, NUDGE_EVENT, data=nudge.model_dump(mode="json")
            )
        except grpc.RpcError as error:
            raise _unreachable() from error

    async def restart(self, job_id: str) -> None:
        try:
            await self._client.restart_orchestration(job_id)
        except grpc.RpcError as error:
            raise _unreachable() from error

    async def start(self, job: AcceptedJob) -> None:
        queue = job.request.reply_to
        reply = None if queue is None else ReplyAddress(queue=queue, correlation_id=job.id)
        ticket = JobTicket(
            id=job.id, tenant=job.tenant, deadline_at=job.deadline_at, reply=reply
        ).model_dump(mode="json")
        try:
            await self._client.schedule_new_orchestration(
                JOB_ORCHESTRATOR, input=ticket, instance_id=job.id
            )
        except grpc.RpcError as error:
            # Hosts refuse an id that is taken with different codes, so ask.
            if not await self.knows(job.id):
                raise _unreachable() from error

    async def _list(
        self, kind: str, status: list[OrchestrationStatus], since: datetime | None = None
    ) -> list[Seen]:
        query = OrchestrationQuery(
            created_time_from=since,
            runtime_status=status,
            max_instance_count=PAGE,
            instance_id_prefix=kind,
        )
        try:
            states = await self._client.get_all_orchestration_states(query)
        except grpc.RpcError as error:
            raise _unreachable() from error
        return [_seen(each) for each in states]

    async def _state(self, instance: str, *, payloads: bool) -> OrchestrationState | None:
        try:
            return await self._client.get_orchestration_state(instance, fetch_payloads=payloads)
        except grpc.RpcError as error:
            raise _unreachable() from error


def looked_at(state: OrchestrationState) -> Looked:
    """What the engine tells of a job or a lane, with its payloads."""
    updated_at = _utc(state.last_updated_at)
    if not is_job_id(state.instance_id):
        given, shown = _words(state.serialized_input), _words(state.serialized_custom_status)
        tenant = given.batch.tenant if given.batch is not None else given.tenant
        return Looked(tenant, updated_at, resumes_at=shown.resumes_at)
    now = standing(state)
    ticket = now.ticket
    if state.serialized_custom_status is None and state.serialized_input is not None:
        ticket = JobTicket.model_validate_json(state.serialized_input)
    return Looked(
        ticket.tenant or None,
        updated_at,
        resumes_at=now.until if isinstance(now, JobWait) else None,
        deadline_at=ticket.deadline_at,
        step=ticket.step,
        has_outcome=isinstance(now, JobOutcome),
    )


@operation(
    Operation(
        method="GET",
        path="/v1/operations/stuck",
        role=Role.OPERATE,
        summary="Jobs and batches that made no progress, as the last sweep found them.",
        responses={HTTPStatus.OK: StuckList},
        problems=(HTTPStatus.SERVICE_UNAVAILABLE,),
    )
)
@bp.function_name("list_stuck")
@bp.route("v1/operations/stuck", methods=["GET"])
@door(Role.OPERATE)
async def list_stuck(req: Request) -> Response:
    """What has been stuck for longest comes first."""
    parts = wiring.parts()
    sweep = await parts.jobs.sweeps.get()
    return json_response(
        StuckList(
            policy=parts.stuck.policy,
            swept_at=sweep.swept_at,
            complete=sweep.complete,
            data=sweep.found,
        )
    )


@bp.function_name("sweep_stuck")
@bp.timer_trigger(arg_name="timer", schedule=os.environ.get("SLUICE_SWEEP") or EVERY_FIVE_MINUTES)
@bp.durable_client_input(client_name="client")
async def sweep_stuck(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:
    """One sweep; the platform lets one worker at a time have it."""
    parts = wiring.parts()
    await Sweeper(parts.jobs, DurableEngine(client), parts.stuck).go()


def _seen(state: OrchestrationState) -> Seen:
    begun = state.runtime_status is not OrchestrationStatus.PENDING
    return Seen(state.instance_id, begun, _utc(state.last_updated_at))


def _words(text: str | None) -> _BatchWords:
    try:
        return _BatchWords.model_validate_json(text or "{}")
    except ValidationError:
        return _BatchWords()


def _utc(at: datetime) -> datetime:
    # The SDK's times are of UTC, and do not say so.
    return at.replace(tzinfo=UTC)


def _unreachable() -> DependencyUnavailable:
    return DependencyUnavailable("The durable engine cannot be reached: the next sweep goes on.")
