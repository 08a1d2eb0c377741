"""One deployment, asked once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import getrandbits

from pydantic import JsonValue

from contracts.calls import Attempt, CallScope, ModelCall, Task, Usage
from contracts.errors import DeadlineExceeded, PayloadTooLarge
from endpoints.credentials import Credential, TokenUnavailable
from endpoints.json_body import NotJson
from endpoints.protocols import AnyDeployment, speak
from endpoints.standing import Standing
from endpoints.verdicts import ANSWERED, NO_TOKEN, Verdict, judge_silence, unreadable
from endpoints.wire import Limits, NoReply, Reply, Request, Wire

logger = logging.getLogger("sluice.endpoints")

type Now = Callable[[], datetime]
"""The time: aware, UTC."""


@dataclass(frozen=True, slots=True)
class Result:
    """What asking came to. `body` holds the answer when the verdict is `answered`."""

    verdict: Verdict
    attempt: Attempt
    body: JsonValue = None


@dataclass(frozen=True, slots=True)
class _Reading:
    """What came back, understood."""

    verdict: Verdict
    status: int | None = None
    body: JsonValue = None
    usage: Usage = field(default_factory=Usage)


def _random_uuid() -> str:
    """A UUID of version 4. It correlates and guards nothing: uuid4() would ask the kernel for
    better randomness, and be a tenth of what a call costs."""
    digits = f"{getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


@dataclass(frozen=True, slots=True)
class _Start:
    at: datetime
    clock: float = field(default_factory=time.perf_counter)
    request_id: str = field(default_factory=_random_uuid)


class Deployment:
    """A deployment as one model uses it: how to speak to it, and how it stands."""

    def __init__(
        self,
        model: str,
        settings: AnyDeployment,
        credential: Credential | None,
        wire: Wire,
        now: Now,
    ) -> None:
        self.name = settings.name
        self.protocol = settings.protocol
        self.standing = Standing()
        self._model = model
        self._speaks = speak(settings)
        self._credential = credential
        self._wire = wire
        self._now = now
        self._max_request_bytes = settings.max_request_bytes
        self._full_limits = Limits(
            seconds=settings.timeout_seconds,
            connect_seconds=settings.connect_timeout_seconds,
            answer_bytes=settings.max_response_bytes,
        )

    @property
    def tasks(self) -> frozenset[Task]:
        return self._speaks.tasks

    async def ask(self, call: ModelCall, scope: CallScope) -> Result:
        """Send the call; once more, with a new token, when the token was refused.

        Each request is added to `scope.attempts`. Never waits for capacity. Raises InvalidRequest
        and PayloadTooLarge before anything is sent, DeadlineExceeded when there is no time left.
        """
        request = self._speaks.request(call)
        size, most = len(request.body), self._max_request_bytes
        if most is not None and size > most:
            raise PayloadTooLarge(
                f"The request to the model is {size} bytes; deployment {self.name} takes {most}."
            )
        result = await self._ask(request, scope)
        self._remember(result.verdict)
        return result

    async def _ask(self, request: Request, scope: CallScope) -> Result:
        if self._credential is None:
            return await self._attempt(request, {}, scope)
        within = self._limits(scope).seconds
        try:
            secret = await self._credential.secret(within)
            result = await self._attempt(request, self._authorization(secret), scope)
            if not result.verdict.token_refused:
                return result
            renewed = await self._credential.renewed(secret, within)
        except TokenUnavailable:
            return self._ended(_Reading(NO_TOKEN), _Start(self._now()), scope)
        if renewed is None:
            return result
        return await self._attempt(request, self._authorization(renewed), scope)

    def _authorization(self, secret: str) -> dict[str, str]:
        name, value = self._speaks.authorization(secret)
        return {name: value}

    async def _attempt(
        self, request: Request, authorization: dict[str, str], scope: CallScope
    ) -> Result:
        limits, start = self._limits(scope), _Start(self._now())
        correlation = {"x-ms-client-request-id": start.request_id, "x-request-id": start.request_id}
        reply = await self._wire.send(request, authorization | correlation, limits)
        return self._ended(self._read(reply), start, scope)

    def _limits(self, scope: CallScope) -> Limits:
        if scope.deadline is None:
            return self._full_limits
        left = (scope.deadline - self._now()).total_seconds()
        if left <= 0:
            raise DeadlineExceeded("The deadline passed before the model answered.")
        return replace(self._full_limits, seconds=min(left, self._full_limits.seconds))

    def _read(self, reply: Reply | NoReply) -> _Reading:
        if isinstance(reply, NoReply):
            return _Reading(judge_silence(reply), reply.status)
        if not 200 <= reply.status < 300:
            return _Reading(self._speaks.verdict(reply, self._now()), reply.status)
        if reply.body is None:
            return _Reading(unreadable(reply, "answer over max_response_bytes"), reply.status)
        try:
            body = self._speaks.answer(reply)
        except NotJson:
            return _Reading(unreadable(reply, "answer is not JSON"), reply.status)
        return _Reading(ANSWERED, reply.status, body, self._speaks.usage(body))

    def _ended(self, reading: _Reading, start: _Start, scope: CallScope) -> Result:
        attempt = Attempt(
            model=self._model,
            deployment=self.name,
            outcome=reading.verdict.outcome,
            status=reading.status,
            started_at=start.at,
            seconds=time.perf_counter() - start.clock,
            request_id=start.request_id,
            reason=reading.verdict.reason,
            usage=reading.usage,
        )
        scope.attempts.append(attempt)
        return Result(reading.verdict, attempt, reading.body)

    def _remember(self, verdict: Verdict) -> None:
        if verdict.outcome == "answered":
            if self.standing.found_usable():
                logger.info("Deployment %s of model %s is usable again", self.name, self._model)
            return
        now = self._now()
        if verdict.wait is not None:
            self.standing.cool(now + timedelta(seconds=verdict.wait))
        if verdict.outcome == "unusable" and self.standing.found_unusable(now):
            logger.error(
                "Deployment %s of model %s is unusable (%s): check its url, credential, "
                "role assignment and traffic",
                self.name,
                self._model,
                verdict.reason,
            )
