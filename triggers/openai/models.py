"""What may be asked: models and, for chats, flows: `GET /v1/models`."""

from __future__ import annotations

from http import HTTPStatus

import azure.durable_functions as df
from starlette.responses import Response

import wiring
from contracts.errors import UnknownModel
from contracts.flows import FlowInfo
from contracts.openai import ErrorBody, ModelObject, ModelObjectList
from triggers.door import json_response
from triggers.http import Request
from triggers.openai.errors import openai_door
from triggers.operation import Operation, Parameter, operation
from wiring import Parts

bp = df.Blueprint()

OWNER = "sluice"
FLOW_OWNER = "flow"


def find(parts: Parts, name: str, *, flows: bool = True) -> FlowInfo | None:
    """The flow of this name, or None for a model's, which may be pinned: `NAME@PIN`.

    A model comes before a flow of the same name. Raises UnknownModel.
    """
    if name.partition("@")[0] in parts.endpoints.models:
        return None
    infos = parts.flows.infos if flows else []
    for info in infos:
        if info.name == name:
            return info
    raise _unknown(parts, name, infos)


@operation(
    Operation(
        method="GET",
        path="/v1/models",
        summary="Models that calls and batches may name; flows that chats may.",
        responses={HTTPStatus.OK: ModelObjectList},
        problems=(HTTPStatus.SERVICE_UNAVAILABLE,),
        error_model=ErrorBody,
    )
)
@bp.function_name("list_models")
@bp.route("v1/models", methods=["GET"])
@openai_door
async def list_models(req: Request) -> Response:
    parts = wiring.parts()
    models = parts.endpoints.models
    flows = [info.name for info in parts.flows.infos if info.name not in models]
    data = [_object(name, OWNER) for name in models] + [_object(name, FLOW_OWNER) for name in flows]
    return json_response(ModelObjectList(data=data))


@operation(
    Operation(
        method="GET",
        path="/v1/models/{model}",
        summary="One model.",
        parameters=(
            Parameter("model", "path", "The model's name.", {"type": "string"}, required=True),
        ),
        responses={HTTPStatus.OK: ModelObject},
        problems=(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
        error_model=ErrorBody,
    )
)
@bp.function_name("get_model")
@bp.route("v1/models/{model}", methods=["GET"])
@openai_door
async def get_model(req: Request) -> Response:
    parts, name = wiring.parts(), req.route_params["model"]
    flow = find(parts, name)
    if flow is None and name not in parts.endpoints.models:  # a pin makes no model of its own
        raise _unknown(parts, name, parts.flows.infos)
    return json_response(_object(name, OWNER if flow is None else FLOW_OWNER))


def _unknown(parts: Parts, name: str, flows: list[FlowInfo]) -> UnknownModel:
    known = ", ".join([*parts.endpoints.models, *(info.name for info in flows)])
    return UnknownModel(f"There is no model {name!r}; there are {known}.")


def _object(name: str, owner: str) -> ModelObject:
    return ModelObject(id=name, created=0, owned_by=owner)
