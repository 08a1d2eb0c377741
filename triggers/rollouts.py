"""The operators' door to rollouts: `/v1/rollouts`."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus

import azure.durable_functions as df
import grpc
from durabletask.client import OrchestrationState
from starlette.responses import Response

import wiring
from contracts.audit import AuditAction
from contracts.deployments import DeploymentStatus
from contracts.errors import Conflict, InvalidRequest, NotFound
from contracts.identity import Role
from contracts.names import CANCEL_EVENT
from contracts.problems import FieldProblem
from contracts.rollouts import (
    RolloutRecord,
    RolloutRequest,
    RolloutRules,
    RolloutStatus,
    RolloutTicket,
    rollout_id,
)
from contracts.sharing import SharedDeployment, SharedModel
from triggers.door import door, json_response, read_json
from triggers.http import Request
from triggers.operation import Operation, Parameter, operation
from triggers.rollout_runs import record_of, start, state_of
from triggers.shared import exchange_of, refreshed, unreachable
from wiring import Parts

bp = df.Blueprint()

POLL_AFTER_SECONDS = 5

_ID = Parameter("rollout_id", "path", "The rollout's id.", {"type": "string"}, required=True)


@operation(
    Operation(
        method="POST",
        path="/v1/rollouts",
        role=Role.OPERATE,
        summary="Shift a model's calls to one deployment, step by step, and back if it does worse.",
        body=RolloutRequest,
        responses={HTTPStatus.ACCEPTED: RolloutRecord},
        response_headers={
            "Location": "Path of the rollout.",
            "Retry-After": "Seconds after which to look again.",
        },
        problems=(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.CONFLICT,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    )
)
@bp.function_name("start_rollout")
@bp.route("v1/rollouts", methods=["POST"])
@bp.durable_client_input(client_name="client")
@door(Role.OPERATE)
async def start_rollout(req: Request, client: df.DurableFunctionsClient) -> Response:
    """Start it: a model has one rollout at a time."""
    parts = wiring.parts()
    exchange_of(parts)
    request = await read_json(req, RolloutRequest, parts.limits.request_bytes)
    _check_names(parts, request)
    shared = (await refreshed(parts, client, [request.model]))[request.model]
    ticket = _ticket(request, parts.endpoints.statuses(), shared, req.identity.tenant)
    async with parts.audit.recorded(
        req.identity,
        AuditAction.ROLLOUT_STARTED,
        ticket.record.id,
        model=request.model,
        to=request.to,
        steps=request.steps,
    ):
        await start(client, ticket)
    return _shown(ticket.record, HTTPStatus.ACCEPTED)


@operation(
    Operation(
        method="GET",
        path="/v1/rollouts/{rollout_id}",
        role=Role.OPERATE,
        summary="How far a rollout is, or how it ended; the latest of its model.",
        parameters=(_ID,),
        responses={HTTPStatus.OK: RolloutRecord},
        problems=(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    )
)
@bp.function_name("get_rollout")
@bp.route("v1/rollouts/{rollout_id}", methods=["GET"])
@bp.durable_client_input(client_name="client")
@door(Role.OPERATE)
async def get_rollout(req: Request, client: df.DurableFunctionsClient) -> Response:
    """One rollout."""
    return json_response(record_of(await _find(client, req)))


@operation(
    Operation(
        method="POST",
        path="/v1/rollouts/{rollout_id}/cancel",
        role=Role.OPERATE,
        summary="End a rollout and go back to the weights from before.",
        parameters=(_ID,),
        responses={HTTPStatus.ACCEPTED: RolloutRecord},
        response_headers={
            "Location": "Path of the rollout.",
            "Retry-After": "Seconds after which to look again.",
        },
        problems=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
    )
)
@bp.function_name("cancel_rollout")
@bp.route("v1/rollouts/{rollout_id}/cancel", methods=["POST"])
@bp.durable_client_input(client_name="client")
@door(Role.OPERATE)
async def cancel_rollout(req: Request, client: df.DurableFunctionsClient) -> Response:
    """Ask for its end: it follows within a second or two."""
    state = await _find(client, req)
    record = record_of(state)
    if record.status.ended:
        raise Conflict(f"The rollout has ended: it is {record.status}.")
    async with wiring.parts().audit.recorded(
        req.identity, AuditAction.ROLLOUT_CANCELLED, record.id
    ):
        await _cancel(client, state.instance_id)
    return _shown(record, HTTPStatus.ACCEPTED)


async def _cancel(client: df.DurableFunctionsClient, name: str) -> None:
    try:
        await client.raise_orchestration_event(name, CANCEL_EVENT)
    except grpc.RpcError as error:
        raise unreachable() from error


def _shown(record: RolloutRecord, status: HTTPStatus) -> Response:
    headers = {
        "Location": f"/v1/rollouts/{record.id}",
        "Retry-After": str(POLL_AFTER_SECONDS),
    }
    return json_response(record, status, headers)


def _check_names(parts: Parts, request: RolloutRequest) -> None:
    info = parts.endpoints.models.get(request.model)
    if info is None:
        raise _wrong("model", f"one of {', '.join(parts.endpoints.models)}")
    names = [each.name for each in info.deployments]
    if request.to not in names:
        raise _wrong("to", f"one of {', '.join(names)}")


def _wrong(field: str, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{field}` is not as expected: {expected}.", [FieldProblem(field=field, expected=expected)]
    )


def _ticket(
    request: RolloutRequest, statuses: list[DeploymentStatus], shared: SharedModel, tenant: str
) -> RolloutTicket:
    """Raises Conflict when there is nothing to shift."""
    ours = [each for each in statuses if each.model == request.model]
    priority = next(each.priority for each in ours if each.name == request.to)
    before = {
        each.name: each.weight
        for each in ours
        if each.priority == priority and (each.weight > 0 or each.name == request.to)
    }
    if len(before) < 2:
        raise Conflict(
            f"No other deployment of model {request.model} with priority {priority}, that of"
            f" {request.to}, has a weight: there is nothing to shift."
        )
    record = RolloutRecord(
        id=rollout_id(request.model),
        status=RolloutStatus.RUNNING,
        model=request.model,
        to=request.to,
        rules=RolloutRules.model_validate(request.model_dump(exclude={"model", "to"})),
        started_at=datetime.now(UTC),
        weights=before,
    )
    overrides = {name: shared.deployments.get(name, SharedDeployment()).weight for name in before}
    return RolloutTicket(record=record, before=before, overrides=overrides, tenant=tenant)


async def _find(client: df.DurableFunctionsClient, req: Request) -> OrchestrationState:
    name = req.route_params["rollout_id"]
    if name.startswith(rollout_id("")):
        state = await state_of(client, name)
        if state is not None:
            return state
    raise NotFound("There is no such rollout: use the `id` that `POST /v1/rollouts` answered.")
