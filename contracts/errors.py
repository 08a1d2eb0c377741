"""The error family, and its one mapping to HTTP, to Service Bus and to retries.

    SluiceError
    ├── CallerError            the caller's fault: never retried
    │   ├── Unauthenticated    401  no identity, or one that does not hold
    │   ├── Forbidden          403  who asks may not; says what is missing
    │   │   ├── BudgetSpent         the tenant's day or month is used up
    │   │   ├── ContentBlocked      screening refuses what was sent
    │   │   └── PersonalDataRefused no deployment is given the personal data in it
    │   ├── InvalidRequest     400  a field is wrong; names it and what was expected
    │   ├── NotFound           404  no such job, flow, model …
    │   │   └── UnknownModel        as the OpenAI API tells it
    │   ├── Conflict           409  the resource's state does not allow it
    │   ├── IdempotencyKeyReused  422  the key is bound to another request
    │   └── PayloadTooLarge    413
    ├── NoCapacity             429  every deployment refuses; says from when one will not
    │   └── QuotaReached            the tenant's own limit; names it
    ├── CallPending            202  a model works on the call; says when to look again
    ├── ModelCallError         a model call ended badly
    │   ├── CallRejected       the model refused the request itself: never retried
    │   ├── EndpointUnusable   401/403/404 from an endpoint: an operator must act; never retried
    │   ├── CallFailed         every deployment failed: retried later
    │   │   └── CallGivenUp    what a model worked on was cancelled, or took too long: never retried
    │   └── OutcomeUnknown     the model may have run: retried only at-least-once
    ├── FlowFailed             an author's flow raised: never retried
    ├── InputGone              a batch's input file was deleted while it ran
    ├── DeadlineExceeded       the job's deadline passed
    ├── DependencyUnavailable  storage or messaging is down: retried later
    │   └── Overtaken          another worker does the same: this one begins anew
    └── Misconfigured          the app cannot work as it is set up: an operator must act

`detail` is shown to the caller, so it never carries a prompt, an answer or a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import ClassVar

from contracts.problems import FieldProblem, Problem
from contracts.quotas import RateStanding


class Retry(StrEnum):
    """What the one owner of retries, the orchestrator, does after an error."""

    NEVER = "never"
    LATER = "later"
    """Again after a back-off, a limited number of times."""
    WHEN_CAPACITY = "when_capacity"
    """Again at the time the error names, as often as it takes."""
    WHEN_DUE = "when_due"
    """At the time the error names, to see whether the model has ended."""


class Settle(StrEnum):
    """What a Service Bus door does with the message that led to an error."""

    REJECT = "reject"
    """Reply with the error, keep the original in the rejected queue, complete."""
    ABANDON = "abandon"
    """Give the message back: delivered again, dead-lettered after the documented count."""


class SluiceError(Exception):
    """The root: `detail` is one clear sentence that says what to do."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    code: ClassVar[str] = "internal_error"
    retry: ClassVar[Retry] = Retry.NEVER
    settle: ClassVar[Settle] = Settle.REJECT

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def problem(self, instance: str | None = None) -> Problem:
        """These facts as RFC 9457 problem details."""
        return Problem(
            title=self.status.phrase,
            status=int(self.status),
            code=self.code,
            detail=self.detail,
            instance=instance,
        )


class CallerError(SluiceError):
    status = HTTPStatus.BAD_REQUEST
    code = "invalid_request"


class InvalidRequest(CallerError):
    """A field is missing or wrong. `problems` names each and what was expected."""

    def __init__(self, detail: str, problems: list[FieldProblem] | None = None) -> None:
        super().__init__(detail)
        self.problems = problems or []

    def problem(self, instance: str | None = None) -> Problem:
        return super().problem(instance).model_copy(update={"errors": self.problems or None})


class Unauthenticated(CallerError):
    """The door does not know who asks. RFC 9110, section 15.5.2: told with WWW-Authenticate."""

    status = HTTPStatus.UNAUTHORIZED
    code = "unauthenticated"


