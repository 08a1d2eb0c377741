"""A call is made when its tenant may make it, and what it used is told afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from contracts.calls import CallBegun, CallScope, ModelCall, Task, Usage
from contracts.errors import CallFailed, OutcomeUnknown, QuotaReached, SluiceError
from endpoints import Endpoints
from endpoints.context import Context
from endpoints.settings import Settings
from tests.unit.endpoints_fakes import CALL, LOST, NOON, REFUSED, ScriptedWire, at_most_once, reply

ANSWER = reply(200, {"usage": {"prompt_tokens": 5, "completion_tokens": 2}})


@dataclass
class Till:
    """Lets everyone in, or nobody, and remembers what it was told."""

    refuses: SluiceError | None = None
    told: list[str | Usage] = field(default_factory=list)

    async def reserve(self, call: ModelCall, scope: CallScope) -> Till:
        self.told.append(f"{scope.tenant} asks for {call.model}")
        if self.refuses is not None:
            raise self.refuses
        return self

    def settle(self, usage: Usage) -> None:
        self.told.append(usage)

    def release(self) -> None:
        self.told.append("released")


def one(wire: ScriptedWire, till: Till, begun: list[CallBegun] | None = None) -> Endpoints:
    deployment = {"name": "a", "protocol": "aml_online", "url": "http://a/score", "version": "3"}
    settings = Settings.model_validate({"models": {"m": {"deployments": [deployment]}}})
    noted = [] if begun is None else begun
    context = Context(wire.clock.clocks, begun=noted.append, admission=till)
    return Endpoints(settings, wire=wire, context=context)


async def test_what_was_set_aside_is_settled_by_what_was_used():
    wire, till = ScriptedWire(), Till()
    wire.plays(a=[ANSWER])
    await one(wire, till).invoke(CALL, at_most_once())
    assert till.told == ["tenant-1 asks for m", Usage(input_tokens=5, output_tokens=2, requests=1)]


async def test_nothing_is_sent_for_a_tenant_who_is_refused():
    wire = ScriptedWire()
    reached = QuotaReached("Later.", NOON + timedelta(seconds=3), "requests a minute")
    till = Till(refuses=reached)
    with pytest.raises(QuotaReached) as refused:
        await one(wire, till).invoke(CALL, at_most_once())
    assert refused.value is reached
    assert wire.asked == []
    assert till.told == ["tenant-1 asks for m"]


async def test_a_call_that_failed_used_nothing():
    wire, till = ScriptedWire(), Till()
    wire.plays(a=[REFUSED])
    with pytest.raises(CallFailed):
        await one(wire, till).invoke(CALL, at_most_once())
    assert till.told[1:] == ["released"]


async def test_a_call_of_which_nobody_knows_counts_as_it_was_set_aside():
    wire, till = ScriptedWire(), Till()
    wire.plays(a=[LOST])
    with pytest.raises(OutcomeUnknown):
        await one(wire, till).invoke(CALL, at_most_once())
    assert till.told[1:] == []


async def test_each_request_is_noted_before_it_is_sent_under_the_id_of_its_attempt():
    wire, begun, scope = ScriptedWire(), [], at_most_once()
    wire.plays(a=[ANSWER])
    await one(wire, Till(), begun).invoke(CALL, scope)
    [note], [attempt] = begun, scope.attempts
    assert note == CallBegun(
        tenant="tenant-1",
        job_id="job-1",
        model="m",
        task=Task.SCORE,
        deployment="a",
        protocol="aml_online",
        version="3",
        started_at=NOON,
        request_id=attempt.request_id,
        request_bytes=len(wire.sent[0].request.body),
        mirrored=False,
    )
