"""What the integration tests run against: one local stack for the whole session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from devhost.stack.running import Stack
from devhost.stack.running import stack as running_stack
from flows.registry import Flows
from tests.integration.batch_endpoint import ScriptedBatch, scripted_batch
from tests.integration.scripted_endpoint import DEPLOYMENT, ScriptedEndpoint, scripted_endpoint
from tests.integration.tenants_lab import TenantsLab, tenants_lab

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
async def scripted() -> AsyncIterator[ScriptedEndpoint]:
    """The endpoint of the model `scripted`, which the flow `scripted` asks."""
    async with scripted_endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
async def batch() -> AsyncIterator[ScriptedBatch]:
    """The batch endpoint of the model `remote`, which the flow `remote` asks."""
    async with scripted_batch() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, scripted: ScriptedEndpoint, batch: ScriptedBatch
) -> AsyncIterator[Stack]:
    """The whole stack: `.http`, `.api_key`, `.blob`, `.endpoints`, `.endpoint_keys`, `.pids`.

    Besides the shipped flows it has those of tests/apps/flows.
    """
    folder = tmp_path_factory.mktemp("app")
    deployments = folder / "deployments.yaml"
    shipped = (ROOT / "deployments.yaml").read_text()
    deployments.write_text(shipped + DEPLOYMENT.format(url=scripted.url) + batch.deployment)
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("SLUICE_FLOWS", str(link_flows(folder / "flows")))
        settings.setenv("SLUICE_DEPLOYMENTS", str(deployments))
        async with running_stack() as running:
            yield running


def link_flows(folder: Path) -> Path:
    """A folder of the shipped flows and those of tests/apps/flows."""
    folder.mkdir()
    for flow in [*(ROOT / "flows").iterdir(), *(ROOT / "tests" / "apps" / "flows").iterdir()]:
        if flow.name != "adapters" and flow.is_dir() and not flow.name.startswith("_"):
            (folder / flow.name).symlink_to(flow)
    assert not Flows.load(folder).broken
    return folder


@pytest.fixture(scope="session")
async def tenants(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TenantsLab]:
    """A stack that knows tenants: one for all tests that change nothing of it."""
    async with tenants_lab(tmp_path_factory.mktemp("tenants")) as made:
        yield made


@pytest.fixture(scope="session")
async def api(stack: Stack) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with the stack's key."""
    headers = {"x-functions-key": stack.api_key}
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(stack.http, headers=headers, timeout=timeout) as session:
        yield session
