"""Names by which rooms find each other's functions, events and queues."""

from __future__ import annotations

from typing import Any

JOB_ORCHESTRATOR = "job"
RUN_JOB_ACTIVITY = "run_job"
CANCEL_EVENT = "cancel"
NUDGE_EVENT = "nudge"
"""To a job that makes no progress, with a Nudge."""

MOST_STARTS = 5
"""How often one step of a job is started: again after its worker died or storage failed it."""

PUBLISH_REPLY_ACTIVITY = "publish_reply"
CANCEL_CALLS_ACTIVITY = "cancel_calls"
FREE_SLOT_ACTIVITY = "free_slot"

HUB_BINDING: dict[str, Any] = {
    "arg_name": "hub",
    "type": "durableClient",
    "durable_requires_grpc": True,
}
"""A durable client as its text, for functions that call models: one client is made of it in a
process, not one with a channel of its own for each call."""
STANDING_ENTITY = "standing"
"""One a model: what its workers share of its deployments."""
QUOTA_ENTITY = "quota"
"""One a tenant: what its workers share of its quotas."""
ROLLOUT_ORCHESTRATOR = "rollout"
NOTE_AUDIT_ACTIVITY = "note_audit"

BATCH_ORCHESTRATOR = "batch"
BATCH_LANE_ORCHESTRATOR = "batch_lane"
VALIDATE_BATCH_ACTIVITY = "validate_batch"
RUN_SLICE_ACTIVITY = "run_slice"
STOP_BATCH_ACTIVITY = "stop_batch"
COMMIT_BATCH_ACTIVITY = "commit_batch"
RELEASE_BATCH_ACTIVITY = "release_batch"
ANNOUNCE_BATCH_ACTIVITY = "announce_batch"
MOST_LANES = 8
"""Slices of one batch that run at a time."""

BATCH_INPUTS = "SLUICE_BATCH_INPUTS"
"""The app setting of the blob container into which others put the inputs of batches."""
DEFAULT_BATCH_INPUTS = "batch-inputs"
BATCH_INPUTS_SOURCE = "SLUICE_BATCH_INPUTS_SOURCE"
"""The app setting that says how the host learns of them: EventGrid or LogsAndContainerScan."""

SERVICE_BUS_CONNECTION = "ServiceBusConnection"
"""The app setting of the namespace: a connection string, or NAME__fullyQualifiedNamespace."""
REQUESTS_QUEUE = "inference-requests"
RESULTS_QUEUE = "inference-results"
REJECTED_QUEUE = "inference-rejected"


def lane_id(batch_id: str, lane: int) -> str:
    """The instance id of one of a batch's lanes."""
    return f"{batch_id}-lane-{lane}"
