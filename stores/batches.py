"""What a batch needs kept.

Names in the container, under `TENANT/`:

    batches/ID            the batch as accepted
    keys/HASH             which batch an Idempotency-Key stands for
    plans/ID              its slices
    problems/ID           what is wrong with its input
    stops/ID              the mark that it is to stop
    ends/ID               the batch object as it ended
    slices/ID/NNNNN.out   lines that were answered, appended as they were
    slices/ID/NNNNN.err   lines that failed
    slices/ID/NNNNN.left  what is known of lines that are to be run again
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel

from contracts.batches import (
    AcceptedBatch,
    BatchObject,
    BatchPlan,
    LineProblems,
    RequestCounts,
    Tokens,
)
from contracts.ids import is_batch_id
from stores.blobs import Container, Described, Taken
from stores.files import newest
from stores.jobs import KeyClaim, claimed_keys
from stores.old import old_names
from stores.recent import Recent


class StopMark(BaseModel):
    """Why a batch is to stop, and since when."""

    why: str
    at: datetime


class Note(BaseModel):
    """What is noted beside the lines of a part."""

    run: str
    """Which run writes it."""
    lines: int = 0
    tokens: Tokens = Tokens()
    starts: int = 1
    """How often the slice was started since a line of it last ended; 0 once a run has ended."""
    ended: int = 0
    """Lines that had ended at the last start."""
    alone: str = ""
    """The line that is run by itself now, since the slice was started so often."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one slice has written of one kind."""

    name: str
    """Of the blob."""
    index: int
    """Of the slice."""
    kind: str
    size: int
    """In bytes."""
    note: Note


@dataclass(frozen=True, slots=True)
class Progress:
    """What of a batch has ended so far."""

    counts: RequestCounts
    tokens: Tokens


RECENT_BYTES = 4 * 1024 * 1024


