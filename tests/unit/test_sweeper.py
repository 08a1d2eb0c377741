"""What a sweep reads of the durable engine, what it asks of it, and what operators are shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import grpc
import pytest
from durabletask.client import OrchestrationQuery, OrchestrationState, OrchestrationStatus

import wiring
from contracts.errors import DependencyUnavailable, SluiceError
from contracts.ids import new_batch_id, new_job_id
from contracts.jobs import AcceptedJob, JobOutcome, JobRequest, JobTicket, JobWait
from contracts.names import JOB_ORCHESTRATOR, NUDGE_EVENT, lane_id
from contracts.states import JobStatus
from contracts.stuck import Nudge, Stuck, StuckKind, Sweep
from policies.stuck.rules import Looked
from tests.unit.fakes import MemoryContainer, fake_parts
from tests.unit.http_fakes import asked
from triggers import sweeper
from triggers.sweeper import DurableEngine, looked_at

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
JOB, BATCH = new_job_id(NOW), new_batch_id(NOW)
TICKET = JobTicket(id=JOB, tenant="research", deadline_at=NOW, step=2)


def state(
    instance: str = JOB,
    status: OrchestrationStatus = OrchestrationStatus.RUNNING,
    given: Any = None,
    shown: Any = None,
) -> OrchestrationState:
    naive = NOW.replace(tzinfo=None)  # as the SDK has it
    made = OrchestrationState(instance, "job", status, naive, naive, None, None, None, None)
    made.serialized_input = None if given is None else json.dumps(given)
    made.serialized_custom_status = None if shown is None else json.dumps(shown)
    return made


def waiting(**fields: Any) -> dict[str, Any]:
    return JobWait(status=JobStatus.RUNNING, ticket=TICKET, **fields).model_dump(mode="json")


def test_a_job_that_runs_shows_its_ticket():
    looked = looked_at(state(shown=waiting()))
    assert looked == Looked("research", NOW, deadline_at=NOW, step=2)


def test_a_job_that_waits_shows_until_when():
    until = NOW + timedelta(hours=1)
    assert looked_at(state(shown=waiting(until=until))).resumes_at == until


def test_a_job_that_has_ended_for_its_caller():
    error = SluiceError("x").problem()
    outcome = JobOutcome(status=JobStatus.FAILED, ended_at=NOW, ticket=TICKET, error=error)
    assert looked_at(state(shown=outcome.model_dump(mode="json"))).has_outcome


def test_a_job_that_has_shown_nothing_is_known_by_its_input():
    looked = looked_at(state(given=TICKET.model_dump(mode="json")))
    assert (looked.tenant, looked.step, looked.deadline_at) == ("research", 2, NOW)


def test_a_lane_is_of_its_batchs_tenant_and_sleeps():
    until = NOW + timedelta(hours=1)
    given = {"batch": {"id": BATCH, "tenant": "research"}, "index": 0}
    shown = {"resumes_at": until.isoformat()}
    looked = looked_at(state(lane_id(BATCH, 0), given=given, shown=shown))
    assert looked == Looked("research", NOW, resumes_at=until)
    assert looked_at(state(lane_id(BATCH, 0), given=[1], shown="?")) == Looked(None, NOW)


class Client:
    """The SDK's client, with orchestrations to find."""

    def __init__(self, *states: OrchestrationState) -> None:
        self.states = states
        self.did: list[Any] = []
        self.down = False

    def _check(self) -> None:
        if self.down:
            raise grpc.RpcError

    async def get_all_orchestration_states(self, query: OrchestrationQuery) -> Any:
        self._check()
        assert query.runtime_status is not None
        assert query.instance_id_prefix is not None
        return [
            each
            for each in self.states
            if each.runtime_status in query.runtime_status
            and each.instance_id.startswith(query.instance_id_prefix)
        ]

    async def get_orchestration_state(self, instance: str, *, fetch_payloads: bool) -> Any:
        self._check()
        return next((each for each in self.states if each.instance_id == instance), None)

    async def raise_orchestration_event(self, instance: str, event: str, *, data: Any) -> None:
        self._check()
        self.did.append((instance, event, data))

    async def restart_orchestration(self, instance: str) -> None:
        self._check()
        self.did.append(instance)

    async def schedule_new_orchestration(self, name: str, *, input: Any, instance_id: str) -> None:
        if self.states:  # it is there
            raise grpc.RpcError
        self._check()
        self.did.append((name, instance_id, input))


