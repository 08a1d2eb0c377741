"""Lines, screened before anything is paid for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batches.calls import Answer, Call
from contracts.batches import JOBS_ENDPOINT, AcceptedBatch, BatchLine
from contracts.calls import CallScope

if TYPE_CHECKING:
    from policies.screening.screening import Screening


def screened(call: Call, batch: AcceptedBatch, screening: Screening | None) -> Call:
    """The same call, made of lines that pass. Raises ContentBlocked besides what it raises."""
    if screening is None or screening.of(batch.tenant) is None:
        return call
    is_job = batch.request.endpoint == JOBS_ENDPOINT

    async def of_line(line: BatchLine, scope: CallScope) -> Answer:
        # What a model works on already has passed, and is paid for.
        if not any(handle.held for handle in scope.handles.values()):
            await screening.line(batch.tenant, line.body, is_job=is_job)
        return await call(line, scope)

    return of_line
