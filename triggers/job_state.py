"""A job as callers are shown it: what Durable Functions and storage know of it now."""

from __future__ import annotations

import azure.durable_functions as df
import grpc
from durabletask.client import OrchestrationState

from contracts.errors import DependencyUnavailable, InvalidRequest
from contracts.jobs import AcceptedJob, JobOutcome, JobRecord, fits, job_record
from contracts.problems import FieldProblem
from triggers.http import Request
from triggers.operation import Parameter
from triggers.records import standing
from wiring import Parts

POLL_AFTER_SECONDS = 1
"""What a caller is told to wait before it looks at a job again."""
LONGEST_KEY = 255

IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "Any text: a repeat of the request with the same key returns the same job.",
    {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
)


def idempotency_key(req: Request) -> str | None:
    """Raises InvalidRequest when it is empty or too long."""
    key = req.headers.get(IDEMPOTENCY_KEY.name)
    if key is not None and not 1 <= len(key.strip()) <= LONGEST_KEY:
        expected = f"a text of 1 to {LONGEST_KEY} characters"
        raise InvalidRequest(
            f"`{IDEMPOTENCY_KEY.name}` is not as expected: {expected}.",
            [FieldProblem(field=IDEMPOTENCY_KEY.name, expected=expected)],
        )
    return key.strip() if key is not None else None


async def waited_state(
    client: df.DurableFunctionsClient, job_id: str, wait: int | None
) -> OrchestrationState:
    """The state once the job has ended, or as it is after `wait` seconds."""
    state = await wait_for_end(client, job_id, wait) if wait else None
    if state is None:
        state = await state_or_none(client, job_id)
    if state is None:
        raise unreachable()
    return state


async def record_of(parts: Parts, job: AcceptedJob, state: OrchestrationState) -> JobRecord:
    """With the result, when there is one that may be shown inline."""
    now = standing(state)
    result = None
    if isinstance(now, JobOutcome) and fits(now):
        result = await parts.jobs.get_result(job.tenant, job.id)
    return job_record(job, now, result)


async def state_or_none(
    client: df.DurableFunctionsClient, job_id: str
) -> OrchestrationState | None:
    """None when no such job was started. Raises DependencyUnavailable."""
    try:
        return await client.get_orchestration_state(job_id)
    except grpc.RpcError as error:
        raise unreachable() from error


async def wait_for_end(
    client: df.DurableFunctionsClient, job_id: str, seconds: int
) -> OrchestrationState | None:
    """The state once the job has ended; None when it has not within these seconds."""
    try:
        return await client.wait_for_orchestration_completion(job_id, timeout=seconds)
    except TimeoutError:
        return None
    except grpc.RpcError as error:
        raise unreachable() from error


def unreachable() -> DependencyUnavailable:
    return DependencyUnavailable(
        "The state of the job cannot be read now. Nothing was lost: try again in a few seconds."
    )
