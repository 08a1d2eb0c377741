"""What a batch needs kept.

Names in the container, under `TENANT/`: `batches/ID` the batch as accepted; `plans/ID` its slices,
`problems/ID` what is wrong with its input; `stops/ID` the mark that it is to stop; `ends/ID` the
batch object as it ended; `slices/ID/NNNNN.out` and `.err` the lines that have ended, appended one
by one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from contracts.batches import (
    AcceptedBatch,
    BatchObject,
    BatchPlan,
    LineProblems,
    RequestCounts,
    TokenCounts,
)
from stores.blobs import Container
from stores.files import newest


@dataclass(frozen=True, slots=True)
class Progress:
    """What of a batch has ended so far."""

    counts: RequestCounts
    tokens: TokenCounts


@dataclass(frozen=True, slots=True)
class Part:
    """What one slice has written into one of the two files."""

    name: str
    """Of the blob."""
    size: int


class BatchStore:
    """Blobs of batches. Methods raise DependencyUnavailable when storage cannot be used."""

    def __init__(self, container: Container) -> None:
        self._blobs = container

    # The batch.

    async def accept(self, batch: AcceptedBatch) -> None:
        """Keep an accepted batch; one that is there already stays as it is."""
        await self._blobs.put_new(
            f"{batch.tenant}/batches/{batch.id}", batch.model_dump_json().encode()
        )

    async def get(self, tenant: str, batch_id: str) -> AcceptedBatch | None:
        stored = await self._blobs.get(f"{tenant}/batches/{batch_id}")
        return None if stored is None else AcceptedBatch.model_validate_json(stored)

    async def page(self, tenant: str, *, after: str | None, most: int) -> tuple[list[str], bool]:
        """Ids, newest first, from the one after `after` on, and whether there are more."""
        return await newest(self._blobs, f"{tenant}/batches/", after=after, most=most)

    async def put_plan(self, tenant: str, batch_id: str, plan: BatchPlan) -> None:
        await self._blobs.put(f"{tenant}/plans/{batch_id}", plan.model_dump_json().encode())

    async def get_plan(self, tenant: str, batch_id: str) -> BatchPlan | None:
        stored = await self._blobs.get(f"{tenant}/plans/{batch_id}")
        return None if stored is None else BatchPlan.model_validate_json(stored)

    async def put_problems(self, tenant: str, batch_id: str, problems: LineProblems) -> None:
        await self._blobs.put(f"{tenant}/problems/{batch_id}", problems.model_dump_json().encode())

    async def get_problems(self, tenant: str, batch_id: str) -> LineProblems | None:
        stored = await self._blobs.get(f"{tenant}/problems/{batch_id}")
        return None if stored is None else LineProblems.model_validate_json(stored)

    async def stop(self, tenant: str, batch_id: str, why: str) -> None:
        """Mark that no further line is to be begun. The first reason stays."""
        await self._blobs.put_new(f"{tenant}/stops/{batch_id}", why.encode())

    async def stopped(self, tenant: str, batch_id: str) -> str | None:
        """Why it is to stop; None when it is not."""
        stored = await self._blobs.get(f"{tenant}/stops/{batch_id}")
        return None if stored is None else stored.decode()

    async def end(self, tenant: str, batch: BatchObject) -> None:
        """Keep the batch as it ended."""
        await self._blobs.put(f"{tenant}/ends/{batch.id}", batch.model_dump_json().encode())

    async def ended(self, tenant: str, batch_id: str) -> BatchObject | None:
        stored = await self._blobs.get(f"{tenant}/ends/{batch_id}")
        return None if stored is None else BatchObject.model_validate_json(stored)

    # Its slices.

    def slice_name(self, tenant: str, batch_id: str, index: int, kind: str) -> str:
        """Of the blob that takes a slice's lines of a kind: `out` or `err`."""
        return f"{_slices(tenant, batch_id)}{index:05d}.{kind}"

    def lines(self, name: str) -> AsyncIterator[bytes]:
        """What a slice has written, piece by piece."""
        return self._blobs.read(name)

    async def append(self, name: str, data: bytes, position: int) -> int | None:
        """Add lines to a slice's blob: see `Container.append_at`."""
        return await self._blobs.append_at(name, data, position)

    async def describe(self, name: str, lines: int, tokens: TokenCounts) -> None:
        """Note how many lines a slice's blob holds, and what they used."""
        await self._blobs.describe(
            name,
            {
                "lines": str(lines),
                "input_tokens": str(tokens.input_tokens),
                "output_tokens": str(tokens.output_tokens),
            },
        )

    async def progress(self, tenant: str, batch_id: str) -> Progress:
        """What the slices have noted; what they wrote since then is not in it yet."""
        counts, tokens = RequestCounts(), TokenCounts()
        async for blob in self._blobs.descriptions(_slices(tenant, batch_id)):
            lines = int(blob.metadata.get("lines", 0))
            if blob.name.endswith(".out"):
                counts.completed += lines
            else:
                counts.failed += lines
            tokens.input_tokens += int(blob.metadata.get("input_tokens", 0))
            tokens.output_tokens += int(blob.metadata.get("output_tokens", 0))
        tokens.total_tokens = tokens.input_tokens + tokens.output_tokens
        return Progress(counts, tokens)

    async def parts(self, tenant: str, batch_id: str, kind: str) -> list[Part]:
        """What the slices wrote of a kind, in the order of the input."""
        prefix = _slices(tenant, batch_id)
        return [
            Part(prefix + blob.name, blob.size)
            async for blob in self._blobs.descriptions(prefix)
            if blob.name.endswith(f".{kind}") and blob.size
        ]


def _slices(tenant: str, batch_id: str) -> str:
    return f"{tenant}/slices/{batch_id}/"
