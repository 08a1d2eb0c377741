"""What callers and operators ask about the service itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

import azure.durable_functions as df
import azure.functions as func
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

import wiring
from contracts.errors import Misconfigured
from contracts.flows import BrokenFlow, FlowInfo
from contracts.identity import Role
from policies.identity.scopes import may_run
from triggers.door import JSON_MEDIA_TYPE, door, json_response
from triggers.http import Request
from triggers.openapi import document
from triggers.operation import ANY_JSON, Operation, operation

bp = df.Blueprint()


class FlowList(BaseModel):
    """The flows that jobs can be sent to."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = "list"
    data: list[FlowInfo]
    broken: list[BrokenFlow] = Field(description="Folders of flows/ that could not be loaded.")


class Health(BaseModel):
    """That the service is up and set up."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["ok"] = "ok"
    flows: int
    broken_flows: int
    models: int


@operation(
    Operation(
        method="GET",
        path="/v1/flows",
        role=Role.READ,
        summary="Flows, with the JSON Schema of their input.",
        responses={HTTPStatus.OK: FlowList},
        problems=(HTTPStatus.SERVICE_UNAVAILABLE,),
    )
)
@bp.function_name("list_flows")
@bp.route("v1/flows", methods=["GET"])
@door(Role.READ)
async def list_flows(req: Request) -> Response:
    """Every flow for this caller, and every folder that holds a broken one."""
    flows, who = wiring.parts().flows, req.identity
    broken = [flow for flow in flows.broken if who.flows is None or flow.name in who.flows]
    return json_response(
        FlowList(data=[info for info in flows.infos if may_run(who, info)], broken=broken)
    )


@operation(
    Operation(
        method="GET",
        path="/healthz",
        role=None,
        summary="Whether the service is up and its settings are right.",
        responses={HTTPStatus.OK: Health},
        problems=(HTTPStatus.SERVICE_UNAVAILABLE,),
    )
)
@bp.function_name("healthz")
@bp.route("healthz", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@door(None)
async def healthz(req: Request) -> Response:
    """200, or 503 when the app is not set up; what is wrong is not for everybody to read."""
    try:
        parts = wiring.parts()
    except Misconfigured:
        told = "" if wiring.knows_tenants() else ", and so does GET /v1/flows, with a key"
        raise Misconfigured(f"The app is not set up: its log says why{told}.") from None
    return json_response(
        Health(
            flows=len(parts.flows.infos),
            broken_flows=len(parts.flows.broken),
            models=len(parts.endpoints.models),
        )
    )


@operation(
    Operation(
        method="GET",
        path="/openapi.json",
        role=None,
        summary="This description.",
        responses={HTTPStatus.OK: ANY_JSON},
    )
)
@bp.function_name("openapi")
@bp.route("openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@door(None)
async def openapi(req: Request) -> Response:
    """The OpenAPI document, generated from the types."""
    return Response(document(), media_type=JSON_MEDIA_TYPE)