class Forbidden(CallerError):
    status = HTTPStatus.FORBIDDEN
    code = "forbidden"


class BudgetSpent(Forbidden):
    """What the tenant may use in a day or a month is used; names the limit and when it is new."""

    code = "budget_spent"


class ContentBlocked(Forbidden):
    """Screening found what the tenant's rules do not let through; names the rule."""

    code = "content_blocked"


class PersonalDataRefused(Forbidden):
    """The request holds personal data, and no deployment that could be asked is given any."""

    code = "personal_data_refused"


class NotFound(CallerError):
    status = HTTPStatus.NOT_FOUND
    code = "not_found"


class UnknownModel(NotFound):
    """OpenAI's clients look for this code."""

    code = "model_not_found"


class Conflict(CallerError):
    status = HTTPStatus.CONFLICT
    code = "conflict"


class IdempotencyKeyReused(CallerError):
    """The key was used with another request (draft-ietf-httpapi-idempotency-key-header: 422)."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "idempotency_key_reused"


class PayloadTooLarge(CallerError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "payload_too_large"


class NoCapacity(SluiceError):
    """No deployment of the model takes a call before `retry_at` (aware, UTC)."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "no_capacity"
    retry = Retry.WHEN_CAPACITY
    settle = Settle.ABANDON

    def __init__(self, detail: str, retry_at: datetime) -> None:
        super().__init__(detail)
        self.retry_at = retry_at


class QuotaReached(NoCapacity):
    """A limit of the tenant is reached, whatever the deployments have free. `limit` names it;
    `standing` tells of the rates that hold for the call."""

    code = "quota_reached"

    def __init__(
        self, detail: str, retry_at: datetime, limit: str, standing: Sequence[RateStanding] = ()
    ) -> None:
        super().__init__(detail, retry_at)
        self.limit = limit
        self.standing = standing


class CallPending(SluiceError):
    """A model works on a call beyond this step of the job.

    `handle` names what it works on. Made again at `check_at` (aware, UTC) with the handles that
    the step has gathered, the call asks for its answer instead of beginning anew.
    """

    status = HTTPStatus.ACCEPTED
    code = "model_call_pending"
    retry = Retry.WHEN_DUE
    settle = Settle.ABANDON

    def __init__(self, handle: str, check_at: datetime) -> None:
        super().__init__(f"The model works on {handle}.")
        self.handle = handle
        self.check_at = check_at


class ModelCallError(SluiceError):
    status = HTTPStatus.BAD_GATEWAY
    code = "model_call_failed"


class CallRejected(ModelCallError):
    """The model refused this request (a 4xx that is about the input)."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "model_rejected_request"


class EndpointUnusable(ModelCallError):
    """The endpoint is not usable as configured: key, permission, address or traffic."""

    code = "endpoint_unusable"


class CallFailed(ModelCallError):
    """Every deployment that could be tried failed."""

    retry = Retry.LATER
    settle = Settle.ABANDON


class CallGivenUp(CallFailed):
    """What the model worked on was cancelled at its place, or outlasted what it may take.

    Begun again it would fare no better, and cost as much.
    """

    retry = Retry.NEVER
    settle = Settle.REJECT


class OutcomeUnknown(ModelCallError):
    """The request was sent and no answer came: the model may have run."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "outcome_unknown"
    retry = Retry.LATER


class FlowFailed(SluiceError):
    """The flow's own code raised."""

    code = "flow_failed"


class InputGone(SluiceError):
    """A batch's input file was deleted while the batch ran."""

    code = "input_gone"


class DeadlineExceeded(SluiceError):
    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "deadline_exceeded"


class DependencyUnavailable(SluiceError):
    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "dependency_unavailable"
    retry = Retry.LATER
    settle = Settle.ABANDON


class Overtaken(DependencyUnavailable):
    """Another worker does the same step: this one is started anew, and finds what that has done."""


class Misconfigured(SluiceError):
    """A setting or a file of the app is wrong; says which and what was expected."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "misconfigured"
    settle = Settle.ABANDON
