"""Each request to a deployment is told once, with all that chargeback needs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.calls import CallScope, Usage
from contracts.errors import NoCapacity, SluiceError
from endpoints.wire import NoReply, Reply
from tests.unit.endpoints_fakes import CALL, LOST, NOON, REFUSED, at_least_once, reply
from tests.unit.routing_fakes import Answer, Town, in_virtual_time
from tests.unit.virtual_time import run_in_virtual_time

USED = {"usage": {"prompt_tokens": 9, "completion_tokens": 2}}


@in_virtual_time
async def test_every_field_of_a_record():
    here = Town.of({"name": "a", "version": "7"})
    here.wire.plays(a=[Answer(1.5, reply(200, USED))])
    answer = await here.call(CallScope("job-9", "contoso"))
    [record] = here.records
    assert (record.tenant, record.job_id, record.number) == ("contoso", "job-9", 1)
    assert record.mirrored is False
    assert record.request_bytes == len(json.dumps(CALL.payload, separators=(",", ":")))
    assert record.response_bytes == len(json.dumps(USED))
    attempt = record.attempt
    assert attempt == answer.attempt
    assert (attempt.model, attempt.deployment, attempt.version) == ("m", "a", "7")
    assert (attempt.outcome, attempt.status, attempt.reason) == ("answered", 200, None)
    assert (attempt.started_at, attempt.seconds) == (NOON, 1.5)
    assert attempt.usage == Usage(input_tokens=9, output_tokens=2, requests=1)
    assert attempt.request_id


@in_virtual_time
async def test_requests_of_one_step_are_numbered_whatever_came_of_them():
    here = Town.of(*({"name": name, "priority": place} for place, name in enumerate("abc", 1)))
    here.wire.plays(a=[Answer(0, reply(429)), Answer()], b=[Answer(0, LOST)], c=[Answer()])
    scope = at_least_once()
    await here.call(scope)
    await here.call(scope)
    told = [(record.number, record.attempt.deployment) for record in here.records]
    assert told == [(1, "a"), (2, "b"), (3, "c"), (4, "b")]
    assert [record.attempt for record in here.records] == scope.attempts
    assert [record.response_bytes for record in here.records] == [0, 0, 4, 4]


@in_virtual_time
async def test_a_call_that_is_not_made_is_not_told():
    here = Town.of({"name": "a"})
    here.wire.plays(a=[Answer(0, reply(429, retry_after="30"))])
    for _ in range(3):
        with pytest.raises(NoCapacity):
            await here.call()
    assert len(here.records) == 1


said = st.sampled_from(
    [REFUSED, LOST, reply(200, USED), reply(200), reply(400), reply(401), reply(408), reply(429),
     reply(500), reply(503, retry_after="3"), Reply(200, {}, b"<html>"), Reply(200, {}, None)]
)  # fmt: skip


@given(script=st.lists(said, min_size=1, max_size=5), calls=st.integers(1, 4))
def test_each_request_is_told_once_and_as_it_is_on_record(
    script: list[Reply | NoReply], calls: int
):
    async def run() -> None:
        names = [f"d{number}" for number in range(len(script))]
        here = Town.of(*({"name": name} for name in names))
        here.wire.plays(**{n: [Answer(0.1, r)] for n, r in zip(names, script, strict=True)})
        scope = at_least_once()
        for _ in range(calls):
            try:
                await here.call(scope)
            except SluiceError:
                continue
        assert [record.attempt for record in here.records] == scope.attempts
        assert [record.number for record in here.records] == list(range(1, len(scope.attempts) + 1))
        assert [attempt.deployment for attempt in scope.attempts] == here.wire.asked
        for attempt in scope.attempts:
            assert (attempt.outcome == "answered") == (attempt.usage.requests == 1)

    run_in_virtual_time(run())
