"""Real-time calls: straight through the router, without an orchestration.

What a body holds beyond the model's name is the model's to understand; it passes through. With
`"stream": true` the answer's events do too, as they arrive. A chat's model may be a flow. A caller
who would rather have a job than wait, or than hear that there is no room, says so: see background.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from http import HTTPStatus

import azure.durable_functions as df
from pydantic import JsonValue
from pydantic_core import from_json, to_json
from starlette.responses import Response

import wiring
from contracts.calls import Attempt, CallScope, JsonObject, ModelAnswer, ModelCall, Task
from contracts.errors import CallPending, DeadlineExceeded, InvalidRequest
from contracts.flows import FlowInfo, FlowRun
from contracts.identity import Role
from contracts.jobs import JobRecord, JobRequest
from contracts.names import HUB_BINDING
from contracts.openai import ChatCompletionRequest, EmbeddingsRequest, ErrorBody, ResponsesRequest
from contracts.problems import FieldProblem
from flows.adapters.plain import PLAIN_FLOWS
from telemetry import metrics
from triggers.door import JSON_MEDIA_TYPE, noted, read_json
from triggers.event_stream import Events, EventStream
from triggers.http import Request, unless_left
from triggers.job_state import IDEMPOTENCY_KEY
from triggers.openai.asked import Asked, Body
from triggers.openai.background import as_job, wanted
from triggers.openai.errors import error_event, openai_door
from triggers.openai.flow_model import completion, flow_input
from triggers.openai.headers import ANSWER_HEADERS, STICKY, attempt_headers, rate_headers
from triggers.openai.models import find
from triggers.openai.screened import flagged, screened, screened_for_flow
from triggers.operation import ANY_JSON, Operation, Parameter, operation
from wiring import Parts

bp = df.Blueprint()

LONGEST_FLOW_SECONDS = 220.0
"""Of a flow that a caller waits for: Azure's front ends give up on a request after 230 s."""

_PREFER = Parameter(
    "Prefer",
    "header",
    "`wait=N`: make the call a job; answer 200 when it ends within N seconds, else 202 with the"
    " job (RFC 7240). Ignored with `stream`.",
    {"type": "string"},
)
_PROBLEMS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


def _described(path: str, summary: str, body: type[Body]) -> Operation:
    return Operation(
        method="POST",
        path=path,
        role=Role.SUBMIT,
        summary=summary,
        body=body,
        parameters=(STICKY, _PREFER, IDEMPOTENCY_KEY),
        responses={HTTPStatus.OK: ANY_JSON, HTTPStatus.ACCEPTED: JobRecord},
        events=body is not EmbeddingsRequest,
        response_headers=ANSWER_HEADERS
        | {
            "Location": "Path of the job, where the call has become one.",
            "Retry-After": "Seconds after which to look at it again (202 only).",
            "Preference-Applied": "The preference that was honoured.",
        },
        problems=_PROBLEMS,
        error_model=ErrorBody,
    )


@operation(_described("/v1/chat/completions", "A chat completion.", ChatCompletionRequest))
@bp.function_name("chat_completions")
@bp.route("v1/chat/completions", methods=["POST"])
@bp.generic_input_binding(**HUB_BINDING)
@openai_door(Role.SUBMIT)
async def chat_completions(req: Request, hub: str) -> Response:
    return await _answer(req, hub, Task.CHAT, ChatCompletionRequest)


@operation(_described("/v1/embeddings", "Embeddings.", EmbeddingsRequest))
@bp.function_name("embeddings")
@bp.route("v1/embeddings", methods=["POST"])
@bp.generic_input_binding(**HUB_BINDING)
@openai_door(Role.SUBMIT)
async def embeddings(req: Request, hub: str) -> Response:
    return await _answer(req, hub, Task.EMBEDDINGS, EmbeddingsRequest)


@operation(_described("/v1/responses", "A response, for plain text.", ResponsesRequest))
@bp.function_name("responses")
@bp.route("v1/responses", methods=["POST"])
@bp.generic_input_binding(**HUB_BINDING)
@openai_door(Role.SUBMIT)
async def responses(req: Request, hub: str) -> Response:
    return await _answer(req, hub, Task.RESPONSES, ResponsesRequest)


