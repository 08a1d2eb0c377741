"""Models and deployments whose calls outlast a step of the job, behind the same doors as others.

A call is begun as any other is made: in the pool, at a deployment with room, moving on from those
that do not take it. From then on it belongs to the one that took it, and is looked at there whether
or not there is room: a look asks for a few hundred bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from contracts.calls import CallHandle, CallScope, ModelAnswer, ModelCall
from contracts.errors import CallGivenUp, CallPending, DependencyUnavailable
from endpoints import long_running
from endpoints.context import Context
from endpoints.credentials import Credential, TokenUnavailable
from endpoints.deployment import Deployment, Result, _Asking, _Reading, _Start
from endpoints.endings import Tally
from endpoints.long_running import Advance, Place
from endpoints.model import Model
from endpoints.protocols import AnyDeployment
from endpoints.protocols.long_running import LongRunning
from endpoints.routing.standing import Slot
from endpoints.verdicts import CANCELLED, NO_TOKEN
from endpoints.wire import Limits, NoReply, Reply, Request, Wire

LOOK_SECONDS = 30.0
"""What a look may take; one that fails is made again."""


class LongDeployment(Deployment):
    """`ask` begins a call and `resume` looks what became of it. Both may raise CallPending."""

    def __init__(
        self,
        model: str,
        settings: AnyDeployment,
        credential: Credential | None,
        wire: Wire,
        context: Context,
    ) -> None:
        super().__init__(model, settings, credential, wire, context)
        assert isinstance(self._speaks, LongRunning)
        self._long: LongRunning = self._speaks
        seconds = min(LOOK_SECONDS, self._full_limits.seconds)
        self._look_limits = replace(self._full_limits, seconds=seconds)

    @property
    def cancel_scope(self) -> str | None:
        """Of the token with which work here is cancelled, where it is another than for calls."""
        return None if self._credential is None else self._long.cancel_scope

    async def resume(self, call: ModelCall, scope: CallScope) -> Result:
        """Look at a call that was begun here. Raises CallPending, and CallGivenUp."""
        slot = Slot(self._clocks.monotonic(), 0, trial=False, tokens=0)
        asking = _Asking(call.task, scope, slot)
        made, result = await self._advance(call, asking, self._look_limits)
        if made.raises is not None:
            raise made.raises
        return result

    def place(self, credential: Credential | None = None) -> Place:
        """Where looks and cancellations go that are part of no call."""
        return self._place(credential or self._credential, self._look_limits, {})

    async def _asked(self, call: ModelCall, asking: _Asking) -> Result:
        try:
            asking.sent = True
            made, result = await self._advance(call, asking, self._limits(asking))
        except BaseException:
            self.standing.let_go(asking.slot, self._clocks.monotonic(), used=asking.sent)
            raise
        if made.verdict.outcome == "pending":
            self.standing.answered(asking.slot, self._clocks.monotonic(), tokens=0)
        else:
            self._remember(result, asking)
        if made.raises is not None:
            raise made.raises
        return result

    async def _advance(
        self, call: ModelCall, asking: _Asking, limits: Limits
    ) -> tuple[Advance, Result]:
        call = await self._redacted(call, asking)
        start = self._start(self._request(call, asking))
        correlation = {"x-ms-client-request-id": start.request_id, "x-request-id": start.request_id}
        place = self._place(self._credential, limits, correlation)
        submits = long_running.holder(asking.scope) is None
        if submits:
            place = self._noting(place, start, asking, correlation)
        try:
            made = await long_running.advance(place, call, asking.scope)
        except asyncio.CancelledError:
            if submits:
                self._ended(_Reading(CANCELLED), start, asking)
            raise
        if made.raises is not None and not made.news:
            raise made.raises
        reading = _Reading(made.verdict, made.status, made.body, made.usage)
        result = self._ended(reading, start, asking)
        self._restore(result, asking)
        return made, result

    def _noting(
        self, place: Place, start: _Start, asking: _Asking, headers: dict[str, str]
    ) -> Place:
        """The same place, where a submission is noted before it is sent. `headers` go with it."""
        noted = False

        async def exchange(request: Request) -> Reply | NoReply:
            nonlocal noted
            if not noted:
                noted = True
                headers.update(self._note(start, asking))
            return await place.exchange(request)

        return replace(place, exchange=exchange)

    def _place(
        self, credential: Credential | None, limits: Limits, headers: Mapping[str, str]
    ) -> Place:
        exchange = partial(self._exchange, credential, limits, headers)
        return Place(self.name, self._long, exchange, self._clocks.now)

    async def _exchange(
        self,
        credential: Credential | None,
        limits: Limits,
        headers: Mapping[str, str],
        request: Request,
    ) -> Reply | NoReply:
        """Send once; once more, with a new token, when the token was refused."""
        if credential is None:
            return await self._wire.send(request, headers, limits)
        try:
            secret = await credential.secret(limits.seconds)
            reply = await self._sent(request, secret, limits, headers)
            if isinstance(reply, NoReply) or reply.status != 401:
                return reply
            renewed = await credential.renewed(secret, limits.seconds)
        except TokenUnavailable:
            return NoReply(sent=False, reason=str(NO_TOKEN.reason))
        if renewed is None:
            return reply
        return await self._sent(request, renewed, limits, headers)

    async def _sent(
        self, request: Request, secret: str, limits: Limits, headers: Mapping[str, str]
    ) -> Reply | NoReply:
        return await self._wire.send(request, {**headers, **self._authorization(secret)}, limits)


async def look(deployments: Mapping[str, LongDeployment], handles: Iterable[CallHandle]) -> None:
    """Raises CallPending while all that is open goes on: a flow would come no further."""
    going = [handle for handle in handles if handle.open and handle.deployment in deployments]
    due = await asyncio.gather(
        *(long_running.check_at(deployments[each.deployment].place(), each) for each in going)
    )
    times = [(at, str(handle)) for at, handle in zip(due, going, strict=True) if at is not None]
    if times and len(times) == len(due):
        at, handle = min(times)
        raise CallPending(handle, at)


async def cancel(
    deployments: Mapping[str, LongDeployment],
    handles: Iterable[CallHandle],
    identity: Callable[[str], Credential],
) -> None:
    """End what is open. Raises DependencyUnavailable when some of it could not be told."""

    def place(deployment: LongDeployment) -> Place:
        scope = deployment.cancel_scope
        return deployment.place(None if scope is None else identity(scope))

    told = await asyncio.gather(
        *(
            long_running.cancel(place(deployments[handle.deployment]), handle)
            for handle in handles
            if handle.open and handle.deployment in deployments
        )
    )
    if not all(told):
        raise DependencyUnavailable("A deployment could not be told to end what it works on.")


class LongModel(Model):
    """A model that has such deployments; it may have others too."""

    async def invoke(self, call: ModelCall, pin: str | None, scope: CallScope) -> ModelAnswer:
        """As `Model.invoke`. Raises CallPending while a deployment works on the call."""
        scope = long_running.keyed(call, scope)
        holder = long_running.holder(scope)
        if holder is None:
            return await super().invoke(call, pin, scope)
        result = await self._long(holder).resume(call, scope)
        if result.verdict.outcome == "answered":
            return ModelAnswer(result.body, result.attempt)
        # What failed is begun anew by a later step: that is a retry, and those are counted there.
        tally = Tally(self.name)
        tally.add(result, scope, self._clocks.now())
        raise tally.error()

    def _long(self, name: str) -> LongDeployment:
        for deployment in self.deployments:
            if deployment.name == name and isinstance(deployment, LongDeployment):
                return deployment
        raise CallGivenUp(
            f"Model {self.name} gave no answer: its deployment {name}, which had the call, is no"
            " longer in deployments.yaml."
        )
