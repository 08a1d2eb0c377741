"""A call that outlasts the step of the job that makes it: submitted once, looked at until it ends.

    the call's handle    then
    none                 submitted under a name derived from the job and the call
    sent                 looked for by that name: it is not known whether it arrived
    begun                looked at: an answer, a failure, or CallPending until the next look
    answered             asked for its answer again: a flow runs from its start each time
    lost, failed         submitted again, by a retry of the job: under the same name, or another

The handles live in the job's ticket, so the next step finds them. A step that dies between a
submission and its record is run again and submits again, under the same name: a deployment that
honours names refuses that, and what is there is adopted. Where names are not honoured, a job that
may run at least once may begin a call twice; one that may run at most once is not run again.

What one deployment works on is not begun at another: the next look goes to the one that has it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from pydantic import JsonValue

from contracts.calls import (
    AttemptOutcome,
    CallHandle,
    CallScope,
    HandleState,
    ModelCall,
    Usage,
)
from contracts.errors import CallGivenUp, CallPending, FlowFailed
from contracts.states import Execution
from endpoints import looks
from endpoints.json_body import NotJson
from endpoints.looks import Found, Gone, Refused, UnderWay
from endpoints.protocols.long_running import Broken, Ended, LongRunning
from endpoints.verdicts import ANSWERED, Verdict, judge_silence
from endpoints.wire import NoReply, Reply, Request

logger = logging.getLogger("sluice.endpoints")

MOST_HANDLES = 20
"""Calls of one job: the ticket carries each."""

type Exchange = Callable[[Request], Awaitable[Reply | NoReply]]
"""One request with the deployment's credential, and what came of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A deployment whose calls outlast a step."""

    deployment: str
    protocol: LongRunning
    exchange: Exchange
    now: Callable[[], datetime]

    async def look(self, handle: CallHandle) -> tuple[Found, int | None]:
        """What became of a call, and the HTTP status that told it."""
        reply = await self.exchange(self.protocol.poll(handle.name))
        found = looks.read(self.protocol, reply, self.now())
        longest = timedelta(seconds=self.protocol.longest_seconds)
        if isinstance(found, UnderWay) and self.now() - handle.sent_at > longest:
            found = Broken(f"not ended after {longest}", cancelled=True)
        return found, reply.status


@dataclass(frozen=True, slots=True)
class Advance:
    """How far one step has brought a call."""

    verdict: Verdict
    status: int | None = None
    body: JsonValue = None
    usage: Usage = field(default_factory=Usage)
    raises: CallPending | CallGivenUp | None = None
    """Ends the call, once its attempt is recorded."""
    news: bool = True
    """Whether it belongs among the job's attempts: one more look at what goes on does not."""


async def cancel(place: Place, handle: CallHandle) -> bool:
    """Ask the deployment to end what it works on; False when that should be tried again.

    Whatever else it says is an operator's to read: nothing more can be done from here.
    """
    request = place.protocol.cancel(handle.name)
    if request is None:
        logger.warning("%s goes on: its deployment is not set up to cancel it", handle)
        return True
    reply = await place.exchange(request)
    if isinstance(reply, NoReply) or reply.status >= 500 or reply.status in (408, 429):
        return False
    if not 200 <= reply.status < 300:
        logger.error("%s may go on: cancelling it was refused (HTTP %d)", handle, reply.status)
    return True


def keyed(call: ModelCall, scope: CallScope) -> CallScope:
    """The scope for this one call. To be made once a call, since repeats of a call are counted."""
    text = json.dumps([call.model, call.task, call.payload], sort_keys=True)
    content = hashlib.sha256(text.encode()).hexdigest()[:32]
    nth = scope.seen.get(content, 0)
    scope.seen[content] = nth + 1
    return replace(scope, key=f"{content}-{nth}")


def holder(scope: CallScope) -> str | None:
    """The deployment that works on the call, and alone can tell of it."""
    handle = scope.handles.get(scope.key or "")
    return handle.deployment if handle is not None and handle.held else None


async def check_at(place: Place, handle: CallHandle) -> datetime | None:
    """When to look again at what is under way; None when making the call again leads on."""
    found, _ = await place.look(handle)
    return place.now() + timedelta(seconds=found.wait) if isinstance(found, UnderWay) else None


async def advance(place: Place, call: ModelCall, scope: CallScope) -> Advance:
    """Submit the call, or look at what became of it. `scope` is of `keyed`; its handles change.

    Raises InvalidRequest and FlowFailed before anything is sent.
    """
    return await _Call(place, call, scope).advance()


