"""The gateway on loopback: who is let in, which paths there are, what an SDK gets to see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from contracts.calls import ModelAnswer, ModelCall, Task
from contracts.errors import CallFailed, CallRejected, FlowFailed, InvalidRequest, NoCapacity
from contracts.flows import FlowInfo, FlowRun
from flows.adapters.calls import ModelCalls
from flows.adapters.model_gateway import RUN_HEADER, ModelGateway
from tests.unit.flows_fakes import FakeModels, answered

CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def info(*models: str, name: str = "flow") -> FlowInfo:
    return FlowInfo(
        name=name, kind="promptflow_dag", description="", input_schema={}, models=list(models)
    )


@pytest.fixture
async def gateway() -> AsyncIterator[ModelGateway]:
    gateway = ModelGateway()
    yield gateway
    await gateway.close()


class Client:
    """Posts to a gateway."""

    def __init__(self, gateway: ModelGateway, key: str, header: str = "Authorization") -> None:
        self.gateway = gateway
        self.headers = {header: f"Bearer {key}" if header == "Authorization" else key}

    async def post(
        self, path: str, body: object = None, **headers: str
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        url = await self.gateway.start() + path
        async with (
            aiohttp.ClientSession(headers=self.headers) as session,
            session.post(url, json=CHAT if body is None else body, headers=headers) as response,
        ):
            return response.status, await response.json(), dict(response.headers)


@pytest.mark.parametrize(
    ("path", "task"),
    [
        ("/models/m/v1/chat/completions", Task.CHAT),
        ("/models/m/v1/embeddings", Task.EMBEDDINGS),
        ("/models/m/openai/deployments/any/chat/completions?api-version=1", Task.CHAT),
        ("/models/m/openai/deployments/any/embeddings", Task.EMBEDDINGS),
        ("/models/m/chat/completions", Task.CHAT),
        ("/models/m/embeddings", Task.EMBEDDINGS),
        ("/models/m/score", Task.SCORE),
    ],
)
async def test_paths(gateway: ModelGateway, path: str, task: Task) -> None:
    models = FakeModels(m={"ok": True})
    with gateway.admit(ModelCalls(info("m"), models.run())) as admission:
        body = {**CHAT, "model": "whatever", "stream": False}
        assert (await Client(gateway, admission.key).post(path, body))[:2] == (200, {"ok": True})
    sent = body if task is Task.SCORE else CHAT
    assert models.calls == [ModelCall("m", task, sent)]


async def test_a_models_name_may_hold_a_slash(gateway: ModelGateway) -> None:
    models = FakeModels()
    with gateway.admit(ModelCalls(info("a/b:c"), models.run())) as admission:
        client = Client(gateway, admission.key)
        assert (await client.post("/models/a%2Fb%3Ac/v1/chat/completions"))[0] == 200
    assert models.calls[0].model == "a/b:c"


@pytest.mark.parametrize("header", ["Authorization", "api-key"])
async def test_a_key_opens_for_its_run_only(gateway: ModelGateway, header: str) -> None:
    with gateway.admit(ModelCalls(info("m"), FakeModels().run())) as admission:
        client = Client(gateway, admission.key, header)
        assert (await client.post("/models/m/v1/chat/completions"))[0] == 200
    status, body, headers = await client.post("/models/m/v1/chat/completions")
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert headers["x-should-retry"] == "false"
    assert (await Client(gateway, "").post("/models/m/score"))[0] == 401


async def test_a_flows_own_key_needs_a_run_of_the_flow(gateway: ModelGateway) -> None:
    models, client = FakeModels(), Client(gateway, gateway.flow_key("flow"))
    path = "/models/m/v1/chat/completions"
    with (
        gateway.admit(ModelCalls(info("m"), models.run())) as mine,
        gateway.admit(ModelCalls(info("m", name="other"), models.run())) as another,
    ):

        async def status(header: str) -> int:
            return (await client.post(path, None, **{RUN_HEADER: header}))[0]

        assert await status(json.dumps({"root_run_id": mine.run_id})) == 200
        for header in (
            json.dumps({"root_run_id": another.run_id}),
            json.dumps({"root_run_id": 4}),
            json.dumps([]),
            "{",
        ):
            assert await status(header) == 401
        refused = await client.post(path)
    assert refused[1]["error"]["code"] == "key_of_no_run"
    assert len(models.calls) == 1


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (CallRejected("Too long."), 400, "model_rejected_request"),
        (CallFailed("All failed."), 424, "model_call_failed"),
        (NoCapacity("Busy.", retry_at=datetime.now(UTC)), 424, "no_capacity"),
        (KeyError("a bug"), 424, "internal_error"),
    ],
)
async def test_errors_are_openais_and_the_original_is_kept(
    gateway: ModelGateway, error: Exception, status: int, code: str
) -> None:
    calls = ModelCalls(info("m"), FakeModels(m=error).run())
    with gateway.admit(calls) as admission:
        answer = await Client(gateway, admission.key).post("/models/m/v1/chat/completions")
    assert (answer[0], answer[1]["error"]["code"]) == (status, code)
    assert answer[2]["x-should-retry"] == "false"
    assert calls.error is error
    assert "a bug" not in json.dumps(answer[1])


async def test_a_failed_call_tells_its_own_status_in_azure_mls_header(
    gateway: ModelGateway,
) -> None:
    error = NoCapacity("Busy.", retry_at=datetime.now(UTC))
    with gateway.admit(ModelCalls(info("m"), FakeModels(m=error).run())) as admission:
        answer = await Client(gateway, admission.key).post("/models/m/score", {})
    assert answer[1]["error"]["message"] == "Busy."
    assert answer[2]["ms-azureml-model-error-statuscode"] == "429"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/models/m/v1/chat/completions", {**CHAT, "stream": True}, 400, "stream_unsupported"),
        ("/models/m/v1/embeddings", ["a"], 400, "invalid_request"),
        ("/models/m/v1/images", {}, 404, "not_found"),
    ],
)
async def test_what_it_does_not_take(
    gateway: ModelGateway, path: str, body: object, status: int, code: str
) -> None:
    models = FakeModels()
    with gateway.admit(ModelCalls(info("m"), models.run())) as admission:
        answer = await Client(gateway, admission.key).post(path, body)
    assert (answer[0], answer[1]["error"]["code"], models.calls) == (status, code, [])


async def test_a_body_that_is_not_json(gateway: ModelGateway) -> None:
    with gateway.admit(ModelCalls(info("m"), FakeModels().run())) as admission:
        url = await gateway.start() + "/models/m/score"
        async with (
            aiohttp.ClientSession(headers={"api-key": admission.key}) as session,
            session.post(url, data=b"{") as response,
        ):
            assert (response.status, (await response.json())["error"]["code"]) == (
                400,
                "invalid_json",
            )


async def test_a_model_that_the_flow_does_not_name(gateway: ModelGateway) -> None:
    models = FakeModels()
    calls = ModelCalls(info("m"), models.run())
    with gateway.admit(calls) as admission:
        answer = await Client(gateway, admission.key).post("/models/other/score", {})
    assert (answer[0], models.calls) == (424, [])
    assert isinstance(calls.error, FlowFailed)
    assert "calls model 'other', which its files do not name; they name m." in calls.error.detail


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_large_body(gateway: ModelGateway) -> None:
    models = FakeModels(m={})
    with gateway.admit(ModelCalls(info("m"), models.run())) as admission:
        await Client(gateway, admission.key).post("/models/m/score", {"text": "a" * 20_000_000})
    assert len(models.calls) == 1


speaker: ContextVar[str] = ContextVar("speaker", default="nobody")


async def test_a_call_runs_in_the_context_of_its_run(gateway: ModelGateway) -> None:
    async def invoke(call: ModelCall) -> ModelAnswer:
        return answered(call, speaker.get())

    speaker.set("the run")
    with gateway.admit(ModelCalls(info("m"), FlowRun(invoke=invoke))) as admission:
        answer = await Client(gateway, admission.key).post("/models/m/score", {})
    assert answer[1] == "the run"


class Hanging:
    """A model that does not answer; it notes when a call begins and when it is cancelled."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, call: ModelCall) -> ModelAnswer:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError


