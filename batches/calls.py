"""A line's request, made: a call of a model, or a run of a flow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import JsonValue, ValidationError

from contracts.batches import BatchLine, TokenCounts
from contracts.calls import CallScope, JsonObject, ModelAnswer, ModelCall, Task
from contracts.errors import InvalidRequest
from contracts.flows import FlowRun
from contracts.jobs import JobRequest
from endpoints import Endpoints
from flows.registry import Flows

_TASKS = {
    "/v1/chat/completions": Task.CHAT,
    "/v1/embeddings": Task.EMBEDDINGS,
    "/v1/responses": Task.RESPONSES,
}


@dataclass(frozen=True, slots=True)
class Answer:
    body: JsonValue
    request_id: str
    tokens: TokenCounts


type Call = Callable[[BatchLine, CallScope], Awaitable[Answer]]
"""Makes a line's request. Raises what `Endpoints.invoke` and flows raise."""


def caller(endpoint: str, endpoints: Endpoints, flows: Flows) -> Call:
    """How the lines of a batch for this endpoint are made."""
    if endpoint not in _TASKS:
        return _job(endpoints, flows)
    task = _TASKS[endpoint]

    async def call(line: BatchLine, scope: CallScope) -> Answer:
        payload: JsonObject = {name: value for name, value in line.body.items() if name != "model"}
        answer = await endpoints.invoke(ModelCall(str(line.body["model"]), task, payload), scope)
        return Answer(answer.body, answer.attempt.request_id, _tokens(scope))

    return call


def _job(endpoints: Endpoints, flows: Flows) -> Call:
    async def call(line: BatchLine, scope: CallScope) -> Answer:
        request = job_request(line)
        flow = flows.check(request.flow, request.input, request.model)
        scope.execution = request.execution
        # What a model works on beyond this run is found again by the job's id.
        scope.job_id = f"{scope.job_id}/{line.custom_id}"

        async def invoke(call: ModelCall) -> ModelAnswer:
            return await endpoints.invoke(call, scope)

        body = await flow.run(request.input, FlowRun(invoke=invoke, model=request.model))
        request_id = scope.attempts[-1].request_id if scope.attempts else scope.job_id
        return Answer(body, request_id, _tokens(scope))

    return call


def job_request(line: BatchLine) -> JobRequest:
    """A line's body as a job. Raises InvalidRequest."""
    try:
        return JobRequest.model_validate(line.body)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise InvalidRequest(f"`body.{field}` is not as a job has it.") from None


def _tokens(scope: CallScope) -> TokenCounts:
    return TokenCounts(
        input_tokens=sum(attempt.usage.input_tokens for attempt in scope.attempts),
        output_tokens=sum(attempt.usage.output_tokens for attempt in scope.attempts),
    )
