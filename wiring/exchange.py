"""Carries what workers share: reports to an entity a model and a tenant, what came of them back.

One task a process, beside the calls: they never wait for it. What goes wrong is logged once, and
the worker goes on alone, with a small part of each limit, until the next exchange succeeds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from azure.durable_functions import DurableFunctionsClient
from durabletask.entities import EntityInstanceId, EntityMetadata
from pydantic import BaseModel

from contracts.names import QUOTA_ENTITY, STANDING_ENTITY
from contracts.sharing import SharedModel, standing_key
from endpoints.sharing import Due, Sharing

_log = logging.getLogger("sluice.wiring")

TICK_SECONDS = 0.1
EVERY_SECONDS = 1.0
"""Between two exchanges of a model, or of a tenant."""
MOST_REPORTS = 20
"""That all workers together make of one in a second: with more workers than that, each reports
less often, and reads as often as before."""
URGENT_SECONDS = 0.25
"""Between an exchange and one that cannot wait."""
SETTLE_SECONDS = 0.1
"""From a report to reading what came of it."""
LONGEST_SECONDS = 5.0
"""Of one exchange."""

_HUB = (
    "taskHubName",
    "requiredQueryStringParameters",
    "rpcBaseUrl",
    "maxGrpcMessageSizeInBytes",
)


class EntityClient(Protocol):
    """What of a durable client is needed here."""

    async def signal_entity(
        self, entity_instance_id: EntityInstanceId, operation_name: str, input: Any = None
    ) -> None: ...

    async def get_entity(self, entity_instance_id: EntityInstanceId) -> EntityMetadata | None: ...

    async def close(self) -> None: ...


class Exchanged[S: BaseModel](Protocol):
    """One thing that workers share, at this worker: see `endpoints.sharing`."""

    @property
    def shared(self) -> type[S]:
        """What the entity's state is."""

    @property
    def workers(self) -> int:
        """That use it, as far as is known."""

    def greet(self) -> None: ...

    def look(self) -> Due: ...

    def report(self) -> BaseModel: ...

    def arrived(self) -> None: ...

    def apply(self, shared: S, /) -> None: ...


def standing_of(model: str) -> EntityInstanceId:
    """The entity that keeps what workers share of a model."""
    return EntityInstanceId(STANDING_ENTITY, standing_key(model))


def quota_of(tenant: str) -> EntityInstanceId:
    """The entity that keeps what workers share of a tenant's quotas."""
    return EntityInstanceId(QUOTA_ENTITY, tenant)


async def read_shared(client: EntityClient, model: str) -> SharedModel | None:
    """What workers share of a model; None when no worker has reported. Raises grpc.RpcError."""
    state = await _read(client, standing_of(model))
    return SharedModel.model_validate_json(state) if state else None


async def _read(client: EntityClient, entity: EntityInstanceId) -> str | None:
    found = await client.get_entity(entity)
    # Without text while its first signal is still on the way.
    return None if found is None else found.get_state()


def worker_name() -> str:
    """Of this process, unlike any other's."""
    return f"{socket.gethostname()[:32]}-{secrets.token_hex(4)}"


@dataclass(slots=True)
class _Turn[S: BaseModel]:
    """The exchange of one model, or one tenant."""

    entity: EntityInstanceId
    sharing: Exchanged[S]
    next_at: float = 0.0
    urgent_at: float = 0.0
    report_at: float = 0.0
    under_way: asyncio.Task[None] | None = None

    def due(self, now: float) -> bool:
        wanted = self.sharing.look()
        if self.under_way is not None and not self.under_way.done():
            return False
        if wanted is Due.AT_ONCE:
            self.report_at = now
            return now >= self.urgent_at
        return wanted is Due.SOON and now >= self.next_at

    def begins(self, now: float) -> bool:
        """Returns whether to report, or only to read."""
        self.next_at = now + EVERY_SECONDS
        self.urgent_at = now + URGENT_SECONDS
        if now < self.report_at:
            return False
        self.report_at = now + max(EVERY_SECONDS, self.sharing.workers / MOST_REPORTS)
        return True

    async def exchange(self, client: EntityClient, *, report: bool) -> None:
        if report:
            told = self.sharing.report().model_dump(mode="json")
            await client.signal_entity(self.entity, "report", input=told)
            self.sharing.arrived()
            await asyncio.sleep(SETTLE_SECONDS)
        if state := await _read(client, self.entity):
            self.sharing.apply(self.sharing.shared.model_validate_json(state))


class Exchange:
    """Of all models and tenants of this process; begins when a function first brings a durable
    client."""

    def __init__(
        self,
        models: Mapping[str, Sharing],
        open_client: Callable[[str], EntityClient] = DurableFunctionsClient,
        *,
        tenants: Mapping[str, Exchanged[Any]] | None = None,
    ) -> None:
        self.models = models
        self._turns: Sequence[_Turn[Any]] = [
            *(_Turn(standing_of(model), sharing) for model, sharing in models.items()),
            *(_Turn(quota_of(name), sharing) for name, sharing in (tenants or {}).items()),
        ]
        self._open_client = open_client
        self._binding: str | None = None
        self._hub: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._alone = False

    def begin(self, binding: str | DurableFunctionsClient) -> None:
        """Exchange by way of this durable client binding from now on; cheap when it does already.

        The client of an invocation ends with it, so one of its own is made, once.
        """
        running = self._task is not None and not self._task.done()
        if running and binding == self._binding:
            return
        hub = _hub_of(binding if isinstance(binding, str) else vars(binding))
        if isinstance(binding, str):
            self._binding = binding
        if running and hub == self._hub:
            return
        if self._task is not None:
            self._task.cancel()
        self._hub = hub
        # A context of its own: what it logs belongs to no invocation.
        self._task = asyncio.get_running_loop().create_task(
            self._run(hub), name="exchange of standing", context=Context()
        )

    async def aclose(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, hub: str) -> None:
        # It logs a line for each call that it makes.
        logging.getLogger("azure.durable_functions").setLevel(logging.WARNING)
        client = self._open_client(hub)
        for turn in self._turns:
            turn.sharing.greet()
        try:
            while True:
                self._begin_due(client)
                await asyncio.sleep(TICK_SECONDS)
        finally:
            under_way = [turn.under_way for turn in self._turns if turn.under_way]
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            await client.close()

    def _begin_due(self, client: EntityClient) -> None:
        now = asyncio.get_running_loop().time()
        for turn in self._turns:
            if turn.due(now):
                exchange = self._exchange(client, turn, report=turn.begins(now))
                turn.under_way = asyncio.create_task(exchange)

    async def _exchange(self, client: EntityClient, turn: _Turn[Any], *, report: bool) -> None:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await turn.exchange(client, report=report)
        except Exception as error:  # noqa: BLE001 - whatever it is, calls go on without it
            self._failed(error)
        else:
            self._succeeded()

    def _failed(self, error: Exception) -> None:
        if not self._alone:
            why = error.code().name if isinstance(error, grpc.aio.AioRpcError) else repr(error)
            _log.warning("Other workers cannot be reached (%s): this one goes on alone", why)
        self._alone = True

    def _succeeded(self) -> None:
        if self._alone:
            _log.info("Other workers can be reached again")
        self._alone = False


def _hub_of(binding: str | Mapping[str, Any]) -> str:
    """As much of a binding as reaching the hub needs: of one hub always the same text."""
    facts: Mapping[str, Any] = json.loads(binding) if isinstance(binding, str) else binding
    return json.dumps({name: facts.get(name) or None for name in _HUB})
