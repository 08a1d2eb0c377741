"""One deployment, asked once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import getrandbits

from pydantic import JsonValue

from contracts.calls import Attempt, CallBegun, CallScope, ModelCall, Task, Usage, UsageRecord
from contracts.errors import (
    DeadlineExceeded,
    Misconfigured,
    PayloadTooLarge,
    PersonalDataRefused,
)
from contracts.privacy import PersonalData, Redacted
from contracts.states import Execution
from endpoints.context import Context
from endpoints.credentials import Credential, Key, TokenUnavailable
from endpoints.finish_reasons import finish_reasons
from endpoints.json_body import NotJson
from endpoints.protocols import AnyDeployment, speak
from endpoints.routing.needs import Needs
from endpoints.routing.standing import Slot, Standing
from endpoints.sse import EventReader
from endpoints.streaming import Streaming
from endpoints.verdicts import (
    ANSWERED,
    CANCELLED,
    NO_TOKEN,
    Verdict,
    judge_silence,
    unreadable,
)
from endpoints.wire import Limits, NoReply, Reply, Request, Stream, Wire

logger = logging.getLogger("sluice.endpoints")

_WHOLE = (Reply, NoReply)

type _Open = Callable[[Request, Mapping[str, str], Limits], Awaitable[Stream | Reply | NoReply]]

PROBE_SECONDS = 5.0
"""What a health probe may take."""


@dataclass(slots=True)
class Result:
    """What asking came to. When the verdict is `answered`, `body` holds the answer, or `stream`
    brings it."""

    verdict: Verdict
    attempt: Attempt
    body: JsonValue = None
    stream: Streaming | None = None


@dataclass(slots=True)
class _Reading:
    """What came back, understood."""

    verdict: Verdict
    status: int | None = None
    body: JsonValue = None
    usage: Usage = field(default_factory=Usage)
    size: int = 0
    """Bytes of the answer's body."""


def _random_uuid() -> str:
    """A UUID of version 4. It correlates and guards nothing: uuid4() would ask the kernel for
    better randomness, and be a tenth of what a call costs."""
    rest = f"{getrandbits(60):015x}"
    return f"{_PROCESS}-a{rest[:3]}-{rest[3:]}"


_PROCESS = "-".join((f"{getrandbits(32):08x}", f"{getrandbits(16):04x}", f"4{getrandbits(12):03x}"))
"""The first half of every id of this process."""


@dataclass(slots=True)
class _Asking:
    """One call at this deployment, which may take two requests: see `Deployment.ask`."""

    task: Task
    scope: CallScope
    slot: Slot
    mirrored: bool = False
    hide_usage: bool | None = None
    """Set when the answer is to come as a stream: see `EventReader`."""
    sent: bool = False
    """Whether a request may have reached the deployment."""
    number: int = 0
    """Of its latest request among all that were made for the scope."""
    cut_short: bool = False
    """The deadline left less time than the deployment may take, and it was used up."""
    redacted: Redacted | None = None
    """Set when the deployment is not to see what the call holds."""


@dataclass(slots=True)
class _Start:
    at: datetime
    clock: float
    request_id: str
    size: int
    """Bytes of the request's body."""


