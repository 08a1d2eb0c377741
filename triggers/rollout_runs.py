"""A rollout as Durable Functions has it: started once a model, and read."""

from __future__ import annotations

import azure.durable_functions as df
import grpc
from durabletask.client import OrchestrationState, OrchestrationStatus

from contracts.errors import Conflict
from contracts.names import ROLLOUT_ORCHESTRATOR
from contracts.rollouts import RolloutRecord, RolloutStatus, RolloutTicket
from triggers.shared import unreachable

_RUNNING = frozenset(
    {
        OrchestrationStatus.RUNNING,
        OrchestrationStatus.PENDING,
        OrchestrationStatus.CONTINUED_AS_NEW,
        OrchestrationStatus.SUSPENDED,
    }
)


def runs(state: OrchestrationState | None) -> bool:
    """Whether it has not ended."""
    return state is not None and state.runtime_status in _RUNNING


async def state_of(client: df.DurableFunctionsClient, name: str) -> OrchestrationState | None:
    """None when there is no rollout of that id. Raises DependencyUnavailable."""
    try:
        return await client.get_orchestration_state(name)
    except grpc.RpcError as error:
        raise unreachable() from error


async def start(client: df.DurableFunctionsClient, ticket: RolloutTicket) -> None:
    """Raises Conflict while the model has a rollout that runs."""
    name = ticket.record.id
    running = Conflict(f"Model {ticket.record.model} has a rollout that runs: /v1/rollouts/{name}.")
    state = await state_of(client, name)
    if runs(state):
        raise running
    try:
        if state is not None:
            await client.purge_orchestration(name)
        await client.schedule_new_orchestration(
            ROLLOUT_ORCHESTRATOR, input=ticket.model_dump(mode="json"), instance_id=name
        )
    except grpc.RpcError as error:
        # Hosts refuse an id that is taken with different codes: another request came first.
        if await state_of(client, name) is not None:
            raise running from error
        raise unreachable() from error


def record_of(state: OrchestrationState) -> RolloutRecord:
    """As far as it has come."""
    if state.serialized_output is not None and (
        state.runtime_status is OrchestrationStatus.COMPLETED
    ):
        return RolloutRecord.model_validate_json(state.serialized_output)
    if state.serialized_custom_status is not None:
        record = RolloutRecord.model_validate_json(state.serialized_custom_status)
    else:
        assert state.serialized_input is not None
        record = RolloutTicket.model_validate_json(state.serialized_input).record
    if runs(state):
        return record
    terminated = state.runtime_status is OrchestrationStatus.TERMINATED
    why = "An operator terminated it" if terminated else "A fault in the service ended it"
    return record.model_copy(
        update={
            "status": RolloutStatus.FAILED,
            "ended_at": state.last_updated_at,
            "reason": f"{why}: the weights are as they were then.",
        }
    )
