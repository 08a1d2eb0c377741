"""Fakes at the boundaries: a container of blobs in memory, and flows and endpoints to script."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from dataclasses import dataclass, field
from datetime import timedelta
from types import coroutine
from typing import Any, cast

import grpc

from contracts.calls import CallHandle, CallScope, ModelAnswer, ModelCall
from contracts.errors import (
    CallPending,
    Conflict,
    DependencyUnavailable,
    InvalidRequest,
    NotFound,
)
from contracts.flows import FlowInfo, FlowRun
from stores.audit import AuditLog
from stores.batches import BatchStore
from stores.blobs import Described, Page, Taken
from stores.files import FileStore
from stores.input_blobs import InputBlobs
from stores.jobs import JobStore
from stores.keys import KeyStore
from stores.queues import OutgoingMessage
from stores.refusals import Refusals
from wiring import Limits, Parts


@coroutine
def turn() -> Generator[None]:
    """Lets others of the event loop go first."""
    yield


@dataclass
class MemoryContainer:
    """Behaves as stores.blobs.Container; `down` makes every call fail as a lost account does.

    Each operation takes a turn of the event loop, as one over a network does.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    down: bool = False
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    versions: Counter[str] = field(default_factory=Counter)
    """Of each blob: its etag."""
    calls: Counter[str] = field(default_factory=Counter)
    """Of each operation."""
    name: str = "things"
    url: str = "https://account.blob.core.windows.net/things"
    piece_bytes: int = 1000
    """Of what is read."""

    async def _begin(self, operation: str) -> None:
        self.calls[operation] += 1
        await turn()
        if self.down:
            raise DependencyUnavailable("Storage is down.")

    def _set(self, name: str, data: bytes, metadata: dict[str, str] | None = None) -> None:
        self.blobs[name] = data
        self.metadata[name] = dict(metadata or {})
        self.versions[name] += 1

    def _etag(self, name: str) -> str:
        return str(self.versions[name])

    async def put(
        self,
        name: str,
        data: bytes,
        *,
        content_type: str = "application/json",
        metadata: dict[str, str] | None = None,
    ) -> None:
        await self._begin("put")
        self._set(name, data, metadata)

    async def put_new(
        self,
        name: str,
        data: bytes,
        *,
        content_type: str = "application/json",
        metadata: dict[str, str] | None = None,
    ) -> bool:
        await self._begin("put_new")
        if name in self.blobs:
            return False
        self._set(name, data, metadata)
        return True

    async def get(self, name: str) -> bytes | None:
        await self._begin("get")
        return self.blobs.get(name)

    async def append(self, name: str, data: bytes, *, most_bytes: int) -> bool:
        await self._begin("append")
        longer = self.blobs.get(name, b"") + data
        if len(longer) > most_bytes:
            return False
        self._set(name, longer)
        return True

    async def put_stream(self, name: str, pieces: AsyncIterator[bytes]) -> int:
        data = b"".join([piece async for piece in pieces])
        await self._begin("put_stream")
        self._set(name, data)
        return len(data)

    async def read(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        await self._begin("read")
        data = self.blobs.get(name, b"")[offset:][:length]
        for start in range(0, len(data), self.piece_bytes):
            await turn()
            yield data[start : start + self.piece_bytes]

    async def read_as(self, name: str, etag: str) -> AsyncIterator[bytes]:
        if self.blobs.get(name) is None or self._etag(name) != etag:
            raise Conflict(f"The blob {name} was changed or deleted.")
        async for piece in self.read(name):
            yield piece

    async def take(self, name: str, metadata: dict[str, str]) -> Taken:
        await self._begin("take")
        new = name not in self.blobs
        self._set(name, self.blobs.get(name, b""), metadata)
        return Taken(self._etag(name), new)

    async def append_as(self, name: str, data: bytes, etag: str) -> str | None:
        await self._begin("append_as")
        if etag != self._etag(name):
            return None
        self._set(name, self.blobs[name] + data, self.metadata[name])
        await turn()  # done, and not yet known to be
        return str(int(etag) + 1)

    async def describe_as(self, name: str, metadata: dict[str, str], etag: str) -> str | None:
        await self._begin("describe_as")
        if etag != self._etag(name):
            return None
        self._set(name, self.blobs[name], metadata)
        return self._etag(name)

    async def put_as(self, name: str, data: bytes, etag: str) -> bool:
        await self._begin("put_as")
        if name not in self.blobs or etag != self._etag(name):
            return False
        self._set(name, data)
        return True

    async def look(self, name: str) -> Described | None:
        await self._begin("look")
        return self._described(name, name) if name in self.blobs else None

    async def descriptions(self, prefix: str) -> AsyncIterator[Described]:
        await self._begin("descriptions")
        for name in sorted(self.blobs):
            if name.startswith(prefix):
                yield self._described(name, name.removeprefix(prefix))

    def _described(self, name: str, shown: str) -> Described:
        return Described(shown, len(self.blobs[name]), self._etag(name), self.metadata[name])

    async def folders(self) -> set[str]:
        await self._begin("folders")
        return {name.partition("/")[0] for name in self.blobs if "/" in name}

    async def delete(self, name: str) -> None:
        await self._begin("delete")
        self.blobs.pop(name, None)

    async def delete_as(self, name: str, etag: str) -> bool:
        await self._begin("delete_as")
        if name not in self.blobs or etag != self._etag(name):
            return False
        del self.blobs[name]
        return True

    async def page(self, prefix: str, *, token: str | None, most: int) -> Page:
        await self._begin("page")
        names = sorted(n.removeprefix(prefix) for n in self.blobs if n.startswith(prefix))
        names = [name for name in names if name > (token or "")]
        return Page(names[:most], names[most - 1] if len(names) > most else None)


type RunFlow = Callable[[dict[str, Any], FlowRun], Awaitable[Any]]


@dataclass
class FakeFlows:
    """One flow, whatever its name; it is listed as `f`."""

    run_flow: RunFlow
    infos: list[FlowInfo] = field(
        default_factory=lambda: [
            FlowInfo(name="f", kind="direct", description="", input_schema={}, models=["chat"])
        ]
    )

    @property
    def info(self) -> FlowInfo:
        return self.infos[0]

    def get(self, name: str) -> FakeFlows:
        return self

    async def run(self, input: dict[str, Any], run: FlowRun) -> Any:
        return await self.run_flow(input, run)

    def check(self, name: str, input: dict[str, Any], model: str | None) -> FakeFlows:
        if name == "unknown":
            raise InvalidRequest("`flow` is not as expected: one of f.")
        return self


@dataclass
class FakeEndpoints:
    """Answers each call as the test says; keeps the scopes it was given."""

    answer: Callable[[ModelCall, CallScope], Awaitable[ModelAnswer]]
    scopes: list[CallScope] = field(default_factory=list)
    pending: CallPending | None = None
    """What a look at calls that models work on raises."""
    looked_at: list[dict[str, CallHandle]] = field(default_factory=list)
    cancelled: list[dict[str, CallHandle]] = field(default_factory=list)
    models: tuple[str, ...] = ("chat", "embed")

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

    async def get_orchestration_state(
        self, instance_id: str, *, fetch_payloads: bool = True
    ) -> Any:
        return self.started.get(instance_id)


def fake_parts(
    container: MemoryContainer,
    run_flow: RunFlow,
    endpoints: FakeEndpoints | None = None,
    flow_time: timedelta = timedelta(minutes=1),
    queues: FakeQueues | None = None,
    files: MemoryContainer | None = None,
    inputs: MemoryContainer | None = None,
    audited: MemoryContainer | None = None,
) -> Parts:
    """`container` has the jobs, and also files and batches unless those have one of their own."""
    files = files or container
    audit = AuditLog(cast(Any, audited or MemoryContainer()))
    return Parts(
        endpoints=cast(Any, endpoints),
        flows=cast(Any, FakeFlows(run_flow)),
        jobs=JobStore(cast(Any, container)),
        limits=Limits(request_bytes=1000, file_bytes=10_000, flow_time=flow_time),
        files=FileStore(cast(Any, files)),
        batch_store=BatchStore(cast(Any, files)),
        batch_inputs=InputBlobs(cast(Any, inputs or MemoryContainer())),
        keys=KeyStore(cast(Any, MemoryContainer())),
        audit=audit,
        refusals=Refusals(audit, "worker"),
        queues=cast(Any, queues),
        reply_queues=("inference-results", "*-replies"),
    )
