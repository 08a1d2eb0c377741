"""The ledger's container: usage records by day, what they sum up to, and dedicated prices.

Names in the container: `usage/DAY/WORKER-NUMBER.jsonl`, append blobs that only grow;
`days/DAY.json`, which can be made again; `rates.json`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from importlib import import_module

from stores.blobs import Container


class LedgerStore:
    """Methods raise DependencyUnavailable when storage cannot be used."""

    def __init__(self, container: Container) -> None:
        self._blobs = container

    async def prepare(self) -> None:
        """Import what talks to storage, in a thread: it takes half a second, and calls go on."""
        await asyncio.to_thread(import_module, "azure.storage.blob.aio")

    async def append_at(self, name: str, data: bytes, position: int) -> int:
        """Add to a blob that has this length: see `Container.append_at`."""
        return await self._blobs.append_at(name, data, position)

    async def size(self, name: str) -> int:
        """Of a blob, in bytes; 0 when there is none."""
        found = await self._blobs.look(name)
        return 0 if found is None else found.size

    def read(self, name: str, start: int, length: int) -> AsyncIterator[bytes]:
        return self._blobs.read(name, offset=start, length=length)

    async def usage(self, prefix: str) -> dict[str, dict[str, int]]:
        """The sizes of the blobs of each day that begins with `prefix`: `2030-01` is a month."""
        days: dict[str, dict[str, int]] = defaultdict(dict)
        async for blob in self._blobs.descriptions(f"usage/{prefix}"):
            name = f"usage/{prefix}{blob.name}"
            days[name.split("/")[1]][name] = blob.size
        return days

    async def get_day(self, day: str) -> bytes | None:
        return await self._blobs.get(f"days/{day}.json")

    async def put_day(self, day: str, sums: bytes) -> None:
        await self._blobs.put(f"days/{day}.json", sums)

    async def get_rates(self) -> bytes | None:
        return await self._blobs.get("rates.json")

    async def put_rates(self, rates: bytes) -> None:
        await self._blobs.put("rates.json", rates)
