"""Calls functions for the messages of Service Bus queues and subscriptions, of any namespace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver

from devhost.functions_host.app_loader import AppError
from devhost.functions_host.host_json import ServiceBusConfig
from devhost.functions_host.invoker import Invoker
from devhost.functions_host.service_bus_calls import Calls
from devhost.functions_host.service_bus_message import to_function, trace_parent
from devhost.functions_host.service_bus_receiving import Keeper, Source
from devhost.functions_host.service_bus_triggers import ServiceBusTrigger

logger = logging.getLogger("sluice.functions_host")

_ATTEMPT_SECONDS = 60.0
_SESSION_WAIT_SECONDS = 30.0
_SOCKET_WAIT_SECONDS = 0.02
"""The SDK reads for so long before a settlement can be written; its own 0.2 s limits throughput."""
_HAND_BACK_SECONDS = 1.0


class Closeable(Protocol):
    async def close(self) -> None: ...


class ServiceBusPump:
    """One connection a trigger, or one a session."""

    def __init__(
        self, triggers: Sequence[ServiceBusTrigger], invoker: Invoker, config: ServiceBusConfig
    ) -> None:
        """Connects to nothing yet. Raises AppError for a connection string that is none."""
        self._invoker = invoker
        self._config = config
        self._stop = asyncio.Event()
        self._closeables: list[Closeable] = []
        self._keepers = [keeper for trigger in triggers for keeper in self._keepers_of(trigger)]

    async def start(self) -> None:
        """The namespace may be away: it is tried until it is there."""
        for keeper in self._keepers:
            keeper.start()

    async def stop(self, grace: float) -> None:
        """Take no more; calls get `grace` seconds, then their messages are abandoned."""
        self._stop.set()
        await asyncio.gather(*(keeper.end(grace, _HAND_BACK_SECONDS) for keeper in self._keepers))
        for each in self._closeables:
            await each.close()

    def _keepers_of(self, trigger: ServiceBusTrigger) -> list[Keeper]:
        client = self._client(trigger)
        config = self._config
        if not trigger.sessions:
            source = Source(
                str(trigger.entity), partial(_receiver, client, trigger, prefetch=config.prefetch)
            )
            return [Keeper(source, self._calls(trigger, config.max_calls), self._stop)]
        source = Source(
            str(trigger.entity),
            partial(_session_receiver, client, trigger),
            turn=asyncio.Lock(),
            idle=config.session_idle.total_seconds(),
        )
        return [
            Keeper(source, self._calls(trigger, 1), self._stop) for _ in range(config.max_sessions)
        ]

    def _calls(self, trigger: ServiceBusTrigger, limit: int) -> Calls:
        async def run(message: ServiceBusReceivedMessage) -> None:
            await self._invoker.call(trigger.function, to_function(message), trace_parent(message))

        return Calls(
            trigger.function.name,
            run,
            limit,
            auto_complete=trigger.auto_complete,
            max_lock_renewal=self._config.max_lock_renewal,
        )

    def _client(self, trigger: ServiceBusTrigger) -> ServiceBusClient:
        """Retries are the keeper's alone."""
        value = trigger.connection.value
        if trigger.connection.by_identity:
            from azure.identity.aio import DefaultAzureCredential

            credential = DefaultAzureCredential()
            client = ServiceBusClient(
                value, credential, retry_total=0, try_timeout=_ATTEMPT_SECONDS
            )
            self._closeables += [client, credential]
            return client
        try:
            client = ServiceBusClient.from_connection_string(
                value, retry_total=0, try_timeout=_ATTEMPT_SECONDS
            )
        except ValueError as error:
            raise AppError(
                f"function {trigger.function.name}: its Service Bus connection: {error}"
            ) from error
        self._closeables.append(client)
        return client


def _receiver(
    client: ServiceBusClient, trigger: ServiceBusTrigger, prefetch: int
) -> ServiceBusReceiver:
    entity = trigger.entity
    if entity.subscription is None:
        return client.get_queue_receiver(
            entity.path, prefetch_count=prefetch, socket_timeout=_SOCKET_WAIT_SECONDS
        )
    return client.get_subscription_receiver(
        entity.path,
        entity.subscription,
        prefetch_count=prefetch,
        socket_timeout=_SOCKET_WAIT_SECONDS,
    )


def _session_receiver(client: ServiceBusClient, trigger: ServiceBusTrigger) -> ServiceBusReceiver:
    """For the next session that is free. Takes nothing ahead: it would stay locked at the end."""
    entity = trigger.entity
    if entity.subscription is None:
        return client.get_queue_receiver(
            entity.path,
            session_id=NEXT_AVAILABLE_SESSION,
            max_wait_time=_SESSION_WAIT_SECONDS,
            socket_timeout=_SOCKET_WAIT_SECONDS,
        )
    return client.get_subscription_receiver(
        entity.path,
        entity.subscription,
        session_id=NEXT_AVAILABLE_SESSION,
        max_wait_time=_SESSION_WAIT_SECONDS,
        socket_timeout=_SOCKET_WAIT_SECONDS,
    )
