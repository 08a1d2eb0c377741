"""Batches: `/v1/batches`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus

import azure.durable_functions as df
import grpc
from starlette.responses import Response

import wiring
from batches.ending import CANCELLED
from batches.retrying import failed_lines
from contracts.audit import AuditAction
from contracts.batches import AcceptedBatch, BatchList, BatchObject, BatchRequest, FileObject
from contracts.errors import Conflict, DependencyUnavailable, NotFound
from contracts.identity import Role
from contracts.ids import is_batch_id, new_file_id
from contracts.names import CANCEL_EVENT, MOST_LANES, lane_id
from contracts.openai import ErrorBody
from triggers.batch_submission import BatchSubmission
from triggers.door import json_response, query_int, read_json
from triggers.http import Request, unless_left
from triggers.job_state import IDEMPOTENCY_KEY, idempotency_key, wait_for_end
from triggers.openai.batch_state import state_of
from triggers.openai.errors import openai_door
from triggers.operation import Operation, Parameter, operation
from triggers.prefer import preferred_wait
from triggers.submission import Caller
from wiring import Parts

bp = df.Blueprint()

_BATCH_ID = Parameter("batch_id", "path", "The batch's id.", {"type": "string"}, required=True)
_WAIT = Parameter(
    "Prefer",
    "header",
    "`wait=N`: answer when the batch has ended, or after N seconds (RFC 7240).",
    {"type": "string"},
)
_FINDS = (HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE)


@operation(
    Operation(
        method="POST",
        path="/v1/batches",
        role=Role.SUBMIT,
        summary="Run the lines of an uploaded file.",
        body=BatchRequest,
        parameters=(
            replace(
                IDEMPOTENCY_KEY,
                description="Any text: a repeat of the request with the same key returns the same"
                " batch.",
            ),
        ),
        responses={HTTPStatus.OK: BatchObject},
        problems=(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
        error_model=ErrorBody,
    )
)
@bp.function_name("create_batch")
@bp.route("v1/batches", methods=["POST"])
@bp.durable_client_input(client_name="client")
@openai_door(Role.SUBMIT)
async def create_batch(req: Request, client: df.DurableFunctionsClient) -> Response:
    parts = wiring.parts()
    request = await read_json(req, BatchRequest, parts.limits.request_bytes)
    caller = Caller(req.identity, idempotency_key(req))
    batch = await BatchSubmission(parts, client, caller).of_file(request)
    return json_response(await _shown(parts, client, batch))


@operation(
    Operation(
        method="GET",
        path="/v1/batches",
        role=Role.READ,
        summary="Batches, newest first.",
        parameters=(
            Parameter(
                "limit",
                "query",
                "How many batches a page has.",
                {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            ),
            Parameter("after", "query", "The last id of a former page.", {"type": "string"}),
        ),
        responses={HTTPStatus.OK: BatchList},
        problems=(HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE),
        error_model=ErrorBody,
    )
)
@bp.function_name("list_batches")
@bp.route("v1/batches", methods=["GET"])
@bp.durable_client_input(client_name="client")
@openai_door(Role.READ)
async def list_batches(req: Request, client: df.DurableFunctionsClient) -> Response:
    parts = wiring.parts()
    limit = query_int(req, "limit", default=20, least=1, most=100)
    ids, more = await parts.batch_store.page(
        req.identity.tenant, after=req.query.get("after"), most=limit
    )
    accepted = await asyncio.gather(
        *(parts.batch_store.get(req.identity.tenant, batch_id) for batch_id in ids)
    )
    batches = await asyncio.gather(
        *(state_of(parts, client, batch) for batch in accepted if batch is not None)
    )
    return json_response(
        BatchList(
            # One without an orchestration was interrupted before it was accepted.
            data=[batch for batch in batches if batch is not None],
            first_id=ids[0] if ids else None,
            last_id=ids[-1] if ids else None,
            has_more=more,
        )
    )


@operation(
    Operation(
        method="GET",
        path="/v1/batches/{batch_id}",
        role=Role.READ,
        summary="One batch, with how far it has come.",
        parameters=(_BATCH_ID, _WAIT),
        responses={HTTPStatus.OK: BatchObject},
        problems=_FINDS,
        error_model=ErrorBody,
    )
)
@bp.function_name("get_batch")
@bp.route("v1/batches/{batch_id}", methods=["GET"])
@bp.durable_client_input(client_name="client")
@openai_door(Role.READ)
async def get_batch(req: Request, client: df.DurableFunctionsClient) -> Response:
    parts = wiring.parts()
    batch = await _find(parts, req)
    seconds = preferred_wait(req.headers.get("prefer"))
    if seconds:
        await unless_left(req, wait_for_end(client, batch.id, seconds))
    return json_response(await _shown(parts, client, batch))


@operation(
    Operation(
        method="POST",
        path="/v1/batches/{batch_id}/cancel",
        role=Role.SUBMIT,
        summary="Stop a batch; what has ended of it is kept.",
        parameters=(_BATCH_ID,),
        responses={HTTPStatus.OK: BatchObject},
        problems=(*_FINDS, HTTPStatus.CONFLICT),
        error_model=ErrorBody,
    )
)
@bp.function_name("cancel_batch")
@bp.route("v1/batches/{batch_id}/cancel", methods=["POST"])
@bp.durable_client_input(client_name="client")
@openai_door(Role.SUBMIT)
async def cancel_batch(req: Request, client: df.DurableFunctionsClient) -> Response:
    """The mark stops the slices that run; the event wakes the lanes that wait."""
    parts = wiring.parts()
    batch = await _find(parts, req)
    ended = await parts.batch_store.ended(batch.tenant, batch.id)
    if ended is not None and ended.status != CANCELLED:
        raise Conflict(f"The batch has ended already: it is {ended.status}.")
    async with parts.audit.recorded(req.identity, AuditAction.BATCH_CANCELLED, batch.id):
        await parts.batch_store.stop(batch.tenant, batch.id, CANCELLED)
        await asyncio.gather(*(_wake(client, batch.id, lane) for lane in range(MOST_LANES)))
    return json_response(await _shown(parts, client, batch))


@operation(
    Operation(
        method="POST",
        path="/v1/batches/{batch_id}/retry",
        role=Role.SUBMIT,
        summary="Run the failed lines of an ended batch again, as a new batch.",
        parameters=(_BATCH_ID,),
        responses={HTTPStatus.OK: BatchObject},
        problems=(*_FINDS, HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT),
        error_model=ErrorBody,
    )
)
@bp.function_name("retry_batch")
@bp.route("v1/batches/{batch_id}/retry", methods=["POST"])
@bp.durable_client_input(client_name="client")
@openai_door(Role.SUBMIT)
async def retry_batch(req: Request, client: df.DurableFunctionsClient) -> Response:
    parts = wiring.parts()
    batch = await _find(parts, req)
    ended = await parts.batch_store.ended(batch.tenant, batch.id)
    if ended is None:
        raise Conflict("The batch has not ended yet: wait for it, or cancel it.")
    if ended.error_file_id is None:
        raise Conflict("No line of the batch has failed.")
    async with parts.audit.recorded(req.identity, AuditAction.BATCH_RETRIED, batch.id):
        submission = BatchSubmission(parts, client, Caller(req.identity))
        retried = await _run_again(submission, batch, ended.error_file_id)
    return json_response(await _shown(parts, client, retried))


async def _run_again(
    submission: BatchSubmission, batch: AcceptedBatch, failed: str
) -> AcceptedBatch:
    """The batch of the lines in this error file."""
    files = submission.parts.files
    now = datetime.now(UTC)
    file = FileObject(
        id=new_file_id(now),
        bytes=0,
        created_at=int(now.timestamp()),
        filename=f"{batch.id}_retry.jsonl",
        purpose="batch",
    )
    await files.upload(batch.tenant, file, failed_lines(files, batch, failed))
    metadata = {**(batch.request.metadata or {}), "retry_of": batch.id}
    changes = {"input_file_id": file.id, "metadata": dict(list(metadata.items())[-16:])}
    request = batch.request.model_copy(update=changes)
    return await submission.of_file(request)


async def _shown(
    parts: Parts, client: df.DurableFunctionsClient, batch: AcceptedBatch
) -> BatchObject:
    shown = await state_of(parts, client, batch)
    if shown is None:
        raise _no_such_batch()
    return shown


async def _find(parts: Parts, req: Request) -> AcceptedBatch:
    batch_id = req.route_params["batch_id"]
    batch = None
    if is_batch_id(batch_id):
        batch = await parts.batch_store.get(req.identity.tenant, batch_id)
    if batch is None:
        raise _no_such_batch()
    return batch


def _no_such_batch() -> NotFound:
    return NotFound("There is no such batch: use the `id` that `POST /v1/batches` answered.")


async def _wake(client: df.DurableFunctionsClient, batch_id: str, lane: int) -> None:
    try:
        await client.raise_orchestration_event(lane_id(batch_id, lane), CANCEL_EVENT)
    except grpc.RpcError as error:
        if error.code() not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION):
            raise DependencyUnavailable(
                "The batch could not be told now. Cancel it again in a few seconds."
            ) from error
