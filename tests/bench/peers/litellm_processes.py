"""Starts LiteLLM, the gateway that benches compare with: its Router, its proxy.

As its makers recommend for production: LITELLM_MODE, errors alone in the log, a master key, one
worker a CPU (which is one: the other CPU is the model's and the callers'), its default server and
routing strategy. Prices come from its own file, so that nothing is fetched.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from devhost.setup.environments import PEERS, ROOT
from devhost.stack.child import Child, ChildSpec
from devhost.stack.network import HOST, free_port
from devhost.stack.probes import HttpOk
from tests.bench.peers.calls import MODEL, Metrics, Take

MASTER_KEY = "sk-bench"
ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
END_SECONDS = 10


def compile_peers() -> None:
    """Where PYTHONDONTWRITEBYTECODE is set, what pip did not compile is compiled at each import,
    and LiteLLM imports in its hot path."""
    packages = next((PEERS.folder / "lib").glob("python*/site-packages"))
    subprocess.run([str(PEERS.python), "-m", "compileall", "-q", str(packages)], check=False)


@asynccontextmanager
async def program(name: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program of this folder under the peers' Python, its input and output in pipes."""
    child = await asyncio.create_subprocess_exec(
        str(PEERS.python),
        "-m",
        f"tests.bench.peers.{name}",
        *arguments,
        cwd=ROOT,
        env=os.environ | ENVIRONMENT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
            try:
                await asyncio.wait_for(child.wait(), END_SECONDS)
            except TimeoutError:
                child.kill()
                await child.wait()


@asynccontextmanager
async def litellm_router(url: str) -> AsyncIterator[Take]:
    """Turns of the Router; the model is at this OpenAI base URL."""
    async with program("litellm_router", "--model", url) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        orders, results = child.stdin, child.stdout

        async def take(concurrent: int, seconds: float) -> Metrics:
            orders.write(f"{concurrent} {seconds}\n".encode())
            line = await results.readline()
            if not line:
                raise RuntimeError("the LiteLLM Router ended; it has said why on stderr")
            metrics: Metrics = json.loads(line)
            return metrics

        yield take


@asynccontextmanager
async def litellm_proxy(url: str) -> AsyncIterator[str]:
    """The base URL of a running proxy, to be called with MASTER_KEY."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        config = folder / "config.yaml"
        config.write_text(json.dumps(_config(url)))  # JSON is YAML
        command = [str(PEERS.python.with_name("litellm")), "--config", str(config)]
        command += ["--host", HOST, "--port", str(port), "--num_workers", "1"]
        spec = ChildSpec(
            "litellm",
            command,
            HttpOk(port, "/health/liveliness"),
            ENVIRONMENT,
            ready_seconds=180,
        )
        child = Child(spec, folder, folder / "litellm.log")
        await child.start()
        try:
            await child.wait_ready()
            yield f"http://{HOST}:{port}"
        finally:
            await child.stop()


def _config(url: str) -> dict[str, object]:
    parameters = {"model": f"openai/{MODEL}", "api_base": url, "api_key": "key"}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": parameters}],
        "general_settings": {"master_key": MASTER_KEY},
        "litellm_settings": {
            "request_timeout": 600,
            "set_verbose": False,
            "json_logs": True,
            "num_retries": 0,
        },
    }
