"""The command line against the local stack: as a person runs it, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from contracts.names import REJECTED_QUEUE
from devhost.stack.plan import Options
from devhost.stack.running import Stack
from devhost.stack.running import stack as running_stack
from tests.integration.privacy_lab import EchoModel, echo_model
from tests.integration.test_sweeper import DEPLOYMENTS
from tests.unit.lines_fakes import chat_line, jsonl

# The SDK leaves its sockets' writers to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ROOT = Path(__file__).parents[2]
PARTS = frozenset({"azurite", "hub", "service_bus", "host"})
CHAT = "chat.completions"


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    out: str
    told: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Lab:
    stack: Stack
    model: EchoModel
    folder: Path

    async def sluice(self, *arguments: str, given: str = "", status: int = 0) -> Done:
        environment = dict(os.environ) | {
            "SLUICE_URL": self.stack.http,
            "SLUICE_KEY": self.stack.api_key,
            "PYTHONPATH": str(ROOT),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli", *arguments),
            cwd=self.folder,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, told = await process.communicate(given.encode())
        assert process.returncode == status, (out.decode(), told.decode())
        return Done(process.returncode, out.decode(), told.decode())


def messages(said: str) -> str:
    return json.dumps({"messages": [{"role": "user", "content": said}]})


@pytest.fixture(scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    folder = tmp_path_factory.mktemp("cli")
    async with echo_model() as model:
        deployments = folder / "deployments.yaml"
        deployments.write_text(DEPLOYMENTS.format(url=model.url))
        async with running_stack(Options(parts=PARTS, deployments=deployments)) as stack:
            yield Lab(stack, model, folder)


async def test_a_job_from_its_submission_to_its_result(lab: Lab):
    done = await lab.sluice("jobs", "submit", CHAT, messages("hi"), "--model", "chat", "--watch")
    assert done.json["choices"][0]["message"]["content"] == "You said: hi"
    job = done.told.split()[0]
    record = (await lab.sluice("jobs", "show", job, "--json")).json
    assert (record["id"], record["status"]) == (job, "succeeded")
    listed = await lab.sluice("jobs", "list")
    assert job in listed.out
    assert "succeeded" in listed.out
    assert "already ended" in (await lab.sluice("jobs", "cancel", job, status=1)).told


async def test_an_input_from_standard_input_and_from_a_file_by_one_key(lab: Lab):
    options = ("--model", "chat", "--idempotency-key", "k1")
    first = await lab.sluice("jobs", "submit", CHAT, "-", *options, given=messages("same"))
    (lab.folder / "input.json").write_text(messages("same"))
    again = await lab.sluice("jobs", "submit", CHAT, "@input.json", *options)
    assert first.out == again.out
    assert (await lab.sluice("jobs", "watch", first.out.strip(), "--json")).json["id"]


async def test_a_job_that_fails_ends_with_1(lab: Lab):
    said = messages("please-refuse")
    done = await lab.sluice("jobs", "submit", CHAT, said, "--model", "chat", "--watch", status=1)
    assert "failed" in done.out


async def test_what_the_service_refuses_is_said(lab: Lab):
    done = await lab.sluice("jobs", "submit", "no-such-flow", "{}", status=1)
    assert "400" in done.told
    done = await lab.sluice("jobs", "list", "--key", "wrong", status=1)
    assert "401" in done.told
    assert "SLUICE_KEY" in done.told


async def test_a_batch_with_its_files_and_a_retry(lab: Lab):
    bad = {"model": "chat", "messages": [{"role": "user", "content": "please-refuse"}]}
    (lab.folder / "in.jsonl").write_bytes(
        jsonl(chat_line("a"), chat_line("b"), chat_line("c", body=bad))
    )
    done = await lab.sluice("batches", "run", "in.jsonl", "--watch", "--json", status=1)
    batch = done.json
    assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    assert batch["id"] in (await lab.sluice("batches", "list")).out
    assert "2 completed, 1 failed" in (await lab.sluice("batches", "show", batch["id"])).out
    await lab.sluice("batches", "download", batch["id"])
    answered = (lab.folder / f"{batch['id']}.out.jsonl").read_text().splitlines()
    failed = (lab.folder / f"{batch['id']}.err.jsonl").read_text().splitlines()
    assert {json.loads(line)["custom_id"] for line in answered} == {"a", "b"}
    assert [json.loads(line)["custom_id"] for line in failed] == ["c"]
    again = (await lab.sluice("batches", "retry", batch["id"])).out.strip()
    await lab.sluice("batches", "watch", again, status=1)
    assert "ended" in (await lab.sluice("batches", "cancel", again, status=1)).told


async def test_queues(lab: Lab):
    async with (
        ServiceBusClient.from_connection_string(lab.stack.service_bus) as client,
        client.get_queue_sender(REJECTED_QUEUE) as sender,
    ):
        good = json.dumps({"flow": CHAT, "model": "chat", "input": json.loads(messages("hi"))})
        await sender.send_messages(
            [ServiceBusMessage(good, message_id="m1"), ServiceBusMessage("no JSON")]
        )
    listed = (await lab.sluice("queues", "list", "--json")).json["data"]
    waiting = {each["name"]: each["waiting"]["messages"] for each in listed}
    assert waiting[REJECTED_QUEUE] == 2
    assert REJECTED_QUEUE in (await lab.sluice("queues", "list")).out
    page = (await lab.sluice("queues", "peek", REJECTED_QUEUE, "--json")).json["data"]
    numbers = [str(each["sequence"]) for each in page]
    shown = await lab.sluice("queues", "peek", REJECTED_QUEUE, "--body")
    assert "m1" in shown.out
    assert f"{numbers[1]}: no JSON" in shown.out
    done = await lab.sluice("queues", "resubmit", REJECTED_QUEUE, *numbers, status=1)
    assert done.out.startswith(f"{numbers[0]}: job job_")
    assert "409" in done.told
    refused = await lab.sluice("queues", "purge", REJECTED_QUEUE, given="n\n", status=1)
    assert "Nothing was deleted" in refused.told
    await lab.sluice("queues", "delete", REJECTED_QUEUE, numbers[1])
    purged = await lab.sluice("queues", "purge", REJECTED_QUEUE, "--yes")
    assert purged.out == "0 messages deleted\n"


async def test_deployments_and_usage(lab: Lab):
    assert "weighs 0.5" in (await lab.sluice("deployments", "weight", "chat-1", "0.5")).out
    shown = (await lab.sluice("deployments", "show", "chat-1")).json
    assert shown["override"]["weight"] == 0.5
    assert "chat-1" in (await lab.sluice("deployments", "list")).out
    await lab.sluice("jobs", "submit", CHAT, messages("hi"), "--model", "chat", "--watch")
    rows = (await lab.sluice("usage", "--by", "model,deployment", "--json")).json["data"]
    assert any(row["deployment"] == "chat-1" and row["requests"] for row in rows)
    assert "chat-1" in (await lab.sluice("usage", "--by", "deployment")).out
    csv = (await lab.sluice("usage", "--csv")).out.splitlines()
    assert len(csv) > 1
    assert "," in csv[0]
