"""A producer's side of Service Bus: send requests, gather replies by their correlation id."""

from __future__ import annotations

import asyncio
import gc
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender
from azure.servicebus.exceptions import ServiceBusError

from contracts.names import REQUESTS_QUEUE, RESULTS_QUEUE


class Producer:
    """Sends jobs; `replies` holds every reply that came, by correlation id."""

    def __init__(self, client: ServiceBusClient, sender: ServiceBusSender) -> None:
        self.client = client
        self.sender = sender
        self._sending = asyncio.Lock()  # the SDK's senders are not for concurrent use
        self.replies: dict[str, list[dict[str, Any]]] = {}
        self.messages: list[Any] = []

    async def send(self, body: Any, **fields: Any) -> str:
        """Send a message; returns its id."""
        message_id = fields.pop("message_id", None) or uuid.uuid4().hex
        text = body if isinstance(body, bytes | str) else json.dumps(body)
        message = ServiceBusMessage(text, message_id=message_id, **fields)
        async with self._sending:
            await self.sender.send_messages(message)
        return message_id

    async def reply(self, correlation_id: str, within: float = 180.0) -> dict[str, Any]:
        """The first reply with this correlation id."""
        async with asyncio.timeout(within):
            while correlation_id not in self.replies:
                await asyncio.sleep(0.05)
        return self.replies[correlation_id][0]

    async def listen(self) -> None:
        """Gather replies for ever, over restarts of the broker."""
        while True:
            try:
                async with self.client.get_queue_receiver(RESULTS_QUEUE) as receiver:
                    async for message in receiver:
                        body = json.loads(b"".join(message.body))
                        self.messages.append(message)
                        self.replies.setdefault(str(message.correlation_id), []).append(body)
                        await receiver.complete_message(message)
            except (ServiceBusError, ValueError, OSError):
                await asyncio.sleep(0.5)


@asynccontextmanager
async def producer(connection: str) -> AsyncIterator[Producer]:
    try:
        async with _producer(connection) as made:
            yield made
    finally:
        gc.collect()  # here, where it is expected: the SDK leaves sockets that broke unclosed


@asynccontextmanager
async def _producer(connection: str) -> AsyncIterator[Producer]:
    async with (
        ServiceBusClient.from_connection_string(connection) as client,
        client.get_queue_sender(REQUESTS_QUEUE) as sender,
    ):
        made = Producer(client, sender)
        listening = asyncio.create_task(made.listen())
        try:
            yield made
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