async def _answer(req: Request, hub: str, task: Task, shape: type[Body]) -> Response:
    parts = wiring.parts()
    parts.share_by(hub)
    asked = Asked(req, parts, hub, task, await read_json(req, shape, parts.limits.request_bytes))
    flow = find(parts, req.identity, asked.body.model, flows=task is Task.CHAT)
    if flow is None:
        flags = await screened(asked)
        return flagged(await _answer_of_model(asked), flags)
    assert isinstance(asked.body, ChatCompletionRequest)
    given = flow_input(flow, asked.body.messages)
    flags = await screened_for_flow(asked, flow, given)
    return flagged(await _answer_of_flow(asked, flow, given), flags)


async def _answer_of_model(asked: Asked) -> Response:
    body, scope = asked.body, asked.scope()
    wish = wanted(asked)
    if wish is not None:
        job = JobRequest(
            flow=PLAIN_FLOWS[asked.task],
            input=body.payload(),
            model=body.model,
            sticky_key=scope.sticky_key,
        )
        return await as_job(asked, job, wish, lambda result, _: result)
    if body.stream:
        return await unless_left(asked.req, _begun(asked, scope))
    answer = await unless_left(asked.req, _invoked(asked.parts, asked.call, scope))
    headers = attempt_headers([answer.attempt]) | rate_headers(asked.standing)
    return Response(to_json(answer.body), headers=headers, media_type=JSON_MEDIA_TYPE)


async def _answer_of_flow(asked: Asked, flow: FlowInfo, input: JsonObject) -> Response:
    """A stream of it is one chunk: a flow gives its result whole."""
    body, scope, wish = asked.body, asked.scope(), wanted(asked)
    if wish is not None:

        def shown(result: bytes, attempts: list[Attempt]) -> bytes:
            return completion(flow.name, from_json(result), attempts).whole()

        job = JobRequest(flow=flow.name, input=input, sticky_key=scope.sticky_key)
        return await as_job(asked, job, wish, shown)
    result = await unless_left(asked.req, _ran(asked.parts, flow, input, scope))
    answer = completion(flow.name, result, scope.attempts)
    headers = attempt_headers(scope.attempts) | rate_headers(asked.standing)
    if not body.stream:
        return Response(answer.whole(), headers=headers, media_type=JSON_MEDIA_TYPE)
    options = body.payload().get("stream_options")
    with_usage = isinstance(options, dict) and options.get("include_usage") is True
    events = answer.events(with_usage=with_usage)
    return Response(events, headers=headers, media_type="text/event-stream")


async def _ran(parts: Parts, flow: FlowInfo, input: JsonObject, scope: CallScope) -> JsonValue:
    """The flow's result, while a caller waits for it."""
    scope.flow = flow.name
    run = FlowRun(invoke=partial(_invoked, parts, scope=scope))
    seconds = min(parts.limits.flow_time.total_seconds(), LONGEST_FLOW_SECONDS)
    try:
        async with asyncio.timeout(seconds):
            return await parts.flows.check(flow.name, input).run(input, run)
    except TimeoutError:
        raise DeadlineExceeded(
            f"Flow {flow.name!r} ran longer than {seconds:.0f} seconds, while its caller waited:"
            " send `background`: true."
        ) from None


async def _invoked(parts: Parts, call: ModelCall, scope: CallScope) -> ModelAnswer:
    """As `Endpoints.invoke`. What outlasts a connection is ended, since nobody would look at it."""
    try:
        return await parts.endpoints.invoke(call, scope)
    except CallPending as pending:
        await parts.endpoints.cancel(scope.handles)
        expected = "true: the model takes longer than a connection lasts"
        raise InvalidRequest(
            f"`background` is not as expected: {expected}.",
            [FieldProblem(field="background", expected=expected)],
        ) from pending


async def _begun(asked: Asked, scope: CallScope) -> EventStream:
    """The answer once its first event is there: until then an error has its own status."""
    began = time.monotonic()
    stream = await asked.parts.endpoints.stream(asked.call, scope)
    events = aiter(stream)
    first = await anext(events, b"")
    model = {"gen_ai.request.model": asked.body.model.partition("@")[0]}
    metrics.FIRST_TOKEN.record(time.monotonic() - began, model)

    def tell(error: Exception) -> bytes:
        return error_event(noted(asked.req, error))

    headers = attempt_headers(scope.attempts[-1:]) | rate_headers(asked.standing)
    return EventStream(Events(first, events, stream.aclose, tell), headers)
