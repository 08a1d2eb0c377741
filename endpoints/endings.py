"""How a call ends that no deployment has answered: one error that sums up what each said.

Of several reasons the one that asks for the most care decides:

    unknown     OutcomeUnknown    a model may have run, and may be paid for
    throttled   NoCapacity        from the earliest time that any deployment named
    failed      CallFailed        a later try may fare better
    unusable    EndpointUnusable  only when nothing else was found

A deployment whose size limit the request exceeds, or which is not given the personal data in it,
is passed by; PayloadTooLarge or PersonalDataRefused ends the call when that is so of all that could
be asked.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from contracts.calls import CallScope
from contracts.errors import (
    CallFailed,
    CallRejected,
    EndpointUnusable,
    NoCapacity,
    OutcomeUnknown,
    PayloadTooLarge,
    PersonalDataRefused,
    SluiceError,
)
from contracts.states import Execution
from endpoints.deployment import Result


class Tally:
    """What the deployments of one model have said to one call so far."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._results: list[Result] = []
        self._retry_at: datetime | None = None
        self._passed_by: PayloadTooLarge | PersonalDataRefused | None = None

    def cooling(self, until: datetime) -> None:
        """A deployment was not asked, since it wants to be left alone until then."""
        self._retry_at = min(self._retry_at or until, until)

    def passed_by(self, error: PayloadTooLarge | PersonalDataRefused) -> None:
        """A deployment was not asked, since the request is none for it."""
        self._passed_by = error

    def add(self, result: Result, scope: CallScope, now: datetime) -> None:
        """Count a result in. Raises when no other deployment may be asked after it.

        CallRejected: another deployment of the same model would refuse the request too.
        OutcomeUnknown: the model may have run, and the call must not be made twice.
        """
        verdict = result.verdict
        self._results.append(result)
        if verdict.outcome == "rejected":
            raise CallRejected(self._rejection(result))
        if verdict.may_have_run and scope.execution is Execution.AT_MOST_ONCE:
            raise OutcomeUnknown(
                f"Model {self._model} may have run, and at_most_once forbids to call it again: "
                f"{self._said()}."
            )
        if verdict.outcome == "throttled" and verdict.wait is not None:
            self.cooling(now + timedelta(seconds=verdict.wait))

    def error(self) -> SluiceError:
        """The error that ends the call when there is nobody left to ask."""
        outcomes = {result.verdict.outcome for result in self._results}
        if "unknown" in outcomes:
            return OutcomeUnknown(f"Model {self._model} may have run: {self._said()}.")
        if self._retry_at is not None:
            return NoCapacity(
                f"No deployment of model {self._model} takes a call before "
                f"{self._retry_at.isoformat(timespec='milliseconds')}.",
                self._retry_at,
            )
        if self._passed_by is not None and not outcomes:
            return self._passed_by
        if outcomes == {"unusable"}:
            return EndpointUnusable(
                f"Model {self._model} cannot be reached as configured, an operator must act: "
                f"{self._said()}."
            )
        return CallFailed(f"Every deployment of model {self._model} failed: {self._said()}.")

    def _said(self) -> str:
        return "; ".join(
            f"{result.attempt.deployment}: {result.verdict.reason}" for result in self._results
        )

    def _rejection(self, result: Result) -> str:
        at = f" at {result.verdict.param}" if result.verdict.param else ""
        return f"Model {self._model} refused the request: {result.verdict.reason}{at}."
