"""Calls that last: work item streams and waits for an instance. Each costs an event, no thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from devhost.task_hub.durable.calls import Context, Unary
from devhost.task_hub.durable.committer import Committer
from devhost.task_hub.durable.errors import HubError
from devhost.task_hub.durable.hub import Hub
from devhost.task_hub.durable.model import Status
from devhost.task_hub.durable.proto import pb


class Streams:
    """Serves the lasting calls until their callers go or the hub closes."""

    def __init__(self, hub: Hub, committer: Committer) -> None:
        self._hub = hub
        self._committer = committer
        self._closing = False
        self._waking: set[asyncio.Event] = set()

    def close(self) -> None:
        """End every call, so that its caller turns elsewhere or comes again."""
        self._closing = True
        for event in self._waking:
            event.set()

    @contextmanager
    def _event(self) -> Iterator[asyncio.Event]:
        """An event that is also set when the hub closes."""
        event = asyncio.Event()
        if self._closing:
            event.set()
        self._waking.add(event)
        try:
            yield event
        finally:
            self._waking.discard(event)

    async def work_items(
        self, request: pb.GetWorkItemsRequest, context: Context
    ) -> AsyncIterator[bytes]:
        """Work items as they become ready."""
        dispatcher = self._hub.dispatcher
        with self._event() as ready:
            worker = dispatcher.connect(request, ready.set)
            try:
                dispatcher.pump()
                while not self._closing:
                    while worker.outbox:
                        yield worker.outbox.popleft()
                    ready.clear()
                    await ready.wait()
            finally:
                if not self._closing:  # else it is the hub that leaves: no worker is lost
                    dispatcher.disconnect(worker)
                    dispatcher.pump()

    async def history(
        self, request: pb.StreamInstanceHistoryRequest, context: Context
    ) -> AsyncIterator[bytes]:
        """The committed history of an instance."""
        await self._committer.settled()
        try:
            for chunk in self._hub.history(request.instanceId):
                yield chunk.SerializeToString()
        except HubError as error:
            await context.abort(error.code, str(error))

    def wait_until(self, reached: Callable[[Status], bool]) -> Unary:
        """A call that waits for a status. An instance that is not there may still come."""

        async def answer(request: pb.GetInstanceRequest, context: Context) -> Any:
            views = self._hub.views
            with self._event() as changed:

                def look(status: Status) -> None:
                    if reached(status):
                        changed.set()

                unwatch = self._hub.notices.watch(request.instanceId, look)
                try:
                    status = self._hub.status(request.instanceId)
                    if status is None or not reached(status):
                        await changed.wait()
                    else:
                        await self._committer.settled()
                finally:
                    unwatch()
            if self._closing:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "The task hub is stopping")
            return views.instance(request.instanceId, request.getInputsAndOutputs)

        return answer
