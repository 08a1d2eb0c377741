"""Real-time calls: whole answers, streams, and callers who leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

import wiring
from contracts.calls import Attempt, CallHandle, CallScope, ModelAnswer, ModelCall, Task, Usage
from contracts.errors import CallPending, InvalidRequest, NoCapacity, OutcomeUnknown
from flows.registry import Flows
from policies.quotas.admission import Quotas
from tests.unit.flows_fakes import write
from tests.unit.http_fakes import Caller, asked
from triggers.openai import realtime

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
FLOWS = {
    "count/flow.yaml": """
        description: Counts.
        model: m
        task: chat
        input: {type: object, properties: {text: {type: string}}, required: [text]}
        request: {messages: [{role: user, content: "{{ input.text }}"}]}
        response: {pieces: "{{ answer.pieces }}", of: "{{ input.text }}"}
    """
}
FLOW_CHAT = CHAT | {"model": "count"}


def attempt() -> Attempt:
    return Attempt(
        model="m",
        deployment="m-1",
        outcome="answered",
        started_at=datetime.now(UTC),
        seconds=0.1,
        request_id="r-1",
        usage=Usage(input_tokens=3, output_tokens=4, requests=1),
    )


@dataclass
class Model:
    """Stands in for Endpoints: gives its script, counting what is open."""

    script: list[Any] = field(default_factory=list)
    """Pieces; an exception among them is raised, an event waited for."""
    refusal: Exception | None = None
    asked_for: list[ModelCall] = field(default_factory=list)
    cancelled: list[dict[str, CallHandle]] = field(default_factory=list)
    open: int = 0
    models: tuple[str, ...] = ("m",)

    async def invoke(self, call: ModelCall, scope: CallScope) -> ModelAnswer:
        if self.refusal is not None:
            raise self.refusal
        self.asked_for.append(call)
        self.open += 1
        pieces = [piece async for piece in self]
        scope.attempts.append(attempt())
        return ModelAnswer({"pieces": len(pieces)}, attempt())

    async def cancel(self, handles: dict[str, CallHandle]) -> None:
        self.cancelled.append(handles)

    async def stream(self, call: ModelCall, scope: CallScope) -> Model:
        if self.refusal is not None:
            raise self.refusal
        self.asked_for.append(call)
        self.open += 1
        scope.attempts.append(attempt())
        return self

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for each in self.script:
                if isinstance(each, Exception):
                    raise each
                if isinstance(each, asyncio.Event):
                    await each.wait()
                else:
                    yield each
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        self.open = 0


@pytest.fixture
def model(monkeypatch, tmp_path) -> Model:
    model = Model()
    parts = SimpleNamespace(
        endpoints=model,
        flows=Flows.load(write(tmp_path, FLOWS)),
        limits=SimpleNamespace(request_bytes=1000, flow_time=timedelta(minutes=1)),
        share_by=lambda hub: None,
        screening=None,
        identities=None,
        quotas=Quotas({}),
    )
    monkeypatch.setattr(wiring, "parts", lambda: parts)
    return model


async def post(door: Any, body: object, caller: Caller | None = None, headers=None):
    request = asked("POST", body=json.dumps(body).encode(), caller=caller, headers=headers)
    return await door._function._func(request, hub="{}")


async def test_an_answer_comes_whole(model):
    response = await post(realtime.chat_completions, CHAT | {"stream": False, "top_p": 1})
    assert response.status_code == 200
    assert json.loads(response.body) == {"pieces": 0}
    assert response.headers["x-sluice-deployment"] == "m-1"
    assert response.headers["x-request-id"] == "r-1"
    assert model.asked_for == [
        ModelCall("m", Task.CHAT, {"messages": CHAT["messages"], "top_p": 1})
    ]


@pytest.mark.parametrize(
    ("door", "body", "task"),
    [
        (realtime.chat_completions, CHAT, Task.CHAT),
        (realtime.responses, {"model": "m", "input": "Hi"}, Task.RESPONSES),
    ],
)
async def test_a_stream_passes_through(model, door, body, task):
    model.script = [b"data: 1\n\n", b"data: [DONE]\n\n"]
    response = await post(door, body | {"stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-sluice-deployment"] == "m-1"
    assert await Caller().hear(response) == b"data: 1\n\ndata: [DONE]\n\n"
    assert model.asked_for[0].task is task
    assert model.open == 0


@pytest.mark.parametrize(
    ("error", "status", "type_"),
    [
        (NoCapacity("full", datetime.now(UTC) + timedelta(seconds=9)), 429, "rate_limit_error"),
        (InvalidRequest("embeddings are given whole"), 400, "invalid_request_error"),
        (OutcomeUnknown("broke off"), 504, "server_error"),
        (ValueError("a secret"), 500, "server_error"),
    ],
)
@pytest.mark.parametrize("when", ["asked", "read"])
async def test_an_error_before_the_first_event_has_its_own_status(
    model, error, status, type_, when
):
    if when == "asked":
        model.refusal = error
    else:
        model.script = [error]
    response = await post(realtime.chat_completions, CHAT | {"stream": True})
    assert response.status_code == status
    told = json.loads(response.body)["error"]
    assert told["type"] == type_
    assert "secret" not in told["message"]
    assert ("retry-after-ms" in response.headers) == (status == 429)


@pytest.mark.parametrize(
    ("error", "code"),
    [(OutcomeUnknown("It broke off."), "outcome_unknown"), (ValueError("x"), "internal_error")],
)
async def test_an_error_on_the_way_is_the_last_event(model, error, code, caplog):
    model.script = [b"data: 1\n\n", error]
    response = await post(realtime.chat_completions, CHAT | {"stream": True})
    caller = Caller()
    first, last, _ = (await caller.hear(response)).split(b"\n\n")
    assert first == b"data: 1"
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == code
    assert caller.heard[-1]["more_body"] is False
    assert model.open == 0
    assert len(caplog.records) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_who_leaves_before_the_answer_ends_the_call(model, stream):
    model.script = [asyncio.Event()]
    caller = Caller()
    posting = asyncio.create_task(
        post(realtime.chat_completions, CHAT | {"stream": stream}, caller)
    )
    while not model.open:
        await asyncio.sleep(0)
    caller.gone.set()
    assert (await posting).status_code == 499
    assert model.open == 0


async def test_a_model_that_nobody_knows_is_not_found(model):
    response = await post(realtime.chat_completions, CHAT | {"model": "nope"})
    assert response.status_code == 404
    told = json.loads(response.body)["error"]
    assert (told["type"], told["code"]) == ("invalid_request_error", "model_not_found")
    assert "m, count" in told["message"]


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_a_sticky_key_that_is_none(model, key):
    response = await post(realtime.chat_completions, CHAT, headers={"x-sluice-sticky-key": key})
    assert response.status_code == 400
    assert json.loads(response.body)["error"]["param"] == "x-sluice-sticky-key"


async def test_a_flow_answers_as_a_model_does(model):
    response = await post(realtime.chat_completions, FLOW_CHAT | {"temperature": 0})
    assert response.status_code == 200
    answer = json.loads(response.body)
    assert answer["model"] == "count"
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"pieces": 0, "of": "Hi"}
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert response.headers["x-sluice-deployment"] == "m-1"
    assert [call.model for call in model.asked_for] == ["m"]


async def test_a_flow_is_streamed_as_one_chunk(model):
    body = FLOW_CHAT | {"stream": True, "stream_options": {"include_usage": True}}
    response = await post(realtime.chat_completions, body)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = (await Caller().hear(response)).removesuffix(b"\n\n").split(b"\n\n")
    assert len(events) == 3


@pytest.mark.parametrize("door", [realtime.embeddings, realtime.responses])
async def test_flows_are_for_chats_alone(model, door):
    response = await post(door, {"model": "count", "input": "Hi"})
    assert response.status_code == 404


async def test_a_flow_that_fails_says_so_with_its_status(model):
    model.refusal = NoCapacity("full", datetime.now(UTC) + timedelta(seconds=9))
    response = await post(realtime.chat_completions, FLOW_CHAT | {"stream": True})
    assert response.status_code == 429
    assert "retry-after-ms" in response.headers


async def test_a_flow_is_ended_when_nobody_could_hear_its_answer(model, monkeypatch):
    monkeypatch.setattr(realtime, "LONGEST_FLOW_SECONDS", 0.01)
    model.script = [asyncio.Event()]
    response = await post(realtime.chat_completions, FLOW_CHAT)
    assert response.status_code == 504
    assert json.loads(response.body)["error"]["code"] == "deadline_exceeded"
    assert model.open == 0


@pytest.mark.parametrize("body", [CHAT, FLOW_CHAT])
async def test_a_model_that_outlasts_a_connection_is_for_jobs_alone(model, body):
    model.refusal = CallPending("d/1", datetime.now(UTC))
    response = await post(realtime.chat_completions, body)
    assert response.status_code == 400
    assert json.loads(response.body)["error"]["param"] == "background"
    assert len(model.cancelled) == 1


async def test_a_job_is_not_streamed(model):
    response = await post(realtime.chat_completions, CHAT | {"stream": True, "background": True})
    assert response.status_code == 400
    assert json.loads(response.body)["error"]["param"] == "stream"


async def test_a_wait_is_ignored_by_a_stream(model):
    model.script = [b"data: 1\n\n"]
    headers = {"Prefer": "wait=5"}
    response = await post(realtime.chat_completions, CHAT | {"stream": True}, headers=headers)
    assert await Caller().hear(response) == b"data: 1\n\n"
