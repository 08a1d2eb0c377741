"""Real-time calls: straight through the router, without an orchestration.

What a body holds beyond the model's name is the model's to understand; it passes through. With
`"stream": true` the answer's events do too, as they arrive.
"""

from __future__ import annotations

import secrets
from http import HTTPStatus

import azure.durable_functions as df
from pydantic_core import to_json
from starlette.responses import Response

import wiring
from contracts.calls import Attempt, CallScope, ModelCall, Task
from contracts.jobs import DEFAULT_TENANT
from contracts.names import HUB_BINDING
from contracts.openai import ChatCompletionRequest, EmbeddingsRequest, ErrorBody, ResponsesRequest
from endpoints import Endpoints
from triggers.door import JSON_MEDIA_TYPE, noted, read_json
from triggers.event_stream import Events, EventStream
from triggers.http import Request, unless_left
from triggers.openai.errors import error_event, openai_door
from triggers.operation import ANY_JSON, Operation, Parameter, operation

bp = df.Blueprint()

PATIENCE_SECONDS = 10.0
"""How long a call waits for a deployment to have room before it is told to come back."""
STICKY_HEADER = "x-sluice-sticky-key"

_STICKY = Parameter(
    STICKY_HEADER,
    "header",
    "Calls with the same key go to the same deployment, while it takes them.",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
_PROBLEMS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)

type _Request = ChatCompletionRequest | EmbeddingsRequest | ResponsesRequest


def _described(path: str, summary: str, body: type[_Request]) -> Operation:
    return Operation(
        method="POST",
        path=path,
        summary=summary,
        body=body,
        parameters=(_STICKY,),
        responses={HTTPStatus.OK: ANY_JSON},
        events=body is not EmbeddingsRequest,
        response_headers={
            "x-request-id": "The id that the model's server was given.",
            "x-sluice-deployment": "The deployment that answered.",
        },
        problems=_PROBLEMS,
        error_model=ErrorBody,
    )


@operation(_described("/v1/chat/completions", "A chat completion.", ChatCompletionRequest))
@bp.function_name("chat_completions")
@bp.route("v1/chat/completions", methods=["POST"])
@bp.generic_input_binding(**HUB_BINDING)
@openai_door
async def chat_completions(req: Request, hub: str) -> Response:
    return await _answer(req, hub, Task.CHAT, ChatCompletionRequest)


@operation(_described("/v1/embeddings", "Embeddings.", EmbeddingsRequest))
@bp.function_name("embeddings")
@bp.route("v1/embeddings", methods=["POST"])
@bp.generic_input_binding(**HUB_BINDING)
@openai_door
async def embeddings(req: Request, hub: str) -> Response:
    return await _answer(req, hub, Task.EMBEDDINGS, EmbeddingsRequest)


@operation(_described("/v1/responses", "A response, for plain text.", ResponsesRequest))
@bp.function_name("responses")
@bp.route("v1/responses", methods=["POST"])
@bp.generic_input_binding(**HUB_BINDING)
@openai_door
async def responses(req: Request, hub: str) -> Response:
    return await _answer(req, hub, Task.RESPONSES, ResponsesRequest)


async def _answer(req: Request, hub: str, task: Task, shape: type[_Request]) -> Response:
    parts = wiring.parts()
    parts.share_by(hub)
    request = await read_json(req, shape, parts.limits.request_bytes)
    call, scope = ModelCall(request.model, task, request.payload()), _scope(req)
    if request.stream:
        return await unless_left(req, _begun(req, parts.endpoints, call, scope))
    answer = await unless_left(req, parts.endpoints.invoke(call, scope))
    return Response(
        to_json(answer.body), headers=_headers(answer.attempt), media_type=JSON_MEDIA_TYPE
    )


async def _begun(
    req: Request, endpoints: Endpoints, call: ModelCall, scope: CallScope
) -> EventStream:
    """The answer once its first event is there: until then an error has its own status."""
    stream = await endpoints.stream(call, scope)
    events = aiter(stream)
    first = await anext(events, b"")

    def tell(error: Exception) -> bytes:
        return error_event(noted(req, error))

    return EventStream(Events(first, events, stream.aclose, tell), _headers(scope.attempts[-1]))


def _headers(attempt: Attempt) -> dict[str, str]:
    return {"x-request-id": attempt.request_id, "x-sluice-deployment": attempt.deployment}


def _scope(req: Request) -> CallScope:
    return CallScope(
        job_id=f"call_{secrets.token_hex(12)}",
        tenant=DEFAULT_TENANT,
        patience=PATIENCE_SECONDS,
        sticky_key=req.headers.get(STICKY_HEADER),
    )