class Deployment:
    """A deployment as one model uses it: how to speak to it, and how it stands."""

    def __init__(
        self,
        model: str,
        settings: AnyDeployment,
        credential: Credential | None,
        wire: Wire,
        context: Context,
    ) -> None:
        self.name = settings.name
        self.protocol = settings.protocol
        self.version = settings.version
        self.region = settings.region
        self.priority = settings.priority
        self.weight = settings.weight
        """As declared, until an operator shifts it."""
        self.standing = Standing(settings)
        self._model = model
        self._speaks = speak(settings)
        self._settings = settings
        self._credential = credential
        self._fixed = self._fixed_authorization(credential)
        self._wire = wire
        self._clocks = context.clocks
        self._begun = context.begun
        self._joins = context.joins
        self._meter = context.meter
        trusted = settings.personal_data is PersonalData.ALLOWED
        self._redaction = None if trusted else context.redaction
        if not trusted and self._redaction is None:
            raise Misconfigured(f"Nothing takes personal data out for deployment {self.name}.")
        self._full_limits = Limits(
            seconds=settings.timeout_seconds,
            connect_seconds=settings.connect_timeout_seconds,
            answer_bytes=settings.max_response_bytes,
        )

    @property
    def tasks(self) -> frozenset[Task]:
        return self._speaks.tasks

    @property
    def counts_tokens(self) -> bool:
        """Whether what a call needs must be known before it is sent here."""
        settings = self._settings
        limited = settings.tokens_per_minute or settings.context_tokens
        return bool(limited or settings.modalities is not None or not settings.json_mode)

    def meets(self, needs: Needs) -> bool:
        settings = self._settings
        if settings.context_tokens is not None and needs.tokens > settings.context_tokens:
            return False
        if needs.json_mode and not settings.json_mode:
            return False
        return settings.modalities is None or needs.modalities <= settings.modalities

    def ask(
        self, call: ModelCall, scope: CallScope, slot: Slot, *, mirrored: bool = False
    ) -> Coroutine[None, None, Result]:
        """Send the call; once more, with a new token, when the token was refused.

        Gives the slot back. Each request is metered and added to `scope.attempts`. Never waits
        for capacity. Raises InvalidRequest, PayloadTooLarge and PersonalDataRefused before anything
        is sent, DeadlineExceeded when there is no time left.
        """
        return self._asked(call, _Asking(call.task, scope, slot, mirrored))

    def open(self, call: ModelCall, scope: CallScope, slot: Slot) -> Coroutine[None, None, Result]:
        """As `ask`, for an answer as server-sent events: the slot is kept until its end."""
        options = call.payload.get("stream_options") if isinstance(call.payload, dict) else None
        asked = isinstance(options, dict) and options.get("include_usage") is True
        return self._asked(call, _Asking(call.task, scope, slot, hide_usage=not asked))

    async def _asked(self, call: ModelCall, asking: _Asking) -> Result:
        try:
            if self._redaction is not None:
                call = await self._redacted(call, asking)
            request = self._request(call, asking)
            if asking.slot.trial and (unready := await self._unready(request, asking)) is not None:
                result = unready
            else:
                result = await self._ask(request, asking)
        except BaseException:
            self.standing.let_go(asking.slot, self._clocks.monotonic(), used=asking.sent)
            raise
        if result.stream is None:
            self._remember(result, asking)
            self._restore(result, asking)
        return result

    async def _redacted(self, call: ModelCall, asking: _Asking) -> ModelCall:
        """The call as the deployment may see it."""
        if self._redaction is None:
            return call
        redacted = await self._redaction.redacted(call.payload, asking.scope.tenant)
        if redacted is None:
            return call
        if self._settings.personal_data is PersonalData.REFUSED:
            raise PersonalDataRefused(
                f"The request holds personal data, which deployment {self.name} of model"
                f" {self._model} is not given, and there is no other to ask."
            )
        asking.redacted = redacted
        return replace(call, payload=redacted.payload)

    def _restore(self, result: Result, asking: _Asking) -> None:
        if asking.redacted is not None and result.verdict.outcome == "answered":
            result.body = asking.redacted.restored(result.body)

    def _request(self, call: ModelCall, asking: _Asking) -> Request:
        streams = asking.hide_usage is not None
        request = self._speaks.streaming_request(call) if streams else self._speaks.request(call)
        size, most = len(request.body), self._settings.max_request_bytes
        if most is not None and size > most:
            raise PayloadTooLarge(
                f"The request to the model is {size} bytes; deployment {self.name} takes {most}."
            )
        return request

    async def _unready(self, request: Request, asking: _Asking) -> Result | None:
        """A deployment that kept failing is asked for its health first, where it can be asked: no
        call need be spent on it."""
        probe = self._speaks.health()
        if probe is None:
            return None
        seconds = min(PROBE_SECONDS, self._limits(asking).seconds)
        start = self._start(request)
        reply = await self._wire.send(probe, {}, replace(self._full_limits, seconds=seconds))
        if isinstance(reply, Reply) and 200 <= reply.status < 300:
            return None
        why = reply.reason if isinstance(reply, NoReply) else f"HTTP {reply.status}"
        return self._ended(_Reading(Verdict("not_connected", f"not ready: {why}")), start, asking)

    def _ask(self, request: Request, asking: _Asking) -> Coroutine[None, None, Result]:
        if self._fixed is not None:
            return self._attempt(request, self._fixed, asking)
        assert self._credential is not None
        return self._ask_with_token(request, self._credential, asking)

    async def _ask_with_token(
        self, request: Request, credential: Credential, asking: _Asking
    ) -> Result:
        within = self._limits(asking).seconds
        try:
            secret = await credential.secret(within)
            result = await self._attempt(request, self._authorization(secret), asking)
            if not result.verdict.token_refused:
                return result
            renewed = await credential.renewed(secret, within)
        except TokenUnavailable:
            return self._ended(_Reading(NO_TOKEN), self._start(request), asking)
        if renewed is None:
            return result
        return await self._attempt(request, self._authorization(renewed), asking)

    def _fixed_authorization(self, credential: Credential | None) -> Mapping[str, str] | None:
        """The header that is the same for every call; None where it has to be asked for."""
        if credential is None:
            return {}
        return self._authorization(credential.value) if isinstance(credential, Key) else None

    def _authorization(self, secret: str) -> dict[str, str]:
        name, value = self._speaks.authorization(secret)
        return {name: value}

    async def _attempt(
        self, request: Request, authorization: Mapping[str, str], asking: _Asking
    ) -> Result:
        limits, start = self._limits(asking), self._start(request)
        headers = {
            **authorization,
            **self._note(start, asking),
            "x-ms-client-request-id": start.request_id,
            "x-request-id": start.request_id,
        }
        asking.sent = True
        send = self._wire.send if asking.hide_usage is None else self._opening(asking)
        try:
            reply = await send(request, headers, limits)
        except asyncio.CancelledError:
            self._ended(_Reading(CANCELLED), start, asking)
            raise
        if not isinstance(reply, _WHOLE):
            return self._streaming(reply, start, asking)
        if isinstance(reply, NoReply):
            asking.sent = reply.sent
            took = self._clocks.monotonic() - start.clock
            asking.cut_short = took >= limits.seconds < self._full_limits.seconds
        return self._ended(self._read(reply), start, asking)

    def _note(self, start: _Start, asking: _Asking) -> Mapping[str, str]:
        """Say that a request is about to be sent. Returns the headers by which it joins a trace."""
        begun = CallBegun(
            tenant=asking.scope.tenant,
            job_id=asking.scope.job_id,
            model=self._model,
            task=asking.task,
            deployment=self.name,
            protocol=self.protocol,
            version=self.version,
            started_at=start.at,
            request_id=start.request_id,
            request_bytes=start.size,
            mirrored=asking.mirrored,
            flow=asking.scope.flow,
            of_batch=asking.scope.batch_id is not None,
        )
        self._begun(begun)
        return self._joins(begun)

    def _opening(self, asking: _Asking) -> _Open:
        """An answer that has begun has passed its trial: only its beginning has to come soon."""
        return self._open_soon if self._on_short_trial(asking) else self._wire.open

    async def _open_soon(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Stream | Reply | NoReply:
        try:
            async with asyncio.timeout(self.standing.trial_seconds()):
                return await self._wire.open(request, headers, limits)
        except TimeoutError:
            return NoReply(sent=True, reason="timed out waiting for the answer")

    def _on_short_trial(self, asking: _Asking) -> bool:
        """A deployment that hangs must not keep its next trial waiting. Unless a call may run only
        once: that one is given its time."""
        return asking.slot.trial and asking.scope.execution is not Execution.AT_MOST_ONCE

    def _start(self, request: Request) -> _Start:
        clocks = self._clocks
        return _Start(clocks.now(), clocks.monotonic(), _random_uuid(), len(request.body))

    def _limits(self, asking: _Asking) -> Limits:
        """Less than the settings allow when a deadline is nearer, or for a trial."""
        seconds = self._full_limits.seconds
        if asking.hide_usage is None and self._on_short_trial(asking):
            seconds = min(seconds, self.standing.trial_seconds())
        if asking.scope.deadline is not None:
            left = (asking.scope.deadline - self._clocks.now()).total_seconds()
            if left <= 0:
                raise DeadlineExceeded("The deadline passed before the model answered.")
            seconds = min(left, seconds)
        if seconds == self._full_limits.seconds:
            return self._full_limits
        return replace(self._full_limits, seconds=seconds)

    def _read(self, reply: Reply | NoReply) -> _Reading:
        if isinstance(reply, NoReply):
            return _Reading(judge_silence(reply), reply.status)
        if not 200 <= reply.status < 300:
            return _Reading(self._speaks.verdict(reply, self._clocks.now()), reply.status)
        if reply.body is None:
            return _Reading(unreadable(reply, "answer over max_response_bytes"), reply.status)
        size = len(reply.body)
        try:
            body = self._speaks.answer(reply)
        except NotJson:
            return _Reading(unreadable(reply, "answer is not JSON"), reply.status, size=size)
        return _Reading(ANSWERED, reply.status, body, self._speaks.usage(body), size)

    def _ended(self, reading: _Reading, start: _Start, asking: _Asking) -> Result:
        attempt = self._attempt_record(reading, start, asking)
        self._metered(attempt, start, asking, reading.size, finish_reasons(reading.body))
        return Result(reading.verdict, attempt, reading.body)

    def _attempt_record(self, reading: _Reading, start: _Start, asking: _Asking) -> Attempt:
        attempt = Attempt(
            model=self._model,
            deployment=self.name,
            version=self.version,
            outcome=reading.verdict.outcome,
            status=reading.status,
            started_at=start.at,
            seconds=self._clocks.monotonic() - start.clock,
            request_id=start.request_id,
            reason=reading.verdict.reason,
            usage=reading.usage,
        )
        asking.scope.attempts.append(attempt)
        asking.number = len(asking.scope.attempts)
        return attempt

    def _metered(
        self,
        attempt: Attempt,
        start: _Start,
        asking: _Asking,
        size: int,
        finish_reasons: tuple[str, ...] = (),
    ) -> None:
        scope = asking.scope
        self._meter(
            UsageRecord(
                tenant=scope.tenant,
                job_id=scope.job_id,
                attempt=attempt,
                number=asking.number,
                task=asking.task,
                protocol=self.protocol,
                request_bytes=start.size,
                response_bytes=size,
                finish_reasons=finish_reasons,
                mirrored=asking.mirrored,
                flow=scope.flow,
            )
        )

    def _remember(self, result: Result, asking: _Asking) -> None:
        verdict, slot, now = result.verdict, asking.slot, self._clocks.monotonic()
        if verdict.outcome == "answered":
            usage = result.attempt.usage
            if self.standing.answered(slot, now, usage.input_tokens + usage.output_tokens):
                self._tell_recovery()
        elif asking.cut_short and not slot.trial:
            self.standing.let_go(slot, now, used=asking.sent)  # its time was up, not its fault
        elif self.standing.ended(slot, verdict, now):
            self._tell_operator(verdict)

    def _tell_recovery(self) -> None:
        logger.info("Deployment %s of model %s answers again", self.name, self._model)

    def _tell_operator(self, verdict: Verdict) -> None:
        if verdict.outcome == "unusable":
            logger.error(
                "Deployment %s of model %s is unusable (%s): check its url, credential, "
                "role assignment and traffic",
                self.name,
                self._model,
                verdict.reason,
            )
        else:
            logger.warning(
                "Deployment %s of model %s keeps failing (%s) and is left alone for a while",
                self.name,
                self._model,
                verdict.reason,
            )

    def _streaming(self, stream: Stream, start: _Start, asking: _Asking) -> Result:
        """An answer has begun: its attempt is on record, and is told the rest at the end."""
        attempt = self._attempt_record(_Reading(ANSWERED, stream.status), start, asking)
        if self.standing.answering(asking.slot, self._clocks.monotonic()):
            self._tell_recovery()

        def ended(verdict: Verdict, told: JsonValue, size: int) -> None:
            attempt.outcome, attempt.reason = verdict.outcome, verdict.reason
            attempt.seconds = self._clocks.monotonic() - start.clock
            attempt.usage = self._speaks.usage(told)
            self._metered(attempt, start, asking, size)
            if verdict is CANCELLED:
                now = self._clocks.monotonic()
                self.standing.answering(asking.slot, now)
                self.standing.let_go(asking.slot, now, used=True)
            else:
                self._remember(Result(verdict, attempt), asking)

        events = EventReader(hide_usage=asking.hide_usage is True)
        rewriter = None if asking.redacted is None else asking.redacted.rewriter()
        streaming = Streaming(self._model, stream, events, ended, rewriter)
        return Result(ANSWERED, attempt, stream=streaming)
