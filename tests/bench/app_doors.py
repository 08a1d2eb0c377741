"""The whole local stack with one flow that asks a model once, and its two doors for jobs."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp
import psutil
from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage, ServiceBusReceiveMode
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender

from contracts.names import REQUESTS_QUEUE, RESULTS_QUEUE
from devhost.stack.plan import Options
from devhost.stack.running import Stack, stack
from tests.bench.peers.load import TEXT, Ending

PARTS = frozenset({"azurite", "hub", "service_bus", "host"})
"""All but the model servers: the model is simulated, in a process of its own."""
WAIT_SECONDS = 60
LOOK_AGAIN_SECONDS = 0.25
PREFETCH = 100

FLOW = """
description: Asks a model once.
model: simulated
task: chat
input:
  type: object
  properties:
    text: {type: string}
  required: [text]
request:
  messages:
    - {role: user, content: "{{ input.text }}"}
response:
  answer: "{{ answer.choices[0].message.content }}"
"""
DEPLOYMENTS = """
models:
  simulated:
    description: Answers at once.
    deployments:
      - {{name: simulated-1, protocol: openai, url: "{url}", model: simulated, auth: {{key: key}}}}
"""
JOB = {"flow": "ask", "input": {"text": TEXT}}


@asynccontextmanager
async def running_app(model_url: str, tenants: str | None = None) -> AsyncIterator[Stack]:
    """A fresh stack whose only model is the one at this URL (an OpenAI base URL).

    `tenants`: the text of its tenants.yaml."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "flows" / "ask").mkdir(parents=True)
        (folder / "flows" / "ask" / "flow.yaml").write_text(FLOW)
        deployments = folder / "deployments.yaml"
        deployments.write_text(DEPLOYMENTS.format(url=model_url))
        known = None
        if tenants is not None:
            known = folder / "tenants.yaml"
            known.write_text(tenants)
        options = Options(parts=PARTS, deployments=deployments, tenants=known)
        with patch.dict(os.environ, {"SLUICE_FLOWS": str(folder / "flows")}):
            async with stack(options) as running:
                yield running


def cpu_by_part(running: Stack) -> dict[str, float]:
    """CPU seconds that each part of the stack has used until now."""
    return {part: sum(psutil.Process(pid).cpu_times()[:2]) for part, pid in running.pids.items()}


def check(record: dict[str, Any]) -> None:
    """Raises AssertionError unless the job succeeded with an answer."""
    assert record["status"] == "succeeded", record
    assert record["result"]["answer"], record


@dataclass(frozen=True, slots=True)
class HttpDoor:
    """POST /v1/jobs."""

    api: aiohttp.ClientSession

    async def call(self) -> None:
        async with self.api.post(
            "/v1/jobs", json=JOB, headers={"Prefer": f"wait={WAIT_SECONDS}"}
        ) as response:
            assert response.status == 200, await response.text()
            check(await response.json())

    async def start(self) -> Ending:
        async with self.api.post("/v1/jobs", json=JOB) as response:
            assert response.status in (200, 202), await response.text()
            path = f"/v1/jobs/{(await response.json())['id']}"
        return lambda: self._ended(path)

    async def _ended(self, path: str) -> float:
        """By the job's own record; how often it is looked at changes nothing about that."""
        while True:
            async with self.api.get(path) as response:
                record = await response.json()
            if record["ended_at"] is not None:
                check(record)
                return datetime.fromisoformat(record["ended_at"]).timestamp()
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


@asynccontextmanager
async def http_door(running: Stack) -> AsyncIterator[HttpDoor]:
    headers = {"x-functions-key": running.api_key}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(running.http, headers=headers, connector=connector) as api:
        yield HttpDoor(api)


class QueueDoor:
    """The queue of requests and the queue of replies; a job ends when its reply is here."""

    def __init__(self, sender: ServiceBusSender) -> None:
        self._sender = sender
        self._sending = asyncio.Lock()  # the SDK's senders are not for concurrent use
        self._replies: dict[str, asyncio.Future[float]] = {}

    async def call(self) -> float:
        ending = await self.start()
        return await ending()

    async def start(self) -> Ending:
        message_id = uuid.uuid4().hex
        reply = self._replies[message_id] = asyncio.get_running_loop().create_future()
        async with self._sending:
            await self._sender.send_messages(
                ServiceBusMessage(json.dumps(JOB), message_id=message_id)
            )
        return lambda: reply

    async def listen(self, receiver: ServiceBusReceiver) -> None:
        async for message in receiver:
            reply = self._replies[str(message.correlation_id)]
            try:
                check(_body(message))
            except AssertionError as error:
                reply.set_exception(error)
            else:
                reply.set_result(time.time())


def _body(message: ServiceBusReceivedMessage) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(b"".join(message.body))
    return record


@asynccontextmanager
async def queue_door(running: Stack) -> AsyncIterator[QueueDoor]:
    async with (
        ServiceBusClient.from_connection_string(running.service_bus) as client,
        client.get_queue_sender(REQUESTS_QUEUE) as sender,
        client.get_queue_receiver(
            RESULTS_QUEUE,
            # Settling each reply would measure the SDK once more, and not the app.
            receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE,
            prefetch_count=PREFETCH,
        ) as receiver,
    ):
        door = QueueDoor(sender)
        listening = asyncio.create_task(door.listen(receiver))
        try:
            yield door
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
