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
from contracts.calls import Attempt, CallScope, ModelAnswer, ModelCall, Task
from contracts.errors import InvalidRequest, NoCapacity, OutcomeUnknown
from tests.unit.http_fakes import Caller, asked
from triggers.openai import realtime

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def attempt() -> Attempt:
    return Attempt(
        model="m",
        deployment="m-1",
        outcome="answered",
        started_at=datetime.now(UTC),
        seconds=0.1,
        request_id="r-1",
    )


@dataclass
class Model:
    """Stands in for Endpoints: gives its script, counting what is open."""

    script: list[Any] = field(default_factory=list)
    """Pieces; an exception among them is raised, an event waited for."""
    refusal: Exception | None = None
    asked_for: list[ModelCall] = field(default_factory=list)
    open: int = 0

    async def invoke(self, call: ModelCall, scope: CallScope) -> ModelAnswer:
        self.asked_for.append(call)
        self.open += 1
        pieces = [piece async for piece in self]
        return ModelAnswer({"pieces": len(pieces)}, attempt())

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
def model(monkeypatch) -> Model:
    model = Model()
    parts = SimpleNamespace(
        endpoints=model,
        limits=SimpleNamespace(request_bytes=1000),
        share_by=lambda hub: None,
    )
    monkeypatch.setattr(wiring, "parts", lambda: parts)
    return model


async def post(door: Any, body: object, caller: Caller | None = None):
    request = asked("POST", body=json.dumps(body).encode(), caller=caller)
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