class BatchStore:
    """Blobs of batches. Methods raise DependencyUnavailable when storage cannot be used."""

    def __init__(self, container: Container) -> None:
        self._blobs = container
        self._recent = Recent(RECENT_BYTES)

    # The batch.

    async def accept(self, batch: AcceptedBatch) -> None:
        """Keep an accepted batch; one that is there already stays as it is."""
        name, content = f"{batch.tenant}/batches/{batch.id}", batch.model_dump_json().encode()
        if await self._blobs.put_new(name, content):
            self._recent.add(name, content)

    async def get(self, tenant: str, batch_id: str) -> AcceptedBatch | None:
        stored = await self._unchanging(f"{tenant}/batches/{batch_id}")
        return None if stored is None else AcceptedBatch.model_validate_json(stored)

    async def page(self, tenant: str, *, after: str | None, most: int) -> tuple[list[str], bool]:
        """Ids, newest first, from the one after `after` on, and whether there are more."""
        return await newest(self._blobs, f"{tenant}/batches/", after=after, most=most)

    async def _unchanging(self, name: str) -> bytes | None:
        """A blob that is written once, or always the same: every step of a batch reads it."""
        stored = self._recent.get(name)
        if stored is None and (stored := await self._blobs.get(name)) is not None:
            self._recent.add(name, stored)
        return stored

    async def claim_key(self, tenant: str, key: str, claim: KeyClaim) -> KeyClaim:
        """Bind an Idempotency-Key to a batch, or learn which batch has it already."""
        name, content = _key_name(tenant, key), claim.model_dump_json().encode()
        if await self._blobs.put_new(name, content, metadata={"of": claim.job_id}):
            return claim
        # A key's blob is only ever removed by retention, long after: then it is free again.
        return await self.get_claim(tenant, key) or claim

    async def get_claim(self, tenant: str, key: str) -> KeyClaim | None:
        """Which batch has an Idempotency-Key; None when none has."""
        stored = await self._blobs.get(_key_name(tenant, key))
        return None if stored is None else KeyClaim.model_validate_json(stored)

    async def put_plan(self, tenant: str, batch_id: str, plan: BatchPlan) -> None:
        name, content = f"{tenant}/plans/{batch_id}", plan.model_dump_json().encode()
        await self._blobs.put(name, content)
        self._recent.add(name, content)

    async def get_plan(self, tenant: str, batch_id: str) -> BatchPlan | None:
        stored = await self._unchanging(f"{tenant}/plans/{batch_id}")
        return None if stored is None else BatchPlan.model_validate_json(stored)

    async def put_problems(self, tenant: str, batch_id: str, problems: LineProblems) -> None:
        await self._blobs.put(f"{tenant}/problems/{batch_id}", problems.model_dump_json().encode())

    async def get_problems(self, tenant: str, batch_id: str) -> LineProblems | None:
        stored = await self._blobs.get(f"{tenant}/problems/{batch_id}")
        return None if stored is None else LineProblems.model_validate_json(stored)

    async def stop(self, tenant: str, batch_id: str, why: str) -> None:
        """Mark that no further line is to be begun. The first reason stays."""
        mark = StopMark(why=why, at=datetime.now(UTC))
        await self._blobs.put_new(f"{tenant}/stops/{batch_id}", mark.model_dump_json().encode())

    async def stopped(self, tenant: str, batch_id: str) -> StopMark | None:
        """Why it is to stop; None when it is not."""
        stored = await self._blobs.get(f"{tenant}/stops/{batch_id}")
        return None if stored is None else StopMark.model_validate_json(stored)

    async def end(self, tenant: str, batch: BatchObject) -> None:
        """Keep the batch as it ended."""
        await self._blobs.put(f"{tenant}/ends/{batch.id}", batch.model_dump_json().encode())

    async def ended(self, tenant: str, batch_id: str) -> BatchObject | None:
        stored = await self._blobs.get(f"{tenant}/ends/{batch_id}")
        return None if stored is None else BatchObject.model_validate_json(stored)

    # Its slices.

    def part_name(self, tenant: str, batch_id: str, index: int, kind: str) -> str:
        """Of the blob that takes a slice's lines of a kind: `out`, `err` or `left`."""
        return f"{_slices(tenant, batch_id)}{index:05d}.{kind}"

    def lines(self, name: str) -> AsyncIterator[bytes]:
        """What a slice has written, piece by piece."""
        return self._blobs.read(name)

    async def take(self, name: str, note: Note) -> Taken:
        """Begin to write a part, which is made if need be: see `Container.take`."""
        return await self._blobs.take(name, _noted(note))

    async def append(self, name: str, data: bytes, etag: str) -> str | None:
        """Add lines to a part: see `Container.append_as`."""
        return await self._blobs.append_as(name, data, etag)

    async def note(self, name: str, note: Note, etag: str) -> str | None:
        """Note how far a part has come: as `append`."""
        return await self._blobs.describe_as(name, _noted(note), etag)

    async def look(self, name: str) -> tuple[Part, str] | None:
        """A part as it stands, with its etag."""
        found = await self._blobs.look(name)
        return None if found is None else (_part(found), found.etag)

    async def parts(self, tenant: str, batch_id: str) -> list[Part]:
        """What the slices wrote, in the order of the input."""
        prefix = _slices(tenant, batch_id)
        return [_part(blob, prefix) async for blob in self._blobs.descriptions(prefix)]

    async def progress(self, tenant: str, batch_id: str) -> Progress:
        """What the slices have noted; what they wrote since then is not in it yet."""
        return counted(await self.parts(tenant, batch_id))

    # Retention.

    def old(self, tenant: str, before: datetime) -> AsyncIterator[list[str]]:
        """Pages of batches that were accepted before then."""
        return old_names(self._blobs, f"{tenant}/batches/", "batch_", is_batch_id, before)

    async def not_ended(self, tenant: str) -> AsyncIterator[AcceptedBatch]:
        """Batches whose end is not kept."""
        ends = await self._names(f"{tenant}/ends/")
        for batch_id in await self._names(f"{tenant}/batches/") - ends:
            if (batch := await self.get(tenant, batch_id)) is not None:
                yield batch

    async def has(self, tenant: str, batch_id: str) -> bool:
        """Whether the batch is in storage."""
        return await self._blobs.look(f"{tenant}/batches/{batch_id}") is not None

    async def forget(self, tenant: str, batch_id: str, kept: set[str]) -> None:
        """Remove a batch, but of what its slices wrote not these kinds. What it is found by comes
        last."""
        for part in await self._names(_slices(tenant, batch_id)):
            if part.rpartition(".")[2] not in kept:
                await self._blobs.delete(_slices(tenant, batch_id) + part)
        for what in ("plans", "problems", "stops", "ends", "batches"):
            name = f"{tenant}/{what}/{batch_id}"
            await self._blobs.delete(name)
            self._recent.drop(name)

    def keys(self, tenant: str) -> AsyncIterator[tuple[str, str]]:
        """The digest of each Idempotency-Key, and the batch that has it."""
        return claimed_keys(self._blobs, tenant)

    async def free_key(self, tenant: str, digest: str) -> None:
        await self._blobs.delete(f"{tenant}/keys/{digest}")

    async def _names(self, prefix: str) -> set[str]:
        return {blob.name async for blob in self._blobs.descriptions(prefix)}


def counted(parts: list[Part]) -> Progress:
    """What the notes say, summed up."""
    counts, tokens = RequestCounts(), Tokens()
    for part in parts:
        if part.kind == "out":
            counts.completed += part.note.lines
            tokens.add(part.note.tokens)
        elif part.kind == "err":
            counts.failed += part.note.lines
    return Progress(counts, tokens)


def _key_name(tenant: str, key: str) -> str:
    return f"{tenant}/keys/{hashlib.sha256(key.encode()).hexdigest()}"


def _slices(tenant: str, batch_id: str) -> str:
    return f"{tenant}/slices/{batch_id}/"


def _noted(note: Note) -> dict[str, str]:
    return {"note": note.model_dump_json(exclude_defaults=True)}


def _part(blob: Described, prefix: str = "") -> Part:
    name = f"{prefix}{blob.name}"
    index, _, kind = name.rpartition("/")[2].partition(".")
    note = Note.model_validate_json(blob.metadata["note"])
    return Part(name, int(index), kind, blob.size, note)
