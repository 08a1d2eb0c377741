"""A line's request, made: a call of a model, or a run of a flow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from pydantic import JsonValue

from contracts.batches import BatchLine, Tokens
from contracts.calls import Attempt, CallScope, JsonObject, ModelAnswer, ModelCall, Task
from contracts.errors import FlowFailed
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
    flow_tokens: Tokens | None = None
    """Of a flow's calls."""


type Call = Callable[[BatchLine, CallScope], Awaitable[Answer]]
"""Makes a line's request. Raises what `Endpoints.invoke` and flows raise."""


def model_caller(endpoint: str, endpoints: Endpoints) -> Call:
    """How the lines of a batch for one of the OpenAI API's endpoints are made."""
    task = _TASKS[endpoint]

    async def call(line: BatchLine, scope: CallScope) -> Answer:
        payload: JsonObject = {name: value for name, value in line.body.items() if name != "model"}
        answer = await endpoints.invoke(ModelCall(str(line.body["model"]), task, payload), scope)
        return Answer(answer.body, answer.attempt.request_id)

    return call


def flow_caller(endpoints: Endpoints, flows: Flows, longest: timedelta) -> Call:
    """How the lines of a batch of jobs are made; `longest` is what a flow may take."""

    async def call(line: BatchLine, scope: CallScope) -> Answer:
        request = JobRequest.model_validate(line.body)
        flow = flows.check(request.flow, request.input, request.model)
        # What a model works on beyond this run is found again by the job's id.
        scope.job_id = f"{scope.job_id}/{line.custom_id}"
        scope.flow = request.flow
        if any(handle.open for handle in scope.handles.values()):
            await endpoints.look(scope.handles)

        async def invoke(call: ModelCall) -> ModelAnswer:
            return await endpoints.invoke(call, scope)

        try:
            async with asyncio.timeout(longest.total_seconds()):
                body = await flow.run(request.input, FlowRun(invoke=invoke, model=request.model))
        except TimeoutError:
            raise FlowFailed(
                f"The flow ran longer than {longest.total_seconds():.0f} seconds, which this"
                " service allows."
            ) from None
        request_id = scope.attempts[-1].request_id if scope.attempts else scope.job_id
        return Answer(body, request_id, _tokens(scope.attempts))

    return call


def _tokens(attempts: list[Attempt]) -> Tokens:
    return Tokens(
        input=sum(attempt.usage.input_tokens for attempt in attempts),
        output=sum(attempt.usage.output_tokens for attempt in attempts),
    )
