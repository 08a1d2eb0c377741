"""The timer that deletes what tenants want kept no longer."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import azure.durable_functions as df
import azure.functions as func
import grpc
from durabletask.client import OrchestrationState, OrchestrationStatus

import wiring
from contracts.errors import DependencyUnavailable
from policies.privacy.due import Stores
from policies.privacy.expiry import delete_due

bp = df.Blueprint()

EVERY_HOUR = "0 17 * * * *"

_ENDED = frozenset(
    {
        OrchestrationStatus.COMPLETED,
        OrchestrationStatus.FAILED,
        OrchestrationStatus.TERMINATED,
    }
)


class DurableHistories:
    """See `policies.privacy.due.Histories`."""

    def __init__(self, client: df.DurableFunctionsClient) -> None:
        self._client = client

    async def ended_at(self, instance: str, unknown: datetime) -> datetime | None:
        state = await self._state(instance)
        if state is None:
            return unknown
        # The SDK's times are of UTC, and do not say so.
        return state.last_updated_at.replace(tzinfo=UTC) if state.runtime_status in _ENDED else None

    async def purge(self, instance: str) -> None:
        try:
            # Never more than it: what others it has started are named one by one.
            await self._client.purge_orchestration(instance, recursive=False)
        except grpc.RpcError as error:
            raise _unreachable() from error

    async def _state(self, instance: str) -> OrchestrationState | None:
        try:
            return await self._client.get_orchestration_state(instance, fetch_payloads=False)
        except grpc.RpcError as error:
            raise _unreachable() from error


@bp.function_name("delete_due")
@bp.timer_trigger(
    arg_name="timer", schedule=os.environ.get("SLUICE_RETENTION_SCHEDULE") or EVERY_HOUR
)
@bp.durable_client_input(client_name="client")
async def delete_what_is_due(timer: func.TimerRequest, client: df.DurableFunctionsClient) -> None:
    """One run; the platform lets one worker at a time have it."""
    parts = wiring.parts()
    stores = Stores(parts.jobs, parts.files, parts.batch_store)
    await delete_due(stores, DurableHistories(client), parts.privacy)


def _unreachable() -> DependencyUnavailable:
    return DependencyUnavailable("The durable engine cannot be reached: the next run goes on.")
