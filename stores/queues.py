"""Queues of Service Bus that the app sends to: replies, and what it rejected."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contracts.errors import DependencyUnavailable, NotFound

if TYPE_CHECKING:
    from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

_log = logging.getLogger("sluice.stores")


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where the namespace is: a connection string, or a host reached with a managed identity."""

    connection_string: str | None = None
    host: str | None = None

    def open(self) -> ServiceBusClient:
        """A client that retries nothing: waiting is the orchestrator's."""
        from azure.servicebus.aio import ServiceBusClient

        if self.connection_string is not None:
            return ServiceBusClient.from_connection_string(self.connection_string, retry_total=0)
        from azure.identity.aio import DefaultAzureCredential

        assert self.host is not None
        return ServiceBusClient(self.host, DefaultAzureCredential(), retry_total=0)


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message to send. Its id is stable, so that duplicate detection makes repeats one."""

    id: str
    body: bytes
    content_type: str = "application/json"
    correlation_id: str | None = None
    session_id: str | None = None
    reply_to: str | None = None
    reply_to_session_id: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


class Queues:
    """Senders of one namespace, opened when first used and kept open."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._client: ServiceBusClient | None = None
        self._senders: dict[str, ServiceBusSender] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def send(self, queue: str, message: OutgoingMessage) -> None:
        """Send; returns once the queue has it.

        Raises NotFound when there is no such queue, DependencyUnavailable when it cannot be
        reached.
        """
        from azure.servicebus import ServiceBusMessage
        from azure.servicebus.exceptions import MessagingEntityNotFoundError, ServiceBusError

        outgoing = ServiceBusMessage(
            message.body,
            message_id=message.id,
            content_type=message.content_type,
            correlation_id=message.correlation_id,
            session_id=message.session_id,
            reply_to=message.reply_to,
            reply_to_session_id=message.reply_to_session_id,
            application_properties=dict(message.properties.items()),
        )
        # One sender's link is not for concurrent use; the SDK says so of async senders.
        async with self._locks.setdefault(queue, asyncio.Lock()):
            try:
                await self._sender(queue).send_messages(outgoing)
            except MessagingEntityNotFoundError as error:
                await self._forget(queue)
                raise NotFound(f"There is no queue {queue} in the namespace.") from error
            except (ServiceBusError, ValueError, OSError) as error:
                _log.warning("queue %s: %s", queue, type(error).__name__)
                await self._forget(queue)
                raise DependencyUnavailable(
                    f"Service Bus does not take a message for queue {queue} now."
                ) from error

    async def aclose(self) -> None:
        """Close every link; the next send opens what it needs."""
        for queue in list(self._senders):
            await self._forget(queue)
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    def _sender(self, queue: str) -> ServiceBusSender:
        if self._client is None:
            self._client = self._namespace.open()
        if queue not in self._senders:
            self._senders[queue] = self._client.get_queue_sender(queue)
        return self._senders[queue]

    async def _forget(self, queue: str) -> None:
        sender = self._senders.pop(queue, None)
        if sender is not None:
            await sender.close()
