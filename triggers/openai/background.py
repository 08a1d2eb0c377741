"""Calls that become jobs: with `"background": true`, or with `Prefer: wait=N` from the start.

From the start, and not when N seconds are over: what a model has begun would be begun again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import azure.durable_functions as df
from starlette.responses import Response

from contracts.calls import Attempt
from contracts.errors import Conflict, InvalidRequest, NotFound
from contracts.jobs import AcceptedJob, JobOutcome, JobRequest
from contracts.openai import problem_body
from contracts.problems import FieldProblem
from triggers.door import JSON_MEDIA_TYPE, json_response
from triggers.http import unless_left
from triggers.job_state import POLL_AFTER_SECONDS, idempotency_key, record_of, waited_state
from triggers.openai.asked import Asked
from triggers.openai.headers import attempt_headers
from triggers.prefer import preferred_wait
from triggers.records import outcome_of
from triggers.screening import flag_headers, origin_of
from triggers.submission import Caller, submit
from wiring import Parts

type Shown = Callable[[bytes, list[Attempt]], bytes]
"""The body of the answer, of a job's result."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """That a call is to be a job."""

    wait: int | None
    """Seconds that the caller would wait for its end."""


def wanted(asked: Asked) -> Wanted | None:
    """None when the caller waits for the model itself. Raises InvalidRequest."""
    body, wait = asked.body, preferred_wait(asked.req.headers.get("Prefer"))
    if body.background and body.stream:
        expected = "false, as a job is not streamed: leave out `stream`, or `background`"
        raise InvalidRequest(
            f"`stream` is not as expected: {expected}.",
            [FieldProblem(field="stream", expected=expected)],
        )
    # A preference that cannot be honoured is ignored (RFC 7240 section 2).
    chosen = body.background or (wait is not None and not body.stream)
    return Wanted(wait) if chosen else None


async def as_job(asked: Asked, request: JobRequest, wish: Wanted, shown: Shown) -> Response:
    """Accept the job: 200 with the answer when it ends in time, else 202 with its record."""
    req, parts = asked.req, asked.parts
    caller = Caller(req.identity, idempotency_key(req), origin=origin_of(req))
    client = df.DurableFunctionsClient(asked.hub)
    try:
        job = await submit(parts, client, request, caller)
        state = await unless_left(req, waited_state(client, job.id, wish.wait))
    finally:
        await client.close()
    headers = {"Location": f"/v1/jobs/{job.id}", **flag_headers(job.flags)}
    if wish.wait is not None:
        headers["Preference-Applied"] = f"wait={wish.wait}"
    outcome = outcome_of(state)
    if outcome is not None:
        return await _ended(parts, job, outcome, headers, shown)
    headers["Retry-After"] = str(POLL_AFTER_SECONDS)
    return json_response(await record_of(parts, job, state), HTTPStatus.ACCEPTED, headers)


async def _ended(
    parts: Parts, job: AcceptedJob, outcome: JobOutcome, headers: dict[str, str], shown: Shown
) -> Response:
    if outcome.result_bytes is None:
        problem = outcome.error or Conflict(f"The job was {outcome.status}.").problem()
        return json_response(problem_body(problem), HTTPStatus(problem.status), headers)
    result = await parts.jobs.get_result(job.tenant, job.id)
    if result is None:
        raise NotFound("The job's result is no longer in storage. Send the request again.")
    attempts = outcome.ticket.attempts
    body = shown(result, attempts)
    return Response(body, 200, headers | attempt_headers(attempts), JSON_MEDIA_TYPE)
