"""The steps of a batch, each of which may be run again: an activity calls one."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from batches import results
from batches.calls import caller
from batches.checkpoint import Checkpoint
from batches.lines import LineChecker, cut, parse
from batches.planning import plan
from batches.slices import SliceRun, carry
from contracts.batches import (
    AcceptedBatch,
    BatchLine,
    BatchObject,
    BatchPlan,
    BatchTicket,
    CommitTicket,
    FileObject,
    LineProblem,
    LineProblems,
    Slice,
    SliceOutcome,
    SliceTicket,
    Validation,
)
from contracts.errors import SluiceError
from endpoints import Endpoints
from flows.registry import Flows
from stores.batches import BatchStore
from stores.files import FileStore

CANCELLED, EXPIRED, HOPELESS, FAULT = "cancelled", "expired", "hopeless", "fault"
"""Why a batch is stopped."""

_NOT_RUN = {
    CANCELLED: ("batch_cancelled", "The batch was cancelled before this line was run."),
    EXPIRED: ("batch_expired", "The batch expired before this line was run."),
    HOPELESS: ("batch_failed", "Too many lines of the batch had failed to run this one."),
    FAULT: (
        "batch_failed",
        "A fault in the service ended the batch; its operator finds it logged.",
    ),
}


@dataclass(frozen=True, slots=True)
class Batches:
    """What the steps work with."""

    store: BatchStore
    files: FileStore
    endpoints: Endpoints
    flows: Flows

    async def validate(self, ticket: BatchTicket) -> Validation:
        """Read the whole input; keep its slices, or what is wrong with it."""
        batch = await self._batch(ticket)
        stored = await self.files.get(batch.tenant, batch.request.input_file_id)
        if stored is None:
            gone = LineProblem(code="invalid_request", message="The input file is gone.")
            return await self._problems(batch, [gone], 1)
        checker = LineChecker(batch.request.endpoint, self.endpoints.models)
        findings = await plan(self.files.content(stored), checker)
        if findings.found:
            return await self._problems(batch, findings.problems, findings.found)
        await self.store.put_plan(batch.tenant, batch.id, findings.plan)
        return Validation(slices=len(findings.plan.slices), lines=findings.plan.lines)

    async def run_slice(self, ticket: SliceTicket) -> SliceOutcome:
        """Run a slice's lines that have not ended."""
        batch = await self._batch(ticket.batch)
        run = SliceRun(
            batch_id=batch.id,
            tenant=batch.tenant,
            call=caller(batch.request.endpoint, self.endpoints, self.flows),
            checkpoint=self._checkpoint(batch, ticket.index),
            stopped=lambda: self._stopped(batch),
            hopeless=lambda: self.store.stop(batch.tenant, batch.id, HOPELESS),
            max_failed_share=batch.request.max_failed_share,
            last_round=ticket.last_round,
        )
        piece = (await self._plan(batch)).slices[ticket.index]
        return await carry(run, [line async for line in self._lines(batch, piece)])

    async def stop(self, ticket: BatchTicket, why: str) -> None:
        """Let no further line begin."""
        await self.store.stop(ticket.tenant, ticket.id, why)

    async def commit(self, ticket: CommitTicket) -> BatchObject:
        """Make the two files of what the slices wrote, and keep the batch as it ended."""
        batch = await self._batch(ticket.batch)
        if (ended := await self.store.ended(batch.tenant, batch.id)) is not None:
            return ended
        problems = await self.store.get_problems(batch.tenant, batch.id)
        why = await self.store.stopped(batch.tenant, batch.id)
        if problems is None and why is not None:
            await self._fill(batch, why)
        ended = await self._ended(batch, ticket, problems, why)
        await self.store.end(batch.tenant, ended)
        return ended

    # Reading.

    async def _batch(self, ticket: BatchTicket) -> AcceptedBatch:
        batch = await self.store.get(ticket.tenant, ticket.id)
        if batch is None:
            raise SluiceError("The batch is no longer in storage. Send it again.")
        return batch

    async def _plan(self, batch: AcceptedBatch) -> BatchPlan:
        plan = await self.store.get_plan(batch.tenant, batch.id)
        if plan is None:
            raise SluiceError("The batch's slices are no longer in storage. Send it again.")
        return plan

    async def _lines(self, batch: AcceptedBatch, piece: Slice) -> AsyncIterator[BatchLine]:
        stored = await self.files.get(batch.tenant, batch.request.input_file_id)
        if stored is None:
            raise SluiceError("The batch's input file was deleted. Send it again.")
        pieces = self.files.read(stored, offset=piece.offset, length=piece.length)
        async for line in cut(pieces, offset=piece.offset, number=piece.first_line):
            parsed = parse(line.text)
            if isinstance(parsed, BatchLine):  # else it is empty: all others were checked
                yield parsed

    async def _stopped(self, batch: AcceptedBatch) -> bool:
        return await self.store.stopped(batch.tenant, batch.id) is not None

    def _checkpoint(self, batch: AcceptedBatch, index: int) -> Checkpoint:
        names = [
            self.store.slice_name(batch.tenant, batch.id, index, kind) for kind in ("out", "err")
        ]
        return Checkpoint(self.store, *names)

    # Ending.

    async def _problems(
        self, batch: AcceptedBatch, problems: list[LineProblem], found: int
    ) -> Validation:
        await self.store.put_problems(batch.tenant, batch.id, LineProblems(data=problems))
        return Validation(problems=found)

    async def _fill(self, batch: AcceptedBatch, why: str) -> None:
        """Write an error for each line that was not run."""
        plan = await self.store.get_plan(batch.tenant, batch.id)
        for index, piece in enumerate(plan.slices if plan else ()):
            checkpoint = self._checkpoint(batch, index)
            done = await checkpoint.read()
            await checkpoint.write(
                [
                    results.not_run(batch.id, line.custom_id, *_NOT_RUN[why])
                    async for line in self._lines(batch, piece)
                    if line.custom_id not in done
                ]
            )
            await checkpoint.describe()

    async def _ended(
        self,
        batch: AcceptedBatch,
        ticket: CommitTicket,
        problems: LineProblems | None,
        why: str | None,
    ) -> BatchObject:
        plan = await self.store.get_plan(batch.tenant, batch.id)
        progress = await self.store.progress(batch.tenant, batch.id)
        ended = begun(batch)
        ended.model = plan.model if plan else None
        ended.request_counts = progress.counts.model_copy(
            update={"total": plan.lines if plan else 0}
        )
        ended.usage = progress.tokens
        ended.in_progress_at = _seconds(ticket.times.in_progress_at)
        ended.finalizing_at = _seconds(ticket.times.finalizing_at)
        now = _seconds(ticket.now)
        if problems is not None or why in (HOPELESS, FAULT):
            ended.status, ended.failed_at = "failed", now
            ended.errors = problems or _failed(batch, why)
        elif why == CANCELLED:
            ended.status, ended.cancelled_at = "cancelled", now
        elif why == EXPIRED:
            ended.status, ended.expired_at = "expired", now
        else:
            ended.status, ended.completed_at = "completed", now
        ended.output_file_id = await self._file(batch, "out", "output", ticket.now)
        ended.error_file_id = await self._file(batch, "err", "error", ticket.now)
        return ended

    async def _file(self, batch: AcceptedBatch, kind: str, name: str, now: datetime) -> str | None:
        """The id of the file of what the slices wrote; None when they wrote nothing."""
        parts = await self.store.parts(batch.tenant, batch.id, kind)
        if not parts:
            return None
        file = FileObject(
            id=_file_id(batch.id, kind),
            bytes=sum(part.size for part in parts),
            created_at=int(now.timestamp()),
            filename=f"{batch.id}_{name}.jsonl",
            purpose="batch_output",
        )
        await self.files.put(batch.tenant, file, [part.name for part in parts])
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


def _failed(batch: AcceptedBatch, why: str | None) -> LineProblems:
    code, message = "service_fault", _NOT_RUN[FAULT][1]
    if why == HOPELESS:
        share = batch.request.max_failed_share or 0
        code = "too_many_failures"
        message = f"At least {share:.0%} of the lines had failed: the others were not run."
    return LineProblems(data=[LineProblem(code=code, message=message)])


def _file_id(batch_id: str, kind: str) -> str:
    """The same each time, so that a batch committed twice has one file of a kind."""
    digest = hashlib.sha256(f"{batch_id}\0{kind}".encode()).hexdigest()[:20]
    return f"file-{batch_id.removeprefix('batch_')[:14]}{digest}"


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
