"""A job whose model works longer than a step: begun once, looked at on a timer, cancelled too."""

from __future__ import annotations

import asyncio
import uuid

from contracts.calls import CallScope, ModelCall, Task
from contracts.errors import CallPending
from endpoints import Endpoints
from endpoints.settings import Settings
from tests.integration.batch_endpoint import WORKSPACE, ScriptedBatch
from tests.integration.jobs_client import ACCEPTED, ended, look, submit, until


async def start(api, *ends: str, looks: int = 1, **fields) -> tuple[str, str]:
    script = uuid.uuid4().hex
    given = {"script": script, "ends": list(ends), "looks": looks}
    status, _, record = await submit(api, "remote", given, **fields)
    assert status in ACCEPTED, record
    return record["id"], script


async def test_a_job_ends_with_what_the_batch_job_wrote(api, batch: ScriptedBatch):
    job_id, script = await start(api, "Completed", looks=3)
    record = await ended(api, job_id)
    assert record["status"] == "succeeded"
    [name] = batch.made[script]
    assert record["result"]["job"] == name
    assert record["result"]["outputs"]["score"].endswith(f"{name}/predictions.csv")
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["pending", "answered"]
    assert record["usage"]["requests"] == 1
    assert record["progress"]["waits"] >= 3
    assert batch.cancelled(script) == []


async def test_a_job_whose_submission_got_no_reply_finds_what_it_had_begun(api, batch):
    job_id, script = await start(api, "lost")
    record = await ended(api, job_id)
    assert record["status"] == "succeeded"
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["unknown", "answered"]
    assert len(batch.made[script]) == 1


async def test_a_batch_job_that_failed_is_begun_anew(api, batch):
    job_id, script = await start(api, "Failed", "Completed")
    record = await ended(api, job_id)
    assert record["status"] == "succeeded"
    assert len(set(batch.made[script])) == 2
    outcomes = [attempt["outcome"] for attempt in record["attempts"]]
    assert outcomes == ["pending", "failed", "pending", "answered"]


async def test_a_batch_job_that_somebody_cancelled_ends_the_job(api, batch):
    job_id, script = await start(api, "Canceled")
    record = await ended(api, job_id)
    assert (record["status"], record["error"]["code"]) == ("failed", "model_call_failed")
    assert "was cancelled" in record["error"]["detail"]
    assert len(batch.made[script]) == 1


async def test_an_at_most_once_job_begins_no_second_one(api, batch):
    job_id, script = await start(api, "Failed", "Completed", execution="at_most_once")
    record = await ended(api, job_id)
    assert (record["status"], record["error"]["code"]) == ("failed", "outcome_unknown")
    assert len(batch.made[script]) == 1


async def test_a_cancelled_job_cancels_its_batch_job(api, batch):
    job_id, script = await start(api, "never")
    while not batch.made.get(script):
        await asyncio.sleep(0.05)
    await until(api, job_id, {"running"})
    while (await look(api, job_id))["progress"]["waits"] == 0:  # the handle is on record
        await asyncio.sleep(0.05)
    async with api.delete(f"/v1/jobs/{job_id}") as response:
        assert response.status in ACCEPTED
    assert (await ended(api, job_id))["status"] == "cancelled"
    async with asyncio.timeout(120):
        while batch.cancelled(script) != batch.made[script]:
            await asyncio.sleep(0.05)


async def test_an_expired_job_cancels_its_batch_job(api, batch):
    job_id, script = await start(api, "never", deadline="PT10S")
    record = await ended(api, job_id)
    assert record["status"] == "expired"
    async with asyncio.timeout(120):
        while batch.cancelled(script) != batch.made[script]:
            await asyncio.sleep(0.05)


async def test_the_same_over_plain_sockets_without_a_job(batch: ScriptedBatch):
    deployment = {
        "name": "batch-1",
        "protocol": "aml_batch",
        "url": f"{batch.origin}/jobs",
        "workspace": WORKSPACE,
        "management_url": batch.origin,
    }
    endpoints = Endpoints(
        Settings.model_validate({"models": {"remote": {"deployments": [deployment]}}})
    )
    script = uuid.uuid4().hex
    payload = {"inputs": {"script": script, "ends": "Completed", "looks": 2}}
    call = ModelCall("remote", Task.SCORE, payload)
    handles = {}
    answer = None
    while answer is None:
        scope = CallScope("job-of-no-queue", "t", handles=handles)
        try:
            answer = await endpoints.invoke(call, scope)
        except CallPending:
            handles = scope.handles
    assert answer.body["status"] == "Completed"
    assert len(batch.made[script]) == 1
    await endpoints.aclose()
