"""The steps of a batch, each of which may be run again: an activity calls one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from batches.calls import Call, flow_caller, model_caller
from batches.checkpoint import Checkpoint
from batches.ending import EXPIRED, GONE, HOPELESS, Ending
from batches.input import input_file, slice_lines
from batches.lines import LineChecker
from batches.planning import plan
from batches.screening import screened
from batches.slices import SliceRun, carry
from contracts.batches import (
    JOBS_ENDPOINT,
    AcceptedBatch,
    BatchObject,
    BatchPlan,
    BatchTicket,
    CommitTicket,
    LineProblem,
    LineProblems,
    SliceOutcome,
    SliceTicket,
    Validation,
)
from contracts.calls import Booked
from contracts.errors import Conflict, InputGone, SluiceError
from endpoints import Endpoints
from flows.registry import Flows
from policies.identity.scopes import may_call, may_run
from policies.quotas.admission import Quotas
from stores.batches import BatchStore
from stores.files import FileStore
from stores.input_blobs import InputBlobs

if TYPE_CHECKING:
    from policies.screening.screening import Screening

LONGEST_FLOW = timedelta(minutes=15)
"""Of a line: one that is begun at the end of a slice's run must end before the host ends both."""
FEWEST_FOR_A_SHARE = 100
"""Lines that have ended, before the share of failed ones says anything."""


@dataclass(frozen=True, slots=True)
class Batches:
    """What the steps work with."""

    store: BatchStore
    files: FileStore
    inputs: InputBlobs
    endpoints: Endpoints
    flows: Flows
    flow_time: timedelta
    """That a flow may take."""
    booked: Booked
    """Waited for before the lines that calls were made for are kept."""
    quotas: Quotas = field(default_factory=partial(Quotas, {}))
    screening: Screening | None = None
    """None where no line passes any screen."""

    async def validate(self, ticket: BatchTicket) -> Validation:
        """Read the whole input; keep its slices, or what is wrong with it."""
        batch = await self._batch(ticket)
        try:
            stored = await input_file(self.files, self.inputs, batch)
        except Conflict as error:
            return await self._wrong(batch, "invalid_request", error.detail)
        if stored is None:
            return await self._wrong(batch, "invalid_request", "The input file was deleted.")
        models = [name for name in self.endpoints.models if may_call(batch, name)]
        flows = [info.name for info in self.flows.infos if may_run(batch, info)]
        checker = LineChecker(batch.request.endpoint, models, flows)
        findings = await plan(self.files.content(stored), checker)
        if findings.found:
            return await self._problems(batch, findings.problems, findings.found)
        await self.store.put_plan(batch.tenant, batch.id, findings.plan)
        return Validation(slices=len(findings.plan.slices), lines=findings.plan.lines)

    async def run_slice(self, ticket: SliceTicket) -> SliceOutcome:
        """Run a slice's lines that have not ended."""
        batch = await self._batch(ticket.batch)
        piece = (await self._plan(batch)).slices[ticket.index]
        try:
            lines = [line async for line in slice_lines(self.files, batch, piece)]
        except InputGone:
            await self.store.stop(batch.tenant, batch.id, GONE)
            return SliceOutcome(stopped=True)
        return await carry(self._run(batch, ticket.index), lines)

    async def stop(self, ticket: BatchTicket, why: str) -> None:
        """Let no further line begin."""
        await self.store.stop(ticket.tenant, ticket.id, why)

    async def commit(self, ticket: CommitTicket) -> BatchObject:
        """Make the two files of what the slices wrote, and keep the batch as it ended."""
        batch = await self._batch(ticket.batch)
        return await Ending(self.store, self.files).commit(batch, ticket)

    async def release(self, ticket: BatchTicket) -> None:
        """End what models still work on for a batch that has ended without it.

        Raises DependencyUnavailable while a deployment cannot be told.
        """
        for handles in await Ending(self.store, self.files).abandoned(ticket):
            await self.endpoints.cancel(handles)

    def _run(self, batch: AcceptedBatch, index: int) -> SliceRun:
        judges = batch.request.max_failed_share is not None
        return SliceRun(
            batch_id=batch.id,
            tenant=batch.tenant,
            call=self._call(batch),
            checkpoint=Checkpoint.of_slice(self.store, batch, index),
            stopped=lambda: self._stopped(batch),
            booked=self.booked,
            weight=self.quotas.of(batch.tenant).weight,
            judge=(lambda: self._judge(batch)) if judges else None,
            one_model=batch.request.endpoint != JOBS_ENDPOINT,
        )

    def _call(self, batch: AcceptedBatch) -> Call:
        return screened(self._plain_call(batch), batch, self.screening)

    def _plain_call(self, batch: AcceptedBatch) -> Call:
        if batch.request.endpoint == JOBS_ENDPOINT:
            longest = min(self.flow_time, LONGEST_FLOW)
            return flow_caller(self.endpoints, self.flows, longest)
        return model_caller(batch.request.endpoint, self.endpoints)

    async def _stopped(self, batch: AcceptedBatch) -> bool:
        if datetime.now(UTC) >= batch.expires_at:
            await self.store.stop(batch.tenant, batch.id, EXPIRED)
            return True
        return await self.store.stopped(batch.tenant, batch.id) is not None

    async def _judge(self, batch: AcceptedBatch) -> None:
        """Stop the batch when so many lines have failed that the others had better not be paid
        for."""
        counts = (await self.store.progress(batch.tenant, batch.id)).counts
        ended = counts.completed + counts.failed
        assert batch.request.max_failed_share is not None
        if ended >= FEWEST_FOR_A_SHARE and counts.failed / ended >= batch.request.max_failed_share:
            await self.store.stop(batch.tenant, batch.id, HOPELESS)

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

    async def _wrong(self, batch: AcceptedBatch, code: str, message: str) -> Validation:
        return await self._problems(batch, [LineProblem(code=code, message=message)], 1)

    async def _problems(
        self, batch: AcceptedBatch, problems: list[LineProblem], found: int
    ) -> Validation:
        await self.store.put_problems(batch.tenant, batch.id, LineProblems(data=problems))
        return Validation(problems=found)
