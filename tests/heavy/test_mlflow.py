"""The mlflow protocol against MLflow's own scoring server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from pydantic import JsonValue

from contracts.calls import Task, Usage
from contracts.errors import CallRejected, EndpointUnusable
from devhost.setup.environments import MLFLOW
from devhost.stack.child import ChildSpec
from devhost.stack.network import free_port
from devhost.stack.probes import HttpOk
from endpoints.protocols.mlflow import Mlflow, MlflowSettings
from tests.heavy.servers import Client, install, new_scope, serving

pytestmark = pytest.mark.heavy

# MLflow finds its server on PATH, and would report what is used.
ENVIRONMENT = {
    "PATH": os.pathsep.join([str(MLFLOW.python.parent), os.environ.get("PATH", "")]),
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}


@pytest.fixture(scope="module")
async def ports(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, int]]:
    """Both models' servers: their ports."""
    install(request.config, MLFLOW)
    folder = tmp_path_factory.mktemp("mlflow")
    saved = subprocess.run(
        [MLFLOW.python, Path(__file__).with_name("mlflow_models.py"), folder],
        env={**os.environ, **ENVIRONMENT},
        check=False,
        capture_output=True,
        text=True,
    )
    assert saved.returncode == 0, saved.stderr
    ports = {"scores": free_port(), "chat": free_port()}
    async with serving(server("scores", ports), folder), serving(server("chat", ports), folder):
        yield ports


def server(model: str, ports: dict[str, int]) -> ChildSpec:
    port = ports[model]
    command = [str(MLFLOW.python), "-m", "mlflow", "models", "serve", "--model-uri", model]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    return ChildSpec(model, command, HttpOk(port, "/ping"), ENVIRONMENT)


@pytest.fixture
async def client(ports: dict[str, int]) -> AsyncIterator[Client]:
    client = Client(
        scores={"protocol": "mlflow", "url": f"http://127.0.0.1:{ports['scores']}"},
        chat={"protocol": "mlflow", "url": f"http://127.0.0.1:{ports['chat']}"},
        elsewhere={"protocol": "mlflow", "url": f"http://127.0.0.1:{ports['scores']}/elsewhere"},
    )
    yield client
    await client.aclose()


@pytest.mark.parametrize(
    ("payload", "predictions"),
    [
        ({"dataframe_split": {"columns": ["x"], "data": [[1], [2]]}}, [2, 4]),
        ({"dataframe_records": [{"x": 1.5}]}, [3]),
        ({"instances": [{"x": 1.5}, {"x": 2}]}, [3, 4]),
        ({"inputs": {"x": [1.5, 2]}}, [3, 4]),
        ({"inputs": {"x": [1.5, 2]}, "params": {"factor": 10}}, [15, 20]),
    ],
)
async def test_scores(client: Client, payload: JsonValue, predictions: list[float]) -> None:
    answer = await client.ask("scores", payload)
    assert answer.body == {"predictions": predictions}
    assert answer.attempt.usage == Usage(requests=1)


async def test_a_chat(client: Client) -> None:
    answer = await client.ask("chat", {"messages": [{"role": "user", "content": "é"}]}, Task.CHAT)
    assert isinstance(answer.body, dict)
    assert answer.body["choices"] == [{"message": {"role": "assistant", "content": "é"}}]
    assert answer.attempt.usage == Usage(input_tokens=3, output_tokens=2, requests=1)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"inputs": {"y": [1.5]}}, "INVALID_PARAMETER_VALUE"),
        ({"inputs": {"x": [1.5]}, "params": {"factor": "much"}}, "INVALID_PARAMETER_VALUE"),
        ({"inputs": {"x": [-1.5]}}, "BAD_REQUEST"),
    ],
)
async def test_errors(client: Client, payload: JsonValue, code: str) -> None:
    scope = new_scope()
    with pytest.raises(CallRejected) as raised:
        await client.ask("scores", payload, scope=scope)
    (attempt,) = scope.attempts
    assert (attempt.status, attempt.reason) == (400, f"HTTP 400 ({code})")
    assert "prompt" not in raised.value.detail


async def test_a_wrong_address(client: Client) -> None:
    with pytest.raises(EndpointUnusable, match="HTTP 404"):
        await client.ask("elsewhere", {"inputs": [1]})


async def test_health(ports: dict[str, int]) -> None:
    fields = {"name": "d", "protocol": "mlflow", "url": f"http://127.0.0.1:{ports['scores']}"}
    probe = Mlflow(MlflowSettings.model_validate(fields)).health()
    assert probe is not None
    async with (
        aiohttp.ClientSession() as session,
        session.request(probe.method, probe.url, headers=probe.headers) as response,
    ):
        assert response.status == 200