@dataclass(frozen=True, slots=True)
class _Call:
    """One call at one deployment, for one step."""

    place: Place
    call: ModelCall
    scope: CallScope

    @property
    def _key(self) -> str:
        assert self.scope.key is not None, "a call's scope is made by keyed()"
        return self.scope.key

    @property
    def _at_most_once(self) -> bool:
        return self.scope.execution is Execution.AT_MOST_ONCE

    async def advance(self) -> Advance:
        handle = self.scope.handles.get(self._key)
        if handle is None or not handle.held:
            return await self._submit(self._next_name(handle))
        found, status = await self.place.look(handle)
        return self._found(found, status, handle)

    def _found(self, found: Found, status: int | None, handle: CallHandle) -> Advance:
        match found:
            case Ended(answer):
                self._keep("answered", handle.name, handle.sent_at)
                return Advance(ANSWERED, status, answer)
            case UnderWay(wait, told):
                self._keep("begun" if told else handle.state, handle.name, handle.sent_at)
                return self._pending(Verdict("pending"), status, wait, news=False)
            case Refused(verdict):
                return Advance(verdict, status)
            case Broken(reason, cancelled=True):
                return self._given_up(f"{handle}: {reason}", status)
            case Broken(reason):
                return self._over("failed", handle, reason, status)
            case Gone():
                state: Literal["lost", "failed"] = "lost" if handle.state == "sent" else "failed"
                return self._over(state, handle, "not found by its name", status)

    def _over(
        self, state: Literal["lost", "failed"], handle: CallHandle, reason: str, status: int | None
    ) -> Advance:
        self._keep(state, handle.name, handle.sent_at)
        outcome: AttemptOutcome = "unknown" if state == "lost" else "failed"
        verdict = Verdict(outcome, f"{handle.name}: {reason}", may_have_run=True)
        return Advance(verdict, status)

    def _next_name(self, after: CallHandle | None) -> str:
        """The same for the same call of the same job, until what bore it has failed."""
        if after is not None and after.state == "lost":
            return after.name
        if after is None and len(self.scope.handles) >= MOST_HANDLES:
            raise FlowFailed(f"A job may have {MOST_HANDLES} calls that outlast one of its steps.")
        seed = "\0".join([self.scope.job_id, self._key, after.name if after is not None else ""])
        return f"sluice-{hashlib.sha256(seed.encode()).hexdigest()[:40]}"

    async def _submit(self, name: str) -> Advance:
        protocol, before = self.place.protocol, self.scope.handles.get(self._key)
        request = protocol.submit(self.call, name)
        self._keep("sent", name)  # also for a step that is stopped before the reply
        reply = await self.place.exchange(request)
        if isinstance(reply, NoReply):
            return self._not_taken(judge_silence(reply), reply.status, before)
        if 200 <= reply.status < 300:
            try:
                return self._begun(protocol.handle(reply), reply.status)
            except NotJson:
                unnamed = Verdict("unknown", f"HTTP {reply.status}, no name", may_have_run=True)
                return self._not_taken(unnamed, reply.status, before)
        verdict = protocol.verdict(reply, self.place.now())
        if verdict.outcome == "rejected":
            if await self._is_there(name):
                return self._begun(name, reply.status)
            if reply.status == 409:  # there, and not to be seen yet
                verdict = replace(verdict, outcome="unknown", may_have_run=True)
        return self._not_taken(verdict, reply.status, before)

    async def _is_there(self, name: str) -> bool:
        """Whether a submission is refused because an earlier one had arrived."""
        reply = await self.place.exchange(self.place.protocol.poll(name))
        return isinstance(reply, Reply) and 200 <= reply.status < 300

    def _begun(self, name: str, status: int) -> Advance:
        self._keep("begun", name)
        verdict = Verdict("pending", f"begun as {name}")
        wait = self.place.protocol.check_seconds
        return self._pending(verdict, status, wait, usage=Usage(requests=1))

    def _not_taken(
        self, verdict: Verdict, status: int | None, before: CallHandle | None
    ) -> Advance:
        """Or was it? That is found out at the next look."""
        if verdict.outcome == "unknown" or (verdict.may_have_run and self._at_most_once):
            return self._pending(verdict, status, self.place.protocol.check_seconds)
        if before is None:
            del self.scope.handles[self._key]
        else:
            self.scope.handles[self._key] = before
        return Advance(verdict, status)

    def _pending(
        self,
        verdict: Verdict,
        status: int | None,
        wait: float,
        *,
        usage: Usage | None = None,
        news: bool = True,
    ) -> Advance:
        handle, due = self.scope.handles[self._key], self.place.now() + timedelta(seconds=wait)
        pending = CallPending(str(handle), due)
        return Advance(verdict, status, usage=usage or Usage(), raises=pending, news=news)

    def _given_up(self, why: str, status: int | None) -> Advance:
        verdict = Verdict("failed", why, may_have_run=True)
        given_up = CallGivenUp(f"Model {self.call.model} gave no answer: {why}.")
        return Advance(verdict, status, raises=given_up)

    def _keep(self, state: HandleState, name: str, sent_at: datetime | None = None) -> None:
        self.scope.handles[self._key] = CallHandle(
            deployment=self.place.deployment,
            name=name,
            state=state,
            sent_at=sent_at or self.place.now(),
        )
