"""What may be asked: `GET /v1/models`."""

from __future__ import annotations

from http import HTTPStatus

import azure.durable_functions as df
from starlette.responses import Response

import wiring
from contracts.errors import NotFound
from contracts.openai import ErrorBody, ModelObject, ModelObjectList
from triggers.door import json_response
from triggers.http import Request
from triggers.openai.errors import openai_door
from triggers.operation import Operation, Parameter, operation

bp = df.Blueprint()

OWNER = "sluice"


@operation(
    Operation(
        method="GET",
        path="/v1/models",
        summary="Models that calls and batches may name.",
        responses={HTTPStatus.OK: ModelObjectList},
        problems=(HTTPStatus.SERVICE_UNAVAILABLE,),
        error_model=ErrorBody,
    )
)
@bp.function_name("list_models")
@bp.route("v1/models", methods=["GET"])
@openai_door
async def list_models(req: Request) -> Response:
    models = wiring.parts().endpoints.models
    return json_response(ModelObjectList(data=[_object(name) for name in models]))


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
    models, name = wiring.parts().endpoints.models, req.route_params["model"]
    if name not in models:
        raise NotFound(f"No model {name!r}; there are {', '.join(models)}.")
    return json_response(_object(name))


def _object(name: str) -> ModelObject:
    return ModelObject(id=name, created=0, owned_by=OWNER)
