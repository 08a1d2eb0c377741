"""Fakes at the boundaries: a container of blobs in memory, and flows and endpoints to script."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import grpc

from contracts.calls import CallHandle, CallScope, ModelAnswer, ModelCall
from contracts.errors import CallPending, DependencyUnavailable, InvalidRequest, NotFound
from contracts.flows import FlowRun
from stores.batches import BatchStore
from stores.blobs import Page
from stores.files import FileStore
from stores.jobs import JobStore
from stores.queues import OutgoingMessage
from wiring import Limits, Parts


@dataclass
class MemoryContainer:
    """Behaves as stores.blobs.Container; `down` makes every call fail as a lost account does."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    down: bool = False

    def _check(self) -> None:
        if self.down:
            raise DependencyUnavailable("Storage is down.")

    async def put(self, name: str, data: bytes, *, content_type: str = "application/json") -> None:
        self._check()
        self.blobs[name] = data

    async def put_new(
        self, name: str, data: bytes, *, content_type: str = "application/json"
    ) -> bool:
        self._check()
        if name in self.blobs:
            return False
        self.blobs[name] = data
        return True

    async def get(self, name: str) -> bytes | None:
        self._check()
        return self.blobs.get(name)

    async def append(self, name: str, data: bytes, *, most_bytes: int) -> bool:
        self._check()
        longer = self.blobs.get(name, b"") + data
        if len(longer) > most_bytes:
            return False
        self.blobs[name] = longer
        return True

    async def delete(self, name: str) -> None:
        self._check()
        self.blobs.pop(name, None)

    async def page(self, prefix: str, *, token: str | None, most: int) -> Page:
        self._check()
        names = sorted(n.removeprefix(prefix) for n in self.blobs if n.startswith(prefix))
        start = int(token or 0)
        more = start + most < len(names)
        return Page(names[start : start + most], str(start + most) if more else None)


type RunFlow = Callable[[dict[str, Any], FlowRun], Awaitable[Any]]


@dataclass
class FakeFlows:
    """One flow, whatever its name."""

    run_flow: RunFlow

    def get(self, name: str) -> FakeFlows:
        return self

    async def run(self, input: dict[str, Any], run: FlowRun) -> Any:
        return await self.run_flow(input, run)

    def check(self, name: str, input: dict[str, Any], model: str | None) -> None:
        if name == "unknown":
            raise InvalidRequest("`flow` is not as expected: one of f.")


@dataclass
class FakeEndpoints:
    """Answers each call as the test says; keeps the scopes it was given."""

    answer: Callable[[ModelCall, CallScope], Awaitable[ModelAnswer]]
    scopes: list[CallScope] = field(default_factory=list)
    pending: CallPending | None = None
    """What a look at calls that models work on raises."""
    looked_at: list[dict[str, CallHandle]] = field(default_factory=list)
    cancelled: list[dict[str, CallHandle]] = field(default_factory=list)

    async def invoke(self, call: ModelCall, scope: CallScope) -> ModelAnswer:
        self.scopes.append(scope)
        return await self.answer(call, scope)

    async def look(self, handles: dict[str, CallHandle]) -> None:
        self.looked_at.append(handles)
        if self.pending is not None:
            raise self.pending

    async def cancel(self, handles: dict[str, CallHandle]) -> None:
        self.cancelled.append(handles)


@dataclass
class FakeQueues:
    """Keeps what is sent; a repeated message id within a queue is a duplicate."""

    sent: dict[str, dict[str, OutgoingMessage]] = field(default_factory=dict)
    down: bool = False
    missing: set[str] = field(default_factory=set)

    async def send(self, queue: str, message: OutgoingMessage) -> None:
        if queue in self.missing:
            raise NotFound(f"There is no queue {queue} in the namespace.")
        if self.down:
            raise DependencyUnavailable("Service Bus is down.")
        self.sent.setdefault(queue, {}).setdefault(message.id, message)


@dataclass
class FakeDurableClient:
    """Starts an instance once, as Durable Functions does."""

    started: dict[str, Any] = field(default_factory=dict)
    starts: int = 0

    async def schedule_new_orchestration(self, name: str, *, input: Any, instance_id: str) -> str:
        self.starts += 1
        if instance_id in self.started:
            raise grpc.RpcError("exists")
        self.started[instance_id] = input
        return instance_id

    async def get_orchestration_state(self, instance_id: str, *, fetch_payloads: bool) -> Any:
        return self.started.get(instance_id)


def fake_parts(
    container: MemoryContainer,
    run_flow: RunFlow,
    endpoints: FakeEndpoints | None = None,
    flow_time: timedelta = timedelta(minutes=1),
    queues: FakeQueues | None = None,
) -> Parts:
    return Parts(
        endpoints=cast(Any, endpoints),
        flows=cast(Any, FakeFlows(run_flow)),
        jobs=JobStore(cast(Any, container)),
        limits=Limits(request_bytes=1000, file_bytes=10_000, flow_time=flow_time),
        files=FileStore(cast(Any, container)),
        batch_store=BatchStore(cast(Any, container)),
        queues=cast(Any, queues),
        reply_queues=("inference-results", "*-replies"),
    )
