"""The jobs door: `/v1/jobs`."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import azure.durable_functions as df
import grpc
from durabletask.client import OrchestrationState
from starlette.responses import Response

import wiring
from contracts.audit import AuditAction
from contracts.errors import Conflict, NotFound
from contracts.identity import Role
from contracts.ids import is_job_id
from contracts.jobs import (
    AcceptedJob,
    JobList,
    JobRecord,
    JobRequest,
    job_record,
)
from contracts.names import CANCEL_EVENT
from contracts.states import JobStatus
from triggers.door import JSON_MEDIA_TYPE, door, json_response, query_int, read_json
from triggers.http import Request
from triggers.job_state import (
    IDEMPOTENCY_KEY,
    POLL_AFTER_SECONDS,
    idempotency_key,
    record_of,
    state_or_none,
    unreachable,
    wait_for_end,
    waited_state,
)
from triggers.operation import ANY_JSON, Operation, Parameter, operation
from triggers.prefer import preferred_wait
from triggers.records import outcome_of, standing
from triggers.screening import origin_of
from triggers.submission import Caller, submit
from wiring import Parts

bp = df.Blueprint()

CANCEL_WAIT_SECONDS = 5

_JOB_ID = Parameter("job_id", "path", "The job's id.", {"type": "string"}, required=True)


@operation(
    Operation(
        method="POST",
        path="/v1/jobs",
        role=Role.SUBMIT,
        summary="Submit a job to a flow.",
        body=JobRequest,
        parameters=(
            IDEMPOTENCY_KEY,
            Parameter(
                "Prefer",
                "header",
                "`wait=N`: answer 200 with the result when the job ends within N seconds"
                " (RFC 7240).",
                {"type": "string"},
            ),
        ),
        responses={HTTPStatus.OK: JobRecord, HTTPStatus.ACCEPTED: JobRecord},
        response_headers={
            "Location": "Path of the job.",
            "Retry-After": "Seconds after which to look again, or to try again (202, 429).",
            "Preference-Applied": "The preference that was honoured.",
        },
        problems=(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.TOO_MANY_REQUESTS,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    )
)
@bp.function_name("submit_job")
@bp.route("v1/jobs", methods=["POST"])
@bp.durable_client_input(client_name="client")
@door(Role.SUBMIT)
async def submit_job(req: Request, client: df.DurableFunctionsClient) -> Response:
    """Accept a job; with `Prefer: wait=N`, wait for its end."""
    parts = wiring.parts()
    request = await read_json(req, JobRequest, parts.limits.request_bytes)
    wait = preferred_wait(req.headers.get("Prefer"))
    job = await submit(parts, client, request, _caller(req))
    record = await record_of(parts, job, await waited_state(client, job.id, wait))
    headers = {"Location": f"/v1/jobs/{job.id}"}
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait}"
    if record.status.ended:
        return json_response(record, HTTPStatus.OK, headers)
    headers["Retry-After"] = str(POLL_AFTER_SECONDS)
    return json_response(record, HTTPStatus.ACCEPTED, headers)


@operation(
    Operation(
        method="GET",
        path="/v1/jobs/{job_id}",
        role=Role.READ,
        summary="A job's state, attempts, usage and result.",
        parameters=(_JOB_ID,),
        responses={HTTPStatus.OK: JobRecord},
        problems=(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    )
)
@bp.function_name("get_job")
@bp.route("v1/jobs/{job_id}", methods=["GET"])
@bp.durable_client_input(client_name="client")
@door(Role.READ)
async def get_job(req: Request, client: df.DurableFunctionsClient) -> Response:
    """The record of one job."""
    parts = wiring.parts()
    job, state = await _find(parts, client, req)
    return json_response(await record_of(parts, job, state))


@operation(
    Operation(
        method="GET",
        path="/v1/jobs/{job_id}/result",
        role=Role.READ,
        summary="A job's result alone, however large.",
        parameters=(_JOB_ID,),
        responses={HTTPStatus.OK: ANY_JSON},
        problems=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
    )
)
@bp.function_name("get_job_result")
@bp.route("v1/jobs/{job_id}/result", methods=["GET"])
@bp.durable_client_input(client_name="client")
@door(Role.READ)
async def get_job_result(req: Request, client: df.DurableFunctionsClient) -> Response:
    """The JSON text that the flow returned."""
    parts = wiring.parts()
    job, state = await _find(parts, client, req)
    outcome = outcome_of(state)
    if outcome is None:
        raise Conflict("The job has not ended: look at its status first, and ask again later.")
    result = await parts.jobs.get_result(job.tenant, job.id) if outcome.result_bytes else None
    if result is None:
        why = "it is no longer kept" if outcome.result_bytes else f"it ended as {outcome.status}"
        raise NotFound(f"The job has no result: {why}.")
    return Response(result, media_type=JSON_MEDIA_TYPE)


@operation(
    Operation(
        method="DELETE",
        path="/v1/jobs/{job_id}",
        role=Role.SUBMIT,
        summary="Cancel a job that has not ended.",
        parameters=(_JOB_ID,),
        responses={HTTPStatus.OK: JobRecord, HTTPStatus.ACCEPTED: JobRecord},
        problems=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
    )
)
@bp.function_name("cancel_job")
@bp.route("v1/jobs/{job_id}", methods=["DELETE"])
@bp.durable_client_input(client_name="client")
@door(Role.SUBMIT)
async def cancel_job(req: Request, client: df.DurableFunctionsClient) -> Response:
    """Cancel: 200 once the job has ended, 202 while it still winds down."""
    parts = wiring.parts()
    job, state = await _find(parts, client, req)
    if outcome_of(state) is None:
        async with parts.audit.recorded(req.identity, AuditAction.JOB_CANCELLED, job.id):
            await _cancel(client, job.id)
        state = await wait_for_end(client, job.id, CANCEL_WAIT_SECONDS) or state
    record = await record_of(parts, job, state)
    if not record.status.ended:
        return json_response(record, HTTPStatus.ACCEPTED)
    if record.status is not JobStatus.CANCELLED:
        raise Conflict(f"The job had already ended: it is {record.status}.")
    return json_response(record)


@operation(
    Operation(
        method="GET",
        path="/v1/jobs",
        role=Role.READ,
        summary="Jobs, newest first.",
        parameters=(
            Parameter(
                "limit",
                "query",
                "How many jobs a page has.",
                {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            ),
            Parameter("after", "query", "A former page's `next_after`.", {"type": "string"}),
        ),
        responses={HTTPStatus.OK: JobList},
        problems=(HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE),
    )
)
@bp.function_name("list_jobs")
@bp.route("v1/jobs", methods=["GET"])
@bp.durable_client_input(client_name="client")
@door(Role.READ)
async def list_jobs(req: Request, client: df.DurableFunctionsClient) -> Response:
    """One page of jobs, without their results."""
    parts = wiring.parts()
    limit = query_int(req, "limit", default=20, least=1, most=100)
    page = await parts.jobs.list_jobs(req.identity.tenant, token=req.query.get("after"), most=limit)

    async def record(job_id: str) -> JobRecord | None:
        job, state = await asyncio.gather(
            parts.jobs.get_request(req.identity.tenant, job_id), state_or_none(client, job_id)
        )
        if job is None or state is None:
            return None
        return job_record(job, standing(state))

    records = await asyncio.gather(*(record(job_id) for job_id in page.ids))
    return json_response(
        JobList(
            # A request without an orchestration was interrupted before it was accepted.
            data=[found for found in records if found is not None],
            has_more=page.token is not None,
            next_after=page.token,
        )
    )


async def _cancel(client: df.DurableFunctionsClient, job_id: str) -> None:
    try:
        await client.raise_orchestration_event(job_id, CANCEL_EVENT)
    except grpc.RpcError as error:
        raise unreachable() from error


def _caller(req: Request) -> Caller:
    return Caller(req.identity, idempotency_key(req), origin=origin_of(req))


async def _find(
    parts: Parts, client: df.DurableFunctionsClient, req: Request
) -> tuple[AcceptedJob, OrchestrationState]:
    job_id = req.route_params["job_id"]
    if is_job_id(job_id):
        job, state = await asyncio.gather(
            parts.jobs.get_request(req.identity.tenant, job_id), state_or_none(client, job_id)
        )
        if job is not None and state is not None:
            return job, state
    raise NotFound("There is no such job: use the `id` that `POST /v1/jobs` answered.")
