"""Looks for blobs and calls functions with them: each version of a blob once, or until it succeeds.

As in Azure a call that raises is made again, five times at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient

from devhost.functions_host.blob_receipts import BlobReceipts
from devhost.functions_host.blob_triggers import BlobTrigger
from devhost.functions_host.invoker import Invoker

logger = logging.getLogger("sluice.functions_host")

LOOK_EVERY_SECONDS = 1.0
MOST_TRIES = 5
LONGEST_PAUSE_SECONDS = 30.0

type List = Callable[[BlobTrigger], Awaitable[dict[str, str]]]
"""The blobs that a trigger is for, with their etags. Raises AzureError."""


async def blobs_of(trigger: BlobTrigger) -> dict[str, str]:
    service = BlobServiceClient.from_connection_string(trigger.connection, retry_total=0)
    found: dict[str, str] = {}
    async with service, service.get_container_client(trigger.container) as container:
        try:
            async for blob in container.list_blobs(name_starts_with=trigger.prefix or None):
                if trigger.name.fullmatch(blob.name):
                    found[blob.name] = str(blob.etag)
        except ResourceNotFoundError:
            return {}  # nobody has made the container yet
    return found


class BlobPump:
    """One task a trigger; its blobs one after the other."""

    def __init__(
        self,
        triggers: Sequence[BlobTrigger],
        invoker: Invoker,
        receipts: BlobReceipts,
        list_blobs: List = blobs_of,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._triggers = triggers
        self._invoker = invoker
        self._receipts = receipts
        self._list = list_blobs
        self._sleep = sleep
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._calling: set[asyncio.Task[bool]] = set()

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep(trigger)) for trigger in self._triggers]

    async def stop(self, grace: float) -> None:
        """Begin no call; what runs gets `grace` seconds. What has not ended comes again."""
        self._stopping = True
        if self._calling:
            await asyncio.wait(self._calling, timeout=grace)
        for task in (*self._calling, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._calling, *self._tasks, return_exceptions=True)

    async def _keep(self, trigger: BlobTrigger) -> None:
        tries: Counter[tuple[str, str]] = Counter()
        away = False
        while not self._stopping:
            try:
                blobs = await self._list(trigger)
            except AzureError as error:
                if not away:
                    logger.warning(
                        "Cannot look for blobs in %s (%s): trying on",
                        trigger.container,
                        type(error).__name__,
                    )
                away = True
            else:
                away = False
                await self._handle(trigger, blobs, tries)
            await self._sleep(LOOK_EVERY_SECONDS)

    async def _handle(
        self, trigger: BlobTrigger, blobs: dict[str, str], tries: Counter[tuple[str, str]]
    ) -> None:
        function = trigger.function.name
        for blob, etag in blobs.items():
            if self._stopping or self._receipts.has(function, blob, etag):
                continue
            if await self._called(trigger, blob, etag):
                continue
            tries[blob, etag] += 1
            if tries[blob, etag] >= MOST_TRIES:
                logger.error("%s: gave up on blob %s after %d tries", function, blob, MOST_TRIES)
                self._receipts.add(function, blob, etag)
            else:
                await self._sleep(min(2.0 ** (tries[blob, etag] - 1), LONGEST_PAUSE_SECONDS))
        self._receipts.keep(function, blobs)

    async def _called(self, trigger: BlobTrigger, blob: str, etag: str) -> bool:
        call = asyncio.create_task(self._call(trigger, blob, etag))
        self._calling.add(call)
        call.add_done_callback(self._calling.discard)
        return await asyncio.shield(call)

    async def _call(self, trigger: BlobTrigger, blob: str, etag: str) -> bool:
        try:
            await self._invoker.call(trigger.function, trigger.value(blob))
        except Exception:
            logger.exception("%s raised on blob %s", trigger.function.name, blob)
            return False
        self._receipts.add(trigger.function.name, blob, etag)
        return True
