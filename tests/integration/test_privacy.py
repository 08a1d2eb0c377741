"""Redaction and retention over the whole local stack."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.integration.jobs_client import ended
from tests.integration.privacy_lab import HOLD, PrivacyLab, privacy_lab
from tests.integration.queues_client import producer

# The SDK leaves its sockets' writers to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# The shipped flows name these models too.
DEPLOYMENTS = """
models:
  chat:
    deployments:
      - {{name: chat-1, protocol: openai, url: "{url}", model: m, personal_data: redacted}}
  open:
    deployments:
      - {{name: open-1, protocol: openai, url: "{url}", model: m}}
  closed:
    deployments:
      - {{name: closed-1, protocol: openai, url: "{url}", model: m, personal_data: refused}}
  spill:
    deployments:
      - {{name: spill-1, protocol: openai, url: "{url}", model: m, personal_data: refused}}
      - {{name: spill-2, protocol: openai, url: "{url}", model: m, priority: 2}}
  embed:
    deployments:
      - {{name: embed-1, protocol: openai, url: "{url}", model: m}}
  classifier:
    deployments:
      - {{name: classifier-1, protocol: openai, url: "{url}", model: m}}
"""
TENANTS = """
service_bus: {unsigned_tenant: research}
tenants:
  research:
    privacy:
      restore: true
      patterns: {badge: "EMP-[0-9]{6}"}
  sales: {}
  brief:
    privacy:
      retention: {requests: PT4S, results: PT2S, files: PT4S, batches: PT4S}
