"""What real clients are tried against: a local stack, its models beside simulated deployments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import openai
import pytest

from devhost.inference.simulated import (
    Behaviour,
    Constant,
    Drop,
    RetryAfter,
    SimulatedClient,
    Status,
    simulated_process,
)
from devhost.stack.running import Stack
from devhost.stack.running import stack as running_stack

ROOT = Path(__file__).parents[2]
WORDS = 6
"""Of every chat answer of a simulated deployment."""
BEHAVIOURS = {
    "good": Behaviour(completion_tokens=WORDS),
    "full": Behaviour(capacity=0, retry_after=RetryAfter(seconds=600)),
    "relieved": Behaviour(completion_tokens=WORDS),
    "rejecting": Behaviour(failures=(Status(400),)),
    "steered": Behaviour(),
    "patchy": Behaviour(failures=(Status(400, probability=0.25),), completion_tokens=WORDS),
    "failing": Behaviour(failures=(Status(500),)),
    "healing": Behaviour(failures=(Status(500, seconds=1.0),), completion_tokens=WORDS),
    "breaking": Behaviour(failures=(Drop(when="during"),), completion_tokens=WORDS),
    "slow": Behaviour(latency=Constant(ms=4000), completion_tokens=WORDS),
}
"""Models by their names, each with one deployment, `NAME-1`."""
MODEL = """
  {name}:
    description: Simulated.
    deployments:
      - {{name: {name}-1, protocol: openai, url: "{url}/{name}/v1", model: any}}
"""


@pytest.fixture(scope="package")
def simulated() -> Iterator[str]:
    """Base URL of the simulated deployments: in a process of their own, as tests may block."""
    with simulated_process(*BEHAVIOURS, seed=7) as url:
        yield url


@pytest.fixture(scope="package")
async def steering(simulated: str) -> AsyncIterator[SimulatedClient]:
    async with aiohttp.ClientSession() as session:
        client = SimulatedClient(session, simulated)
        for name, behaviour in BEHAVIOURS.items():
            await client.set(name, behaviour)
        yield client


@pytest.fixture(scope="package")
async def stack(
    simulated: str, steering: SimulatedClient, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """With the shipped models and flows, and the models of BEHAVIOURS."""
    deployments = tmp_path_factory.mktemp("e2e") / "deployments.yaml"
    models = "".join(MODEL.format(name=name, url=simulated) for name in BEHAVIOURS)
    deployments.write_text((ROOT / "deployments.yaml").read_text() + models)
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("SLUICE_DEPLOYMENTS", str(deployments))
        async with running_stack() as running:
            yield running


@pytest.fixture(scope="package")
async def client(stack: Stack) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client, as docs/openai.md makes it; it retries nothing unless told to."""
    async with openai.AsyncOpenAI(
        base_url=f"{stack.http}/v1",
        api_key="unused",
        default_headers={"x-functions-key": stack.api_key},
        max_retries=0,
    ) as made:
        yield made
