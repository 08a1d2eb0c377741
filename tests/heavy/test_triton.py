"""The triton protocol against a real Triton server, with models in Python on the CPU."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from contracts.calls import CallScope, JsonObject
from contracts.errors import (
    CallFailed,
    CallRejected,
    EndpointUnusable,
    NoCapacity,
    SluiceError,
)
from devhost.setup.environments import TRITON
from devhost.stack.child import ChildSpec
from devhost.stack.network import free_port
from devhost.stack.probes import HttpOk
from endpoints.protocols.triton import Triton, TritonSettings
from tests.heavy.servers import Client, install, new_scope, serving, skipped_where_missing
from tests.heavy.triton_python import find_shared_python, libraries

pytestmark = pytest.mark.heavy

SECONDS_TO_START = 90
FP32 = {"a": "FP32", "b": "FP32"}


@pytest.fixture(scope="module")
async def url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    with skipped_where_missing():
        python = find_shared_python()
    install(request.config, TRITON, python)
    folder = tmp_path_factory.mktemp("triton")
    port = free_port()
    models = Path(__file__).with_name("triton_models.py")
    spec = ChildSpec(
        name="triton",
        command=[str(TRITON.python), str(models), str(port), str(folder / "workspace")],
        # The last of its models to be bound.
        ready=HttpOk(port, "/v2/models/slow/ready"),
        environment={
            "LD_LIBRARY_PATH": libraries(str(TRITON.python)),
            "TMPDIR": str(folder),
        },
        ready_seconds=SECONDS_TO_START,
    )
    async with serving(spec, folder):
        yield f"http://127.0.0.1:{port}"


def deployment(url: str, model: str, **fields: Any) -> JsonObject:
    return {"protocol": "triton", "url": url, "model": model, **fields}


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    client = Client(
        json=deployment(url, "add", datatypes=FP32),
        binary=deployment(url, "add", datatypes=FP32, binary=True),
        first=deployment(url, "add", datatypes=FP32, model_version=1),
        ninth=deployment(url, "add", datatypes=FP32, model_version=9),
        unknown=deployment(url, "nothing", datatypes=FP32),
        echo=deployment(url, "echo", binary=True, datatypes=dict(ECHO_DATATYPES)),
        fail=deployment(url, "fail", datatypes=FP32),
        nan=deployment(url, "not_a_number", datatypes=FP32),
        binary_nan=deployment(url, "not_a_number", datatypes=FP32, binary=True),
        slow=deployment(url, "slow", datatypes=FP32),
    )
    yield client
    await client.aclose()


ECHOED: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "UINT8": [0, 2**8 - 1],
    "UINT16": [0, 2**16 - 1],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-(2**7), 2**7 - 1],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [-1.5, 65504],
    "FP32": [-1.5, 2.0**127],
    "FP64": [-0.1, 1e300],
    "BYTES": ["é", "two words"],
}
ECHO_DATATYPES = {name: name for name in ECHOED}


def data(body: Any) -> dict[str, Any]:
    return {output["name"]: output["data"] for output in body["outputs"]}


async def ending(client: Client, model: str, payload: Any, of: CallScope) -> SluiceError:
    with pytest.raises(SluiceError) as raised:
        await client.ask(model, payload, scope=of)
    assert "prompt" not in raised.value.detail
    return raised.value


@pytest.mark.parametrize("model", ["json", "binary", "first"])
async def test_plain_tensors(client: Client, model: str) -> None:
    answer = await client.ask(model, {"a": [[1, 2], [3, 4]], "b": [[0.5, 0], [0, 0.5]]})
    assert data(answer.body) == {"sum": [[1.5, 2], [3, 4.5]]}


@pytest.mark.parametrize("model", ["json", "binary"])
async def test_a_request_of_the_protocol(client: Client, model: str) -> None:
    inputs = [
        {"name": name, "shape": [1, 2], "datatype": "FP32", "data": [1, 2]} for name in ("a", "b")
    ]
    answer = await client.ask(model, {"id": "7", "inputs": inputs, "outputs": [{"name": "sum"}]})
    assert isinstance(answer.body, dict)
    assert answer.body["id"] == "7"
    assert data(answer.body) == {"sum": [[2, 4]]}


async def test_every_datatype_in_binary_form(client: Client) -> None:
    answer = await client.ask("echo", {name: [values] for name, values in ECHOED.items()})
    assert data(answer.body) == {f"{name}_OUT": [values] for name, values in ECHOED.items()}


async def test_files(client: Client) -> None:
    inputs = [
        {"name": name, "shape": [1, 1], "datatype": name, "data": values[:1]}
        for name, values in ECHOED.items()
        if name != "BYTES"
    ]
    image = {"name": "BYTES", "shape": [1, 1], "datatype": "BYTES", "data": ["/9j/"]}
    image["parameters"] = {"content_type": "base64"}
    answer = await client.ask("echo", {"inputs": [*inputs, image]})
    assert data(answer.body)["BYTES_OUT"] == [["/9j/"]]


@pytest.mark.parametrize("model", ["unknown", "ninth"])
async def test_an_unknown_model(client: Client, model: str) -> None:
    of = new_scope()
    assert isinstance(await ending(client, model, {"a": [[1]]}, of), EndpointUnusable)
    assert of.attempts[0].reason == "HTTP 404 (unknown model)"


async def test_a_request_that_is_not_understood(client: Client) -> None:
    of = new_scope()
    broken = {"name": "a", "shape": [1, 3], "datatype": "FP32", "data": [1, 2]}
    assert isinstance(await ending(client, "json", {"inputs": [broken]}, of), CallRejected)
    assert of.attempts[0].reason == "HTTP 500 (request not understood)"


async def test_inputs_that_the_model_does_not_take(client: Client) -> None:
    of = new_scope()
    assert isinstance(await ending(client, "json", {"a": [[1, 2]]}, of), CallRejected)
    assert of.attempts[0].reason == "HTTP 400"


async def test_a_model_that_fails(client: Client) -> None:
    of = new_scope()
    assert isinstance(await ending(client, "fail", {"a": [[1, 2]]}, of), CallFailed)
    assert of.attempts[0].reason == "HTTP 500"


@pytest.mark.parametrize("model", ["nan", "binary_nan"])
async def test_an_answer_that_json_cannot_carry(client: Client, model: str) -> None:
    of = new_scope()
    assert isinstance(await ending(client, model, {"a": [[1, 2]]}, of), CallFailed)
    assert of.attempts[0].reason == "HTTP 200, answer is not JSON"


async def test_a_queue_that_is_full_or_too_slow_is_no_capacity(client: Client) -> None:
    """Of four at once one runs for 2 s, one waits in the queue until it is told to go, two find the
    queue full."""
    scopes = [new_scope() for _ in range(4)]
    calls = (client.ask("slow", {"a": [[2.0]]}, scope=of) for of in scopes)
    ended = await asyncio.gather(*calls, return_exceptions=True)
    refused = [error for error in ended if isinstance(error, Exception)]
    assert len(refused) < 4
    assert {type(error) for error in refused} == {NoCapacity}
    reasons = {attempt.reason for of in scopes for attempt in of.attempts}
    assert reasons >= {"HTTP 503 (queue full)", "HTTP 503 (timed out in the queue)"}


@pytest.mark.parametrize(
    ("fields", "status"),
    [({}, 200), ({"model_version": 1}, 200), ({"model_version": 9}, 400), ({"model": "no"}, 400)],
)
async def test_health(url: str, fields: dict[str, Any], status: int) -> None:
    given = {"name": "d", "protocol": "triton", "url": url, "model": "add", **fields}
    probe = Triton(TritonSettings.model_validate(given)).health()
    assert probe is not None
    async with (
        aiohttp.ClientSession() as session,
        session.request(probe.method, probe.url, headers=probe.headers) as response,
    ):
        assert response.status == status