"""
TEXT = "Write to jane.doe@example.com about EMP-123456"
REDACTED = "Write to <EMAIL_1> about <BADGE_1>"
WITHIN = 180.0


@dataclass
class Callers:
    lab: PrivacyLab
    research: aiohttp.ClientSession
    sales: aiohttp.ClientSession
    brief: aiohttp.ClientSession


@pytest.fixture(scope="module")
async def it(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Callers]:
    folder = tmp_path_factory.mktemp("privacy")
    schedule = {"SLUICE_RETENTION_SCHEDULE": "* * * * * *"}
    async with (
        privacy_lab(folder, DEPLOYMENTS, TENANTS, **schedule) as lab,
        lab.caller(await lab.key("research")) as research,
        lab.caller(await lab.key("sales")) as sales,
        lab.caller(await lab.key("brief")) as brief,
    ):
        yield Callers(lab, research, sales, brief)


def chat(text: str = TEXT, model: str = "chat", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]} | fields


def chat_job(text: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"flow": "chat.completions", "model": "chat", "input": {"messages": messages}}


async def post(api: aiohttp.ClientSession, path: str, status: int = 200, **options: Any) -> Any:
    async with api.post(path, **options) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def ask(api: aiohttp.ClientSession, **fields: Any) -> str:
    body = await post(api, "/v1/chat/completions", json=chat(**fields))
    return str(body["choices"][0]["message"]["content"])


def heard(it: Callers) -> str:
    """What the model was told last."""
    return str(json.loads(it.lab.model.heard[-1])["messages"][0]["content"])


async def test_the_model_is_told_placeholders_and_the_caller_is_not(it: Callers):
    assert await ask(it.research) == f"You said: {TEXT}"
    assert heard(it) == REDACTED


async def test_each_tenant_has_its_own_rules(it: Callers):
    assert await ask(it.sales) == "You said: Write to <EMAIL_1> about EMP-123456"


async def test_a_model_that_may_be_told_is(it: Callers):
    assert await ask(it.research, model="open") == f"You said: {TEXT}"
    assert heard(it) == TEXT


async def test_a_streamed_answer_with_its_placeholders_in_pieces(it: Callers):
    said = ""
    async with it.research.post("/v1/chat/completions", json=chat(stream=True)) as response:
        assert response.status == 200
        async for line in response.content:
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    said += choice["delta"].get("content") or ""
    assert said == f"You said: {TEXT}"
    assert heard(it) == REDACTED


async def test_nobody_may_be_told(it: Callers):
    problem = await post(it.research, "/v1/chat/completions", 403, json=chat(model="closed"))
    assert problem["error"]["code"] == "personal_data_refused"
    assert "jane" not in json.dumps(problem)
    assert await ask(it.research, model="closed", text="Hi") == "You said: Hi"


async def test_a_call_goes_past_a_deployment_that_may_not_be_told(it: Callers):
    assert await ask(it.research, model="spill") == f"You said: {TEXT}"
    assert heard(it) == TEXT


async def test_a_job_and_a_message(it: Callers):
    request = chat_job(TEXT)
    job = await post(it.research, "/v1/jobs", 202, json=request)
    record = await ended(it.research, job["id"])
    assert record["result"]["choices"][0]["message"]["content"] == f"You said: {TEXT}"
    assert heard(it) == REDACTED
    async with producer(it.lab.stack.service_bus) as queue:
        reply = await queue.reply(await queue.send(request))
    assert reply["result"]["choices"][0]["message"]["content"] == f"You said: {TEXT}"
    assert heard(it) == REDACTED


async def test_a_batch(it: Callers):
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": chat()}
    batch = await run_batch(it.research, json.dumps(line).encode())
    async with it.research.get(f"/v1/files/{batch['output_file_id']}/content") as response:
        answer = json.loads(await response.read())
    said = answer["response"]["body"]["choices"][0]["message"]["content"]
    assert said == f"You said: {TEXT}"
    assert heard(it) == REDACTED


async def upload(api: aiohttp.ClientSession, data: bytes) -> Any:
    form = aiohttp.FormData({"purpose": "batch"})
    form.add_field("file", io.BytesIO(data), filename="in.jsonl")
    return await post(api, "/v1/files", data=form)


async def begin_batch(api: aiohttp.ClientSession, data: bytes, **options: Any) -> Any:
    body = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    file = await upload(api, data)
    return await post(api, "/v1/batches", json=body | {"input_file_id": file["id"]}, **options)


async def run_batch(api: aiohttp.ClientSession, data: bytes, **options: Any) -> Any:
    batch = await begin_batch(api, data, **options)
    limit = time.monotonic() + WITHIN
    while batch["status"] not in ("completed", "failed"):
        assert time.monotonic() < limit, batch
        await asyncio.sleep(0.1)
        async with api.get(f"/v1/batches/{batch['id']}") as response:
            batch = await response.json()
    return batch


# Retention.


async def status(api: aiohttp.ClientSession, path: str) -> int:
    async with api.get(path) as response:
        return response.status


async def until_gone(api: aiohttp.ClientSession, *paths: str) -> None:
    limit = time.monotonic() + WITHIN
    for path in paths:
        while await status(api, path) != 404:
            assert time.monotonic() < limit, f"{path} is still there"
            await asyncio.sleep(0.2)


async def until_none(it: Callers, container: str, part: str) -> None:
    """Until no blob of the tenant `brief` has this in its name."""
    limit = time.monotonic() + WITHIN
    while found := [
        name for name in await it.lab.names(container) if name.startswith("brief/") and part in name
    ]:
        assert time.monotonic() < limit, found
        await asyncio.sleep(0.2)


async def test_a_job_goes_when_its_time_is_over_and_one_that_runs_stays(it: Callers):
    running = await post(it.brief, "/v1/jobs", 202, json=chat_job(HOLD))
    request = chat_job("Hi")
    key = {"Idempotency-Key": "order-17"}
    first = await post(it.brief, "/v1/jobs", 202, json=request, headers=key)
    await ended_or_gone(it.brief, first["id"])
    path = f"/v1/jobs/{first['id']}"
    await until_gone(it.brief, f"{path}/result", path)
    await until_none(it, "sluice-jobs", first["id"])
    # The key is free again, and the history is gone: the same request is a new job.
    limit = time.monotonic() + WITHIN
    while (again := await post_any(it.brief, request, key))["id"] == first["id"]:
        assert time.monotonic() < limit
        await asyncio.sleep(0.5)
    assert again["id"] != first["id"]

    assert await status(it.brief, f"/v1/jobs/{running['id']}") == 200
    it.lab.model.release.set()
    await until_gone(it.brief, f"/v1/jobs/{running['id']}")
    await until_none(it, "sluice-jobs", "/")
    async with it.brief.get("/v1/jobs") as response:
        assert (await response.json())["data"] == []


async def post_any(api: aiohttp.ClientSession, request: Any, headers: Any) -> Any:
    async with api.post("/v1/jobs", json=request, headers=headers) as response:
        assert response.status in (200, 202), await response.text()
        return await response.json()


async def ended_or_gone(api: aiohttp.ClientSession, job_id: str) -> None:
    limit = time.monotonic() + WITHIN
    while time.monotonic() < limit:
        async with api.get(f"/v1/jobs/{job_id}") as response:
            if response.status == 404 or (await response.json())["status"] == "succeeded":
                return
        await asyncio.sleep(0.05)
    raise AssertionError("it has not ended")


async def test_a_batch_and_its_files_go(it: Callers):
    it.lab.model.release.set()
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": chat("Hi")}
    batch = await begin_batch(
        it.brief, json.dumps(line).encode(), headers={"Idempotency-Key": "batch-17"}
    )
    await until_gone(it.brief, f"/v1/batches/{batch['id']}", f"/v1/files/{batch['input_file_id']}")
    await until_none(it, "sluice-files", "/")


async def test_a_file_says_when_it_goes(it: Callers):
    kept, brief = await upload(it.research, b"x"), await upload(it.brief, b"x")
    assert kept["expires_at"] is None
    assert brief["expires_at"] == brief["created_at"] + 4
    await until_gone(it.brief, f"/v1/files/{brief['id']}")
    assert await status(it.research, f"/v1/files/{kept['id']}") == 200


async def test_each_run_is_logged_in_numbers_alone(it: Callers):
    log = it.lab.stack.log("host").read_text()
    told = [line for line in log.splitlines() if "Retention has deleted" in line]
    assert any("jobs 1" in line for line in told)
    assert not any("job_" in line or "file-" in line or "brief" in line for line in told)
