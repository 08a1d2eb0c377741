"""The end of a batch: what was not run is said, and the two files are made of what the slices
wrote."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime

from batches import results
from batches.checkpoint import Checkpoint
from batches.input import slice_ids
from batches.lines import cut
from batches.part_writer import ANY_LENGTH
from contracts.batches import (
    AcceptedBatch,
    BatchObject,
    BatchPlan,
    BatchTicket,
    CommitTicket,
    FileObject,
    LineProblem,
    LineProblems,
    Slice,
)
from contracts.calls import CallHandle
from contracts.errors import InputGone
from stores.batches import BatchStore, Part, StopMark, counted
from stores.files import FileStore
from telemetry import metrics

CANCELLED, EXPIRED, HOPELESS = "cancelled", "expired", "hopeless"
GONE, FAULT = "gone", "fault"
"""Why a batch is stopped."""

FILLS_AT_ONCE = 8
"""Slices."""

_FAULT = "A fault in the service ended the batch; its operator finds it logged."
_GONE = "The input file was deleted while the batch ran."
_NOT_RUN = {
    CANCELLED: ("batch_cancelled", "The batch was cancelled before this line was run."),
    EXPIRED: ("batch_expired", "The batch expired before this line was run."),
    HOPELESS: ("batch_failed", "Too many lines of the batch had failed to run this one."),
    GONE: ("batch_failed", _GONE),
    FAULT: ("batch_failed", _FAULT),
}


@dataclass(frozen=True, slots=True)
class Ending:
    """What it works with."""

    store: BatchStore
    files: FileStore

    async def commit(self, batch: AcceptedBatch, ticket: CommitTicket) -> BatchObject:
        """The batch as it ended. Said again, it is as it was the first time."""
        store, key = self.store, (batch.tenant, batch.id)
        ended, problems, plan, stop, parts = await asyncio.gather(
            store.ended(*key),
            store.get_problems(*key),
            store.get_plan(*key),
            store.stopped(*key),
            store.parts(*key),
        )
        if ended is not None:
            return ended
        if problems is None and plan is not None and any(_unfinished(plan, parts)):
            # Lanes end before their slices only where a batch is stopped.
            stop = stop or StopMark(why=FAULT, at=ticket.now)
            await self._fill(batch, plan, parts, stop.why)
            parts = await self.store.parts(batch.tenant, batch.id)
        ended = begun(batch)
        _tell_times(ended, ticket, stop)
        _tell_counts(ended, plan, parts)
        _tell_end(ended, batch, problems, stop, int(ticket.now.timestamp()))
        ended.output_file_id, ended.error_file_id = await asyncio.gather(
            self._file(batch, parts, "out", "output", ticket.now),
            self._file(batch, parts, "err", "error", ticket.now),
        )
        await self.store.end(batch.tenant, ended)
        metrics.BATCHES.add(1, {"sluice.status": ended.status, "sluice.tenant": batch.tenant})
        return ended

    async def abandoned(self, ticket: BatchTicket) -> list[dict[str, CallHandle]]:
        """What models work on, of lines that were not answered."""
        found: list[dict[str, CallHandle]] = []
        for part in await self.store.parts(ticket.tenant, ticket.id):
            if part.kind == "left":
                found += await self._open_handles(ticket, part)
        return found

    # What was not run.

    async def _fill(
        self, batch: AcceptedBatch, plan: BatchPlan, parts: list[Part], why: str
    ) -> None:
        """Write an error for each line that was not run."""
        unfinished = _unfinished(plan, parts)

        async def fill_some() -> None:
            for index, piece in unfinished:
                await self._fill_slice(batch, index, piece, why)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(FILLS_AT_ONCE):
                    group.create_task(fill_some())
        except* InputGone:
            pass  # nobody can say any more which lines there were

    async def _fill_slice(self, batch: AcceptedBatch, index: int, piece: Slice, why: str) -> None:
        checkpoint = Checkpoint.of_slice(self.store, batch, index)
        ended = await checkpoint.read()
        checkpoint.add(
            [
                results.not_run(batch.id, custom_id, *_NOT_RUN[why])
                async for custom_id in slice_ids(self.files, batch, piece)
                if custom_id not in ended
            ]
        )
        await checkpoint.flush()
        await checkpoint.close()

    async def _open_handles(self, ticket: BatchTicket, part: Part) -> list[dict[str, CallHandle]]:
        left = {}
        async for text in self._texts(part.name):
            custom_id, so_far = results.read_left(text)
            left[custom_id] = so_far.handles
        out = self.store.part_name(ticket.tenant, ticket.id, part.index, "out")
        async for text in self._texts(out):
            left.pop(results.read_ended(text)[0], None)
        return [handles for handles in left.values() if any(each.open for each in handles.values())]

    async def _texts(self, name: str) -> AsyncIterator[bytes]:
        async for line in cut(self.store.lines(name), most=ANY_LENGTH):
            yield line.text

    # The files.

    async def _file(
        self, batch: AcceptedBatch, parts: list[Part], kind: str, name: str, now: datetime
    ) -> str | None:
        """The id of the file of what the slices wrote; None when they wrote nothing."""
        mine = [part for part in parts if part.kind == kind and part.size]
        if not mine:
            return None
        file = FileObject(
            id=_file_id(batch.id, kind),
            bytes=sum(part.size for part in mine),
            created_at=int(now.timestamp()),
            filename=f"{batch.id}_{name}.jsonl",
            purpose="batch_output",
        )
        await self.files.put(batch.tenant, file, [part.name for part in mine])
        return file.id


def begun(batch: AcceptedBatch) -> BatchObject:
    """A batch of which nothing is known yet but that it was accepted."""
    return BatchObject(
        id=batch.id,
        endpoint=batch.request.endpoint,
        input_file_id=batch.request.input_file_id,
        status="validating",
        created_at=int(batch.created_at.timestamp()),
        expires_at=int(batch.expires_at.timestamp()),
        metadata=batch.request.metadata,
    )


def _unfinished(plan: BatchPlan, parts: list[Part]) -> Iterator[tuple[int, Slice]]:
    """Slices that have fewer lines ended than they have."""
    ended = [0] * len(plan.slices)
    for part in parts:
        if part.kind != "left":
            ended[part.index] += part.note.lines
    return ((index, piece) for index, piece in enumerate(plan.slices) if ended[index] < piece.lines)


def _tell_times(ended: BatchObject, ticket: CommitTicket, stop: StopMark | None) -> None:
    ended.in_progress_at = seconds(ticket.times.in_progress_at)
    ended.finalizing_at = seconds(ticket.times.finalizing_at)
    if stop is not None and stop.why == CANCELLED:
        ended.cancelling_at = seconds(stop.at)


def _tell_counts(ended: BatchObject, plan: BatchPlan | None, parts: list[Part]) -> None:
    if plan is None:
        return
    ended.model = plan.model
    progress = counted(parts)
    ended.request_counts = progress.counts.model_copy(update={"total": plan.lines})
    ended.usage = progress.tokens.counts()


def _tell_end(
    ended: BatchObject,
    batch: AcceptedBatch,
    problems: LineProblems | None,
    stop: StopMark | None,
    now: int,
) -> None:
    why = None if stop is None else stop.why
    if problems is not None or why in (HOPELESS, GONE, FAULT):
        ended.status, ended.failed_at = "failed", now
        ended.errors = problems or _failed(batch, why)
    elif why == CANCELLED:
        ended.status, ended.cancelled_at = "cancelled", now
    elif why == EXPIRED:
        ended.status, ended.expired_at = "expired", now
    else:
        ended.status, ended.completed_at = "completed", now


def _failed(batch: AcceptedBatch, why: str | None) -> LineProblems:
    code, message = "service_fault", _FAULT
    if why == HOPELESS:
        share = batch.request.max_failed_share or 0
        code = "too_many_failures"
        message = f"At least {share:.0%} of the lines had failed: the others were not run."
    if why == GONE:
        code, message = "invalid_request", _GONE
    return LineProblems(data=[LineProblem(code=code, message=message)])


def _file_id(batch_id: str, kind: str) -> str:
    """The same each time, so that a batch committed twice has one file of a kind."""
    digest = hashlib.sha256(f"{batch_id}\0{kind}".encode()).hexdigest()[:20]
    return f"file-{batch_id.removeprefix('batch_')[:14]}{digest}"


def seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
