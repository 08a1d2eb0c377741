"""The host's connection to the task hub."""

from __future__ import annotations

import asyncio
import logging
import time

import grpc
from durabletask.client import AsyncTaskHubGrpcClient
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from google.protobuf.empty_pb2 import Empty

logger = logging.getLogger("sluice.functions_host")

_HELLO_SECONDS = 5.0
_RETRY_SECONDS = 0.2

_OPTIONS = [
    # An orchestration's history comes in one message.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A hub on this machine is back soon or not at all.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 250),
]


class HubLink:
    """One gRPC channel to the hub: `stub` for work items, `client` for managing instances."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self.stub = stubs.TaskHubSidecarServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self.client = AsyncTaskHubGrpcClient(channel=self._channel, emit_trace_spans=False)

    async def hello(self) -> None:
        """Ask the hub whether it is there. Raises grpc.aio.AioRpcError if not."""
        await self.stub.Hello(Empty(), timeout=_HELLO_SECONDS)

    async def wait_until_there(self) -> None:
        """Return once the hub answers; says so once when it takes a while."""
        began = time.monotonic()
        told = False
        while True:
            try:
                await self.hello()
            except grpc.aio.AioRpcError as error:
                if not told and time.monotonic() - began > 1:
                    told = True
                    logger.warning("No task hub at %s yet: %s", self.address, error.code().name)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def close(self) -> None:
        await self._channel.close()
