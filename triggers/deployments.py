"""The operators' door to deployments: `/v1/deployments`."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import Any

import azure.durable_functions as df
import grpc
from starlette.responses import Response

import wiring
from contracts.audit import AuditAction
from contracts.deployments import DeploymentList, DeploymentStatus
from contracts.errors import Conflict, InvalidRequest
from contracts.identity import Role
from contracts.rollouts import rollout_id
from contracts.sharing import SharedDeployment, SharedModel
from contracts.steering import (
    DeploymentDetail,
    DeploymentWorker,
    LimitShare,
    Override,
    Totals,
)
from triggers.door import door, json_response, read_json
from triggers.http import Request
from triggers.operation import Operation, Parameter, operation
from triggers.rollout_runs import runs, state_of
from triggers.shared import exchange_of, find_deployment, refreshed, unreachable
from wiring import Parts
from wiring.exchange import standing_of

bp = df.Blueprint()

LONGEST_WAIT_SECONDS = 5.0
POLL_SECONDS = 0.1

_NAME = Parameter("name", "path", "The deployment's name.", {"type": "string"}, required=True)


@operation(
    Operation(
        method="GET",
        path="/v1/deployments",
        role=Role.OPERATE,
        summary="Every deployment of every model: its state, limits and latency.",
        responses={HTTPStatus.OK: DeploymentList},
        problems=(HTTPStatus.SERVICE_UNAVAILABLE,),
    )
)
@bp.function_name("list_deployments")
@bp.route("v1/deployments", methods=["GET"])
@bp.durable_client_input(client_name="client")
@door(Role.OPERATE)
async def list_deployments(req: Request, client: df.DurableFunctionsClient) -> Response:
    """As this worker knows them, and as all share them."""
    parts = wiring.parts()
    await refreshed(parts, client, parts.endpoints.models)
    return json_response(DeploymentList(deployments=parts.endpoints.statuses()))


@operation(
    Operation(
        method="GET",
        path="/v1/deployments/{name}",
        role=Role.OPERATE,
        summary="A deployment, what an operator set for it, and the workers that use it.",
        parameters=(_NAME,),
        responses={HTTPStatus.OK: DeploymentDetail},
        problems=(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    )
)
@bp.function_name("get_deployment")
@bp.route("v1/deployments/{name}", methods=["GET"])
@bp.durable_client_input(client_name="client")
@door(Role.OPERATE)
async def get_deployment(req: Request, client: df.DurableFunctionsClient) -> Response:
    """One deployment."""
    parts = wiring.parts()
    found = find_deployment(parts, req.route_params["name"])
    shared = (await refreshed(parts, client, [found.model]))[found.model]
    return json_response(_detail(find_deployment(parts, found.name), shared))


@operation(
    Operation(
        method="PATCH",
        path="/v1/deployments/{name}",
        role=Role.OPERATE,
        summary="Shift a deployment's weight or priority, at every worker.",
        parameters=(_NAME,),
        body=Override,
        responses={HTTPStatus.OK: DeploymentDetail, HTTPStatus.ACCEPTED: DeploymentDetail},
        problems=(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.CONFLICT,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    )
)
@bp.function_name("steer_deployment")
@bp.route("v1/deployments/{name}", methods=["PATCH"])
@bp.durable_client_input(client_name="client")
@door(Role.OPERATE)
async def steer_deployment(req: Request, client: df.DurableFunctionsClient) -> Response:
    """200 once it is shared; 202 while it is on its way. Workers follow within a second or two."""
    parts = wiring.parts()
    exchange_of(parts)
    found = find_deployment(parts, req.route_params["name"])
    override = await read_json(req, Override, parts.limits.request_bytes)
    if not override.model_fields_set:
        raise InvalidRequest("The body names nothing to change: give `weight`, `priority` or both.")
    await _no_rollout(client, found.model)
    wanted = override.model_dump(exclude_unset=True)
    async with parts.audit.recorded(
        req.identity, AuditAction.DEPLOYMENT_STEERED, found.name, **wanted
    ):
        shared, in_force = await _steer(parts, client, found, wanted)
    status = HTTPStatus.OK if in_force else HTTPStatus.ACCEPTED
    return json_response(_detail(find_deployment(parts, found.name), shared), status)


async def _no_rollout(client: df.DurableFunctionsClient, model: str) -> None:
    name = rollout_id(model)
    if runs(await state_of(client, name)):
        raise Conflict(
            f"A rollout sets the weights of model {model} now: cancel it first, by"
            f" POST /v1/rollouts/{name}/cancel."
        )


async def _steer(
    parts: Parts, client: df.DurableFunctionsClient, found: DeploymentStatus, wanted: dict[str, Any]
) -> tuple[SharedModel, bool]:
    """What is shared then, and whether it shows the change."""
    try:
        await client.signal_entity(standing_of(found.model), "steer", input={found.name: wanted})
    except grpc.RpcError as error:
        raise unreachable() from error
    limit = time.monotonic() + LONGEST_WAIT_SECONDS
    while True:
        shared = (await refreshed(parts, client, [found.model]))[found.model]
        known = shared.deployments.get(found.name, SharedDeployment())
        if wanted.items() <= known.model_dump(include=set(wanted)).items():
            return shared, True
        if time.monotonic() > limit:
            return shared, False
        await asyncio.sleep(POLL_SECONDS)


def _detail(status: DeploymentStatus, shared: SharedModel) -> DeploymentDetail:
    known = shared.deployments.get(status.name, SharedDeployment())
    return DeploymentDetail(
        deployment=status,
        override=Override(weight=known.weight, priority=known.priority),
        totals=Totals.of(known.counts),
        workers=[
            DeploymentWorker(
                worker=name,
                seen_at=worker.at,
                demand=worker.demand[status.name],
                limits={
                    limit: LimitShare(
                        whole=holding.whole,
                        share=holding.grants[-1].amount if holding.grants else 0,
                        held=holding.held,
                    )
                    for limit, holding in worker.holdings.get(status.name, {}).items()
                },
            )
            for name, worker in sorted(shared.workers.items())
            if status.name in worker.demand
        ],
    )
