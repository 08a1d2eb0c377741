"""kill -9 of the worker between a batch job's submission and its record: is it begun twice?"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest

from devhost.stack.plan import Options
from devhost.stack.running import Stack
from tests.faults.leftovers import clean_stack
from tests.integration.batch_endpoint import ScriptedBatch, scripted_batch
from tests.integration.conftest import ROOT
from tests.integration.jobs_client import ended, submit

PARTS = frozenset({"azurite", "hub", "host"})


@pytest.fixture(scope="module")
async def batch() -> AsyncIterator[ScriptedBatch]:
    async with scripted_batch() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, batch: ScriptedBatch
) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("app")
    (folder / "flows").mkdir()
    (folder / "flows" / "remote").symlink_to(ROOT / "tests" / "apps" / "flows" / "remote")
    (folder / "deployments.yaml").write_text(f"models:\n{batch.deployment}")
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("SLUICE_FLOWS", str(folder / "flows"))
        settings.setenv("SLUICE_DEPLOYMENTS", str(folder / "deployments.yaml"))
        async with clean_stack(Options(parts=PARTS), longest_delay_seconds=1.0) as running:
            yield running


async def killed_between(stack: Stack, batch: ScriptedBatch, execution: str) -> dict:
    """The record of a job whose worker dies once its batch job is taken, before it knows."""
    batch.hold = asyncio.Event()
    headers = {"x-functions-key": stack.api_key}
    async with aiohttp.ClientSession(stack.http, headers=headers) as api:
        given = {"script": execution, "ends": ["Completed"]}
        _, _, record = await submit(api, "remote", given, execution=execution)
        async with asyncio.timeout(180):
            while not batch.made.get(execution):
                await asyncio.sleep(0.02)
        os.kill(stack.pids["host"], signal.SIGKILL)
        batch.hold.set()
    # Over new connections: the old ones ended with the host.
    async with aiohttp.ClientSession(stack.http, headers=headers) as api:
        while True:
            try:
                return await ended(api, record["id"], within=600)
            except (aiohttp.ClientError, AssertionError) as error:
                if isinstance(error, AssertionError) and "is not in" in str(error):
                    raise
                await asyncio.sleep(0.1)


async def test_a_job_that_may_run_again_finds_what_it_had_begun(stack, batch):
    record = await killed_between(stack, batch, "at_least_once")
    assert record["status"] == "succeeded"
    assert len(batch.made["at_least_once"]) == 1
    assert record["result"]["job"] == batch.made["at_least_once"][0]


async def test_a_job_that_may_run_once_is_not_run_again(stack, batch):
    record = await killed_between(stack, batch, "at_most_once")
    assert (record["status"], record["error"]["code"]) == ("failed", "outcome_unknown")
    assert len(batch.made["at_most_once"]) == 1
