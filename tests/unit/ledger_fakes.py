"""Records, and a ledger's container in memory that may lose its answers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from contracts.calls import Attempt, AttemptOutcome, CallBegun, Task, Usage, UsageRecord
from contracts.errors import DependencyUnavailable
from endpoints.protocols.common_settings import Price
from ledger.journal import Journal
from ledger.ledger import Ledger
from ledger.prices import Prices
from stores.ledger import LedgerStore
from tests.unit.endpoints_fakes import NOON
from tests.unit.fakes import MemoryContainer

PRICES = Prices({"blue": Price.model_validate({"per_request": "0.01"})})
PLENTY = 10**9


def record(request_id: str = "r-1", outcome: AttemptOutcome = "answered", **fields: Any):
    """Of a request that used 7 and 5 tokens, unless it came to nothing."""
    usage = Usage(7, 5, 1) if outcome == "answered" else Usage()
    attempt = Attempt(
        model=fields.pop("model", "chat"),
        deployment=fields.pop("deployment", "blue"),
        version=fields.pop("version", None),
        outcome=outcome,
        status=200 if outcome == "answered" else None,
        started_at=NOON,
        seconds=fields.pop("seconds", 0.5),
        request_id=request_id,
        usage=fields.pop("usage", usage),
    )
    base: dict[str, Any] = {"tenant": "acme", "job_id": "job_1", "number": 1, "task": Task.CHAT}
    sizes: dict[str, Any] = {"protocol": "openai", "request_bytes": 100, "response_bytes": 200}
    return UsageRecord(attempt=attempt, **base | sizes | fields)


def begun(request_id: str = "r-1", **fields: Any) -> CallBegun:
    told: dict[str, Any] = {
        "tenant": "acme",
        "job_id": "job_1",
        "model": "chat",
        "task": Task.CHAT,
        "deployment": "blue",
        "protocol": "openai",
        "version": None,
        "started_at": NOON,
        "request_id": request_id,
        "request_bytes": 400,
        "mirrored": False,
        "flow": None,
    }
    return CallBegun(**told | fields)


@dataclass
class LedgerContainer(MemoryContainer):
    """`losing`: how many of the next appends are made, and never answered."""

    losing: int = 0
    appended: list[str] = field(default_factory=list)

    async def append_at(self, name: str, data: bytes, position: int) -> int:
        await self._begin("append_at")
        there = self.blobs.get(name, b"")
        if len(there) != position:
            return len(there)
        self._set(name, there + data)
        self.appended.append(name)
        if self.losing:
            self.losing -= 1
            raise DependencyUnavailable("The answer was lost.")
        return len(there) + len(data)

    @property
    def store(self) -> LedgerStore:
        return LedgerStore(cast(Any, self))

    def records(self) -> list[dict]:
        """Of all blobs, each of which is made of whole lines."""
        usage = [data for name, data in self.blobs.items() if name.startswith("usage/")]
        assert all(data.endswith(b"\n") for data in usage if data)
        return [json.loads(line) for data in usage for line in data.splitlines()]

    def ids(self) -> list[str]:
        return sorted(each["request_id"] for each in self.records())


def ledger(root: Path, container: LedgerContainer, worker: str = "w1", **options: Any) -> Ledger:
    most = options.pop("most_bytes", PLENTY)
    clock = options.pop("clock", None)
    journal = Journal(root, worker, most, **({"clock": clock} if clock else {}))
    return Ledger(journal, container.store, PRICES, **options)


async def until(condition: Any, within: float = 20.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)