def engine(client: Client) -> DurableEngine:
    return DurableEngine(cast(Any, client))


async def test_lists_tell_what_was_begun_and_of_what_failed_not_the_lanes():
    client = Client(
        state(),
        state(new_job_id(NOW), OrchestrationStatus.PENDING),
        state(BATCH),
        state(lane_id(BATCH, 0)),
        state("another"),
        state(new_job_id(NOW), OrchestrationStatus.COMPLETED),
        state(lane_id(BATCH, 1), OrchestrationStatus.FAILED),
        state(new_job_id(NOW), OrchestrationStatus.FAILED),
    )
    under_way = await engine(client).under_way()
    assert [each.begun for each in under_way] == [True, False, True, True]
    assert {each.updated_at for each in under_way} == {NOW}
    [failed] = await engine(client).faulted(NOW)
    assert failed.id.startswith("job_")


async def test_what_has_ended_or_is_not_known_is_not_looked_at():
    client = Client(state(status=OrchestrationStatus.COMPLETED))
    assert await engine(client).look(JOB) is None
    assert await engine(client).look("job_other") is None
    assert await engine(client).knows(JOB)
    assert not await engine(client).knows("job_other")


async def test_what_a_sweep_does():
    job = AcceptedJob(
        id=JOB,
        tenant="research",
        created_at=NOW,
        deadline_at=NOW,
        request=JobRequest(flow="f", input={}, reply_to="team-replies"),
    )
    client = Client()
    await engine(client).nudge(JOB, Nudge(step=1, to="again"))
    await engine(client).restart(JOB)
    await engine(client).start(job)
    nudged, restarted, (name, instance, ticket) = client.did
    assert nudged == (JOB, NUDGE_EVENT, {"step": 1, "to": "again"})
    assert restarted == JOB
    assert (name, instance) == (JOB_ORCHESTRATOR, JOB)
    started = JobTicket.model_validate(ticket)
    assert (started.tenant, started.deadline_at) == ("research", NOW)
    assert started.reply is not None
    assert (started.reply.queue, started.reply.correlation_id) == ("team-replies", JOB)
    await engine(Client(state())).start(job)  # another has started it


async def test_an_engine_that_cannot_be_reached_is_told():
    client = Client()
    client.down = True
    made = engine(client)
    for call in (
        made.under_way(),
        made.look(JOB),
        made.nudge(JOB, Nudge(step=0, to="fail")),
        made.restart(JOB),
    ):
        with pytest.raises(DependencyUnavailable):
            await call


async def test_operators_see_what_the_last_sweep_found(monkeypatch: pytest.MonkeyPatch):
    async def never(given: Any, run: Any) -> Any:
        raise AssertionError("no flow is run")

    parts = fake_parts(MemoryContainer(), never)
    monkeypatch.setattr(wiring, "parts", lambda: parts)
    answer = cast(Any, sweeper.list_stuck)._function._func
    empty = json.loads((await answer(asked())).body)
    assert (empty["swept_at"], empty["data"], empty["policy"]) == (None, [], "report")
    stuck = Stuck(what="job", id=JOB, tenant="t", kind=StuckKind.SILENT, since=NOW, found_at=NOW)
    await parts.jobs.sweeps.put(Sweep(swept_at=NOW, complete=True, found=[stuck]))
    shown = json.loads((await answer(asked())).body)
    assert (shown["complete"], shown["data"]) == (True, [stuck.model_dump(mode="json")])
