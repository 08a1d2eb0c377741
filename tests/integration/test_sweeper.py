"""Jobs that make no progress, over the local stack: found, started again once, then failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from contracts.ids import new_job_id
from contracts.jobs import DEFAULT_TENANT, AcceptedJob, JobRequest
from devhost.stack.plan import Options
from devhost.stack.running import stack as running_stack
from stores.blobs import Container, StorageAccount
from stores.jobs import JobStore
from tests.integration.jobs_client import ended
from tests.integration.privacy_lab import HOLD, EchoModel, echo_model

PARTS = frozenset({"azurite", "hub", "host"})
WITHIN = 240.0
DEPLOYMENTS = """
models:
  chat: {{deployments: [{{name: chat-1, protocol: openai, url: "{url}", model: m}}]}}
  embed: {{deployments: [{{name: embed-1, protocol: openai, url: "{url}", model: m}}]}}
  classifier: {{deployments: [{{name: classifier-1, protocol: aml_online, url: "{url}/score"}}]}}
"""
SETTINGS = {"SLUICE_SWEEP": "* * * * * *", "SLUICE_STUCK_AFTER": "PT8S", "SLUICE_STUCK": "retry"}


@dataclass(frozen=True, slots=True)
class Lab:
    api: aiohttp.ClientSession
    model: EchoModel
    jobs: JobStore

    async def job(self, said: str) -> str:
        async with self.api.post("/v1/jobs", json=request(said)) as answer:
            assert answer.status == 202, await answer.text()
            return str((await answer.json())["id"])

    async def stuck(self) -> dict[str, Any]:
        async with self.api.get("/v1/operations/stuck") as answer:
            assert answer.status == 200, await answer.text()
            return dict(await answer.json())

    async def found(self, job_id: str, **expected: str) -> dict[str, Any]:
        """The job as it is listed, once it is as expected."""
        limit = time.monotonic() + WITHIN
        while time.monotonic() < limit:
            for each in (await self.stuck())["data"]:
                if each["id"] == job_id and expected.items() <= each.items():
                    return dict(each)
            await asyncio.sleep(0.1)
        raise AssertionError(await self.stuck())


def request(said: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": said}]
    return {"flow": "chat.completions", "model": "chat", "input": {"messages": messages}}


@pytest.fixture(scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    folder = tmp_path_factory.mktemp("sweeper")
    async with echo_model() as model:
        deployments = folder / "deployments.yaml"
        deployments.write_text(DEPLOYMENTS.format(url=model.url))
        with pytest.MonkeyPatch.context() as environment:
            for name, value in SETTINGS.items():
                environment.setenv(name, value)
            options = Options(parts=PARTS, deployments=deployments)
            async with (
                running_stack(options) as stack,
                StorageAccount(connection_string=stack.blob).open() as blobs,
                aiohttp.ClientSession(
                    stack.http, headers={"x-functions-key": stack.api_key}
                ) as api,
            ):
                yield Lab(api, model, JobStore(Container(lambda: blobs, "sluice-jobs")))


async def test_a_job_that_hangs_is_started_again_and_succeeds(lab: Lab):
    said = f"{HOLD} once"
    job = await lab.job(said)
    found = await lab.found(job, did="retried")
    assert (found["kind"], found["what"], found["tenant"]) == ("silent", "job", DEFAULT_TENANT)
    limit = time.monotonic() + WITHIN
    while sum(said in heard for heard in lab.model.heard) < 2:
        assert time.monotonic() < limit
        await asyncio.sleep(0.05)
    lab.model.release.set()
    record = await ended(lab.api, job)
    assert record["status"] == "succeeded"
    assert sum(said in heard for heard in lab.model.heard) == 2
    lab.model.release.clear()
    limit = time.monotonic() + WITHIN
    while any(each["id"] == job for each in (await lab.stuck())["data"]):
        assert time.monotonic() < limit
        await asyncio.sleep(0.1)


async def test_a_job_that_hangs_again_is_failed_with_a_reason(lab: Lab):
    said = f"{HOLD} always"
    job = await lab.job(said)
    record = await ended(lab.api, job, within=WITHIN)
    assert record["status"] == "failed"
    assert "no progress" in record["error"]["detail"]
    assert sum(said in heard for heard in lab.model.heard) == 2


async def test_a_job_whose_orchestration_is_lost_is_started(lab: Lab):
    accepted_at = datetime.now(UTC)
    job = AcceptedJob(
        id=new_job_id(accepted_at),
        tenant=DEFAULT_TENANT,
        created_at=accepted_at,
        deadline_at=None,
        request=JobRequest.model_validate(request("hello")),
    )
    await lab.jobs.put_request(job)
    limit = time.monotonic() + WITHIN
    status = 404
    while status == 404:
        assert time.monotonic() < limit
        await asyncio.sleep(0.2)
        async with lab.api.get(f"/v1/jobs/{job.id}") as answer:
            status = answer.status
    assert (await ended(lab.api, job.id))["status"] == "succeeded"


async def test_a_job_that_works_is_let_be(lab: Lab):
    job = await lab.job("hello")
    assert (await ended(lab.api, job))["status"] == "succeeded"
    listed = await lab.stuck()
    assert listed["policy"] == "retry"
    assert listed["swept_at"] is not None
    assert job not in {each["id"] for each in listed["data"]}
