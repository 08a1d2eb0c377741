"""Where the ledger is told of calls, and where work waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from activities.run_job import run_step
from batches import slices
from contracts.calls import Attempt, CallBegun, CallScope, ModelAnswer, ModelCall, Task
from endpoints import Endpoints
from tests.unit.batch_fakes import LOST, always
from tests.unit.endpoints_fakes import NOON, reply
from tests.unit.fakes import FakeEndpoints, fake_parts
from tests.unit.test_batch_slices import Slice, answers
from tests.unit.test_endpoints_long_calls import CALL, Cloud, after, begun, scope
from tests.unit.test_run_job import TICKET, container_with


@dataclass
class Noting(Cloud):
    """A cloud whose calls are noted before they are sent."""

    noted: list[CallBegun] = field(default_factory=list)
    sent_when_noted: list[int] = field(default_factory=list)

    def endpoints(self, *names: str, **fields: object) -> Endpoints:
        made = super().endpoints(*names, **fields)
        for model in made._models.values():
            for deployment in model.deployments:
                deployment._begun = self._note
        return made

    def _note(self, begun: CallBegun) -> None:
        self.noted.append(begun)
        self.sent_when_noted.append(len(self.sent))


async def test_a_long_call_is_noted_when_it_is_submitted_and_not_when_it_is_looked_at():
    cloud = Noting()
    endpoints = cloud.endpoints("one")
    first = scope()
    first.flow = "churn-flow"
    await begun(endpoints, first)
    await begun(endpoints, second := after(first))
    cloud.places["one"].all_are("Completed")
    await endpoints.invoke(CALL, after(second))
    [note] = cloud.noted
    assert cloud.sent_when_noted == [0], "before anything was sent"
    assert note.request_id == cloud.metered[0].attempt.request_id
    assert (note.flow, note.tenant, note.deployment) == ("churn-flow", "t", "batch-one")
    assert cloud.sent[0][2]["x-ms-client-request-id"] == note.request_id


@pytest.mark.parametrize("fate", [reply(503), LOST], ids=["refused", "lost"])
async def test_each_submission_that_is_noted_has_a_record(fate):
    cloud = Noting()
    cloud.places["one"].before = [always(fate)]
    endpoints = cloud.endpoints("one", "two")
    await begun(endpoints, scope())
    assert [each.request_id for each in cloud.noted] == [
        each.attempt.request_id for each in cloud.metered
    ]


async def test_a_look_that_is_given_up_is_no_call():
    cloud = Noting()
    endpoints = cloud.endpoints("one")
    first = scope()
    await begun(endpoints, first)
    looking = asyncio.Event()

    async def hang(*_: object) -> None:
        looking.set()
        await asyncio.Event().wait()

    endpoints._models["churn"].deployments[0]._wire = type("Wire", (), {"send": hang})()
    task = asyncio.create_task(endpoints.invoke(CALL, after(first)))
    await looking.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(cloud.metered) == 1


async def test_a_line_is_kept_once_its_calls_are_booked(monkeypatch):
    monkeypatch.setattr(slices, "GATHER_SECONDS", 0)
    made: set[str] = set()
    booked: set[str] = set()

    async def call(line, scope):
        made.add(line.custom_id)
        return await answers(line, scope)

    async def wait() -> None:
        at_first = set(made)
        await asyncio.sleep(0.001)
        assert set(it.kept()) <= booked
        booked.update(at_first)

    it = Slice(call=call, options={"booked": wait})
    assert (await it.run()).ended == 20
    assert set(it.kept()) == booked == made


async def test_a_jobs_calls_are_made_in_the_name_of_its_flow():
    attempt = Attempt(
        model="m",
        deployment="d",
        outcome="answered",
        started_at=NOON,
        seconds=0.1,
        request_id="r",
    )
    flows: list[str | None] = []

    async def answer(call: ModelCall, scope: CallScope) -> ModelAnswer:
        flows.append(scope.flow)
        return ModelAnswer({}, attempt)

    async def ask(input, run):
        return (await run.invoke(ModelCall("m", Task.SCORE, {}))).body

    parts = fake_parts(await container_with(), ask, FakeEndpoints(answer))
    await run_step(parts, TICKET)
    assert flows == ["f"]


async def test_parts_without_a_ledger_wait_for_nothing():
    await fake_parts(await container_with(), answers).booked()


@dataclass
class Waited:
    times: int = 0

    async def settled(self) -> None:
        self.times += 1


async def test_parts_wait_for_their_ledger():
    ledger = Waited()
    parts = replace(fake_parts(await container_with(), answers), ledger=ledger)
    await parts.booked()
    assert ledger.times == 1
