"""What may be asked: models and, for chats, flows: `GET /v1/models`."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

import azure.durable_functions as df
from starlette.responses import Response

import wiring
from contracts.errors import UnknownModel
from contracts.flows import FlowInfo
from contracts.identity import Identity, Role
from contracts.openai import ErrorBody, ModelObject, ModelObjectList
from policies.identity.scopes import check_flow, check_model, may_call, may_run
from triggers.door import json_response
from triggers.http import Request
from triggers.openai.errors import openai_door
from triggers.operation import Operation, Parameter, operation
from wiring import Parts

bp = df.Blueprint()

OWNER = "sluice"
FLOW_OWNER = "flow"


def find(parts: Parts, who: Identity, name: str, *, flows: bool = True) -> FlowInfo | None:
    """The flow of this name, or None for a model's, which may be pinned: `NAME@PIN`.

    A model comes before a flow of the same name. Raises UnknownModel, or Forbidden when it is not
    for this caller.
    """
    if name.partition("@")[0] in parts.endpoints.models:
        check_model(who, name)
        return None
    for info in parts.flows.infos if flows else []:
        if info.name == name:
            check_flow(who, info)
            return info
    raise _unknown(name, _known(parts, who, flows=flows))


@operation(
    Operation(
        method="GET",
        path="/v1/models",
        role=Role.READ,
        summary="Models that calls and batches may name; flows that chats may.",
        responses={HTTPStatus.OK: ModelObjectList},
        problems=(HTTPStatus.SERVICE_UNAVAILABLE,),
        error_model=ErrorBody,
    )
)
@bp.function_name("list_models")
@bp.route("v1/models", methods=["GET"])
@openai_door(Role.READ)
async def list_models(req: Request) -> Response:
    known = _known(wiring.parts(), req.identity)
    return json_response(
        ModelObjectList(data=[_object(name, owner) for name, owner in known.items()])
    )


@operation(
    Operation(
        method="GET",
        path="/v1/models/{model}",
        role=Role.READ,
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
@openai_door(Role.READ)
async def get_model(req: Request) -> Response:
    known, name = _known(wiring.parts(), req.identity), req.route_params["model"]
    if name not in known:  # a pin makes no model of its own
        raise _unknown(name, known)
    return json_response(_object(name, known[name]))


def _known(parts: Parts, who: Identity, *, flows: bool = True) -> dict[str, str]:
    """Names that this caller may ask for, with the owners they are shown to have."""
    models = parts.endpoints.models
    known = {name: OWNER for name in models if may_call(who, name)}
    for info in parts.flows.infos if flows else []:
        if info.name not in models and may_run(who, info):
            known[info.name] = FLOW_OWNER
    return known


def _unknown(name: str, known: Iterable[str]) -> UnknownModel:
    return UnknownModel(f"There is no model {name!r}; there are {', '.join(known) or 'none'}.")


def _object(name: str, owner: str) -> ModelObject:
    return ModelObject(id=name, created=0, owned_by=owner)
