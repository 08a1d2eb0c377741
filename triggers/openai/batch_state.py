"""How far a batch has come: what is kept of its end, else what its steps tell."""

from __future__ import annotations

from datetime import UTC
from typing import Any, cast

import azure.durable_functions as df
import grpc
from durabletask.client import OrchestrationState, OrchestrationStatus
from pydantic_core import from_json

from batches.ending import CANCELLED, begun, seconds
from contracts.batches import (
    AcceptedBatch,
    BatchObject,
    BatchStatus,
    BatchTimes,
    LineProblem,
    LineProblems,
)
from contracts.errors import DependencyUnavailable
from wiring import Parts

_ENDED_WITHOUT_A_WORD = (
    OrchestrationStatus.FAILED,
    OrchestrationStatus.TERMINATED,
)


async def state_of(
    parts: Parts, client: df.DurableFunctionsClient, batch: AcceptedBatch
) -> BatchObject | None:
    """None when it was never started. Raises DependencyUnavailable."""
    store = parts.batch_store
    if (ended := await store.ended(batch.tenant, batch.id)) is not None:
        return ended
    try:
        state = await client.get_orchestration_state(batch.id)
    except grpc.RpcError as error:
        raise DependencyUnavailable(
            "The state of the batch cannot be read now. Nothing was lost: try again."
        ) from error
    now = begun(batch)
    if state is None:
        return None
    if state.runtime_status in _ENDED_WITHOUT_A_WORD:
        return _lost(now, state)
    _show(now, state)
    if now.status != "validating":
        progress = await store.progress(batch.tenant, batch.id)
        total = now.request_counts.total
        now.request_counts = progress.counts.model_copy(update={"total": total})
        now.usage = progress.tokens.counts()
    stop = await store.stopped(batch.tenant, batch.id)
    if stop is not None and stop.why == CANCELLED:
        now.status, now.cancelling_at = "cancelling", seconds(stop.at)
    return now


def _show(now: BatchObject, state: OrchestrationState) -> None:
    """What the orchestration tells of itself."""
    if state.serialized_custom_status is None:
        return
    shown: dict[str, Any] = from_json(state.serialized_custom_status)
    times = BatchTimes.model_validate(shown["times"])
    now.status = cast(BatchStatus, shown["status"])
    now.request_counts.total = int(shown["total"])
    now.in_progress_at = seconds(times.in_progress_at)
    now.finalizing_at = seconds(times.finalizing_at)


def _lost(now: BatchObject, state: OrchestrationState) -> BatchObject:
    now.status = "failed"
    now.failed_at = seconds(state.last_updated_at.replace(tzinfo=UTC))  # naive, and in UTC
    message = "A fault in the service ended the batch; its operator finds it logged."
    now.errors = LineProblems(data=[LineProblem(code="service_fault", message=message)])
    return now