async def test_calls_end_with_their_run(gateway: ModelGateway) -> None:
    model = Hanging()
    with gateway.admit(ModelCalls(info("m"), FlowRun(invoke=model))) as admission:
        calling = asyncio.create_task(Client(gateway, admission.key).post("/models/m/score", {}))
        await model.begun.wait()
    answer = await calling
    assert (answer[0], answer[1]["error"]["code"]) == (401, "run_ended")
    assert model.cancelled.is_set()


async def test_a_caller_that_gives_up_ends_its_call(gateway: ModelGateway) -> None:
    model = Hanging()
    with gateway.admit(ModelCalls(info("m"), FlowRun(invoke=model))) as admission:
        calling = asyncio.create_task(Client(gateway, admission.key).post("/models/m/score", {}))
        await model.begun.wait()
        calling.cancel()
        await asyncio.wait_for(model.cancelled.wait(), 60)


async def test_it_starts_once_and_again_after_closing(gateway: ModelGateway) -> None:
    urls = await asyncio.gather(*(gateway.start() for _ in range(20)))
    assert len(set(urls)) == 1
    assert urls[0].startswith("http://127.0.0.1:")
    await gateway.close()
    await gateway.close()
    assert await gateway.start()


async def test_a_model_is_asked_for_only_where_there_is_one() -> None:
    models = FakeModels()
    with pytest.raises(InvalidRequest):
        ModelCalls(info("a", "b"), models.run(model="c"))
    with pytest.raises(InvalidRequest):
        ModelCalls(info(), models.run(model="c"))
