"""Sweeps: what is stuck, told once, acted on by policy, and taken up where the last one ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import DependencyUnavailable
from contracts.ids import new_batch_id, new_job_id
from contracts.jobs import AcceptedJob, JobRequest
from contracts.names import lane_id
from contracts.stuck import Nudge, StuckKind, StuckPolicy, Sweep
from policies.stuck import sweep as sweeping
from policies.stuck.engine import Seen
from policies.stuck.rules import BATCH_GRACE, BATCH_WINDOW, Looked, StuckRules, judge
from policies.stuck.sweep import Sweeper
from stores.jobs import JobStore
from stores.sweeps import NAME
from telemetry import metrics
from tests.unit.fakes import MemoryContainer

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
AFTER = timedelta(minutes=45)
LONG_AGO = NOW - timedelta(hours=2)
TENANT = "research"


@dataclass
class FakeEngine:
    """Behaves as policies.stuck.engine.Engine, over orchestrations in memory."""

    running: dict[str, Looked] = field(default_factory=dict)
    pending: dict[str, datetime] = field(default_factory=dict)
    failed: dict[str, datetime] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    nudges: list[tuple[str, Nudge]] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    down: bool = False
    deaf: set[str] = field(default_factory=set)
    """Jobs that ended just now."""

    async def under_way(self) -> list[Seen]:
        if self.down:
            raise DependencyUnavailable("The durable engine cannot be reached.")
        running = [Seen(each, True, looked.updated_at) for each, looked in self.running.items()]
        return running + [Seen(each, False, at) for each, at in self.pending.items()]

    async def faulted(self, since: datetime) -> list[Seen]:
        return [Seen(each, True, at) for each, at in self.failed.items() if at >= since]

    async def look(self, instance: str) -> Looked | None:
        self.looks.append(instance)
        return self.running.get(instance)

    async def knows(self, instance: str) -> bool:
        return instance in self.known | self.running.keys()

    async def nudge(self, job_id: str, nudge: Nudge) -> None:
        if job_id in self.deaf:
            raise DependencyUnavailable("The durable engine cannot be reached.")
        self.nudges.append((job_id, nudge))

    async def restart(self, job_id: str) -> None:
        self.restarted.append(job_id)
        self.failed.pop(job_id)

    async def start(self, job: AcceptedJob) -> None:
        self.started.append(job.id)
        self.known.add(job.id)


class World:
    """Jobs in storage and in the engine, swept at a time that the test says."""

    def __init__(self) -> None:
        self.container, self.engine = MemoryContainer(), FakeEngine()
        self.jobs = JobStore(cast(Any, self.container))
        self.now = NOW
        self.policy = StuckPolicy.REPORT

    async def sweep(self) -> Sweep:
        rules = StuckRules(self.policy, AFTER)
        return await Sweeper(self.jobs, self.engine, rules, lambda: self.now).go()

    async def accepted(self, at: datetime, *, with_result: bool = False) -> str:
        """A job whose request is kept."""
        job_id = new_job_id(at)
        await self.jobs.put_request(
            AcceptedJob(
                id=job_id,
                tenant=TENANT,
                created_at=at,
                deadline_at=None,
                request=JobRequest(flow="f", input={}),
            )
        )
        if with_result:
            await self.jobs.put_result(TENANT, job_id, b"1")
        return job_id

    def silent(self, at: datetime = LONG_AGO, **rest: Any) -> str:
        job_id = new_job_id(LONG_AGO)
        self.engine.running[job_id] = Looked(TENANT, at, **rest)
        return job_id


@pytest.fixture
def it() -> World:
    return World()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []

    class Counter:
        def add(self, amount: int, attributes: dict[str, Any]) -> None:
            found.extend([attributes] * amount)

    monkeypatch.setattr(metrics, "STUCK", Counter())
    yield found


# When is it stuck?


@pytest.mark.parametrize(
    ("looked", "kind"),
    [
        (Looked("t", NOW - AFTER), None),
        (Looked("t", NOW - AFTER - timedelta(seconds=1)), StuckKind.SILENT),
        (Looked("t", LONG_AGO, resumes_at=NOW + timedelta(days=1)), None),
        (Looked("t", LONG_AGO, resumes_at=NOW - timedelta(minutes=14)), None),
        (Looked("t", LONG_AGO, resumes_at=NOW - timedelta(minutes=16)), StuckKind.SILENT),
        (Looked("t", NOW, deadline_at=NOW - timedelta(minutes=14)), None),
        (Looked("t", NOW, deadline_at=NOW - timedelta(minutes=16)), StuckKind.OVERDUE),
        (Looked("t", NOW, deadline_at=LONG_AGO, has_outcome=True), None),
        (Looked("t", LONG_AGO, deadline_at=LONG_AGO, has_outcome=True), StuckKind.SILENT),
    ],
)
def test_what_makes_no_progress(looked: Looked, kind: StuckKind | None):
    judged = judge(looked, StuckRules(after=AFTER), NOW)
    assert (None if judged is None else judged[0]) == kind


@given(
    st.timedeltas(timedelta(0), timedelta(days=2)),
    st.none() | st.timedeltas(-timedelta(days=2), timedelta(days=2)),
)
def test_what_moved_or_sleeps_is_never_silent(idle: timedelta, sleeps: timedelta | None):
    rules = StuckRules(after=AFTER)
    resumes_at = None if sleeps is None else NOW + sleeps
    judged = judge(Looked("t", NOW - idle, resumes_at=resumes_at), rules, NOW)
    if idle <= rules.grace or (resumes_at is not None and resumes_at >= NOW - rules.grace):
        assert judged is None
    elif judged is not None:
        assert judged[1] <= NOW - rules.grace


# What a sweep finds.


async def test_nothing_is_stuck(it: World, counted: list[Any]):
    it.engine.running[new_job_id(NOW)] = Looked(TENANT, NOW)
    await it.accepted(LONG_AGO, with_result=True)
    it.engine.known.add(await it.accepted(LONG_AGO))
    await it.accepted(NOW)  # its start may be on its way
    sweep = await it.sweep()
    assert (sweep.found, sweep.swept_at) == ([], NOW)
    assert counted == []


async def test_each_kind_is_found_and_told_once(
    it: World, counted: list[Any], caplog: pytest.LogCaptureFixture
):
    silent = it.silent()
    overdue = it.silent(deadline_at=LONG_AGO)
    waiting, faulted = new_job_id(LONG_AGO), new_job_id(LONG_AGO)
    it.engine.pending[waiting] = LONG_AGO
    it.engine.failed[faulted] = LONG_AGO
    lost = await it.accepted(LONG_AGO)
    caplog.set_level(logging.WARNING, "sluice.stuck")
    for _ in range(3):
        sweep = await it.sweep()
        for _ in range(30):  # to the end of the span
            if sweep.complete:
                break
            sweep = await it.sweep()
        assert {each.id: each.kind for each in sweep.found} == {
            silent: StuckKind.SILENT,
            overdue: StuckKind.OVERDUE,
            waiting: StuckKind.NOT_BEGUN,
            faulted: StuckKind.FAULTED,
            lost: StuckKind.LOST,
        }
        it.now += timedelta(minutes=5)
    assert sorted(each["sluice.kind"] for each in counted) == sorted(StuckKind)
    assert len(caplog.records) == 5
    assert {each.tenant for each in sweep.found if each.id in (silent, lost)} == {TENANT}
    assert {each.found_at for each in sweep.found} <= {NOW, NOW + timedelta(minutes=5)}
    assert {each.did for each in sweep.found} == {None}
    assert it.engine.nudges == []


async def test_a_batch_is_stuck_by_its_lanes_or_its_end(it: World):
    batch, late = new_batch_id(LONG_AGO), new_batch_id(NOW - BATCH_WINDOW - 2 * BATCH_GRACE)
    it.policy = StuckPolicy.FAIL
    it.engine.running = {
        batch: Looked(TENANT, LONG_AGO),  # it waits for its lanes
        lane_id(batch, 0): Looked(TENANT, NOW),
        lane_id(batch, 1): Looked(TENANT, LONG_AGO, resumes_at=NOW + timedelta(hours=1)),
        late: Looked(TENANT, LONG_AGO),
    }
    sweep = await it.sweep()
    assert [(each.what, each.id, each.kind) for each in sweep.found] == [
        ("batch", late, StuckKind.OVERDUE)
    ]
    it.engine.running[lane_id(batch, 0)] = Looked(TENANT, LONG_AGO)
    sweep = await it.sweep()
    assert {(each.id, each.kind, each.tenant) for each in sweep.found} == {
        (late, StuckKind.OVERDUE, None),
        (batch, StuckKind.SILENT, TENANT),
    }
    assert it.engine.nudges == []


async def test_what_goes_on_is_no_longer_listed(it: World, counted: list[Any]):
    job = it.silent()
    assert len((await it.sweep()).found) == 1
    it.engine.running[job] = Looked(TENANT, it.now)
    assert (await it.sweep()).found == []
    it.now += timedelta(hours=2)
    assert len((await it.sweep()).found) == 1, "silent anew"
    assert len(counted) == 2


# What is done.


async def test_a_silent_job_is_started_again_once_then_failed(it: World):
    it.policy = StuckPolicy.RETRY
    job = it.silent(step=3)
    assert (await it.sweep()).found[0].did == "retried"
    assert it.engine.nudges == [(job, Nudge(step=3, to="again"))]
    assert (await it.sweep()).found[0].did == "retried"
    assert len(it.engine.nudges) == 1, "it may not have heard yet"
    it.engine.running[job] = Looked(TENANT, it.now, step=3)
    assert (await it.sweep()).found == []
    it.now += timedelta(hours=2)
    assert (await it.sweep()).found[0].did == "failed"
    assert it.engine.nudges[1:] == [(job, Nudge(step=3, to="fail"))]


@pytest.mark.parametrize("policy", [StuckPolicy.RETRY, StuckPolicy.FAIL])
async def test_what_is_past_its_deadline_expires(it: World, policy: StuckPolicy):
    it.policy = policy
    job = it.silent(deadline_at=LONG_AGO, step=1)
    await it.sweep()
    assert it.engine.nudges == [(job, Nudge(step=1, to="expire"))]


async def test_by_the_policy_fail_nothing_is_started_again(it: World):
    it.policy = StuckPolicy.FAIL
    job = it.silent()
    it.engine.failed[new_job_id(LONG_AGO)] = LONG_AGO
    await it.accepted(NOW - AFTER - timedelta(minutes=10))
    it.container.blobs[NAME] = (
        Sweep(accepted_until=NOW - timedelta(hours=1)).model_dump_json().encode()
    )
    assert len((await it.sweep()).found) == 3
    assert it.engine.nudges == [(job, Nudge(step=0, to="fail"))]
    assert it.engine.restarted == it.engine.started == []


async def test_faulted_and_lost_jobs_are_started_again_once(it: World):
    it.policy = StuckPolicy.RETRY
    faulted = new_job_id(LONG_AGO)
    it.engine.failed[faulted] = LONG_AGO
    lost = await it.accepted(NOW - AFTER - timedelta(minutes=10))
    it.container.blobs[NAME] = (
        Sweep(accepted_until=NOW - timedelta(hours=1)).model_dump_json().encode()
    )
    sweep = await it.sweep()
    assert {each.did for each in sweep.found} == {"retried"}
    assert (it.engine.restarted, it.engine.started) == ([faulted], [lost])
    it.now += timedelta(minutes=5)
    assert (await it.sweep()).found == []
    it.engine.failed[faulted] = it.now
    [again] = (await it.sweep()).found
    assert again.did is None, "it has failed, and is not started a third time"
    assert it.engine.restarted == [faulted]


async def test_a_job_that_ends_meanwhile_keeps_no_other_waiting(it: World):
    it.policy = StuckPolicy.FAIL
    gone, other = it.silent(NOW - timedelta(hours=3)), it.silent()
    it.engine.deaf = {gone}
    found = {each.id: each.did for each in (await it.sweep()).found}
    assert found == {gone: None, other: "failed"}
    it.engine.deaf.clear()
    found = {each.id: each.did for each in (await it.sweep()).found}
    assert found == {gone: "failed", other: "failed"}
    assert [job for job, _ in it.engine.nudges] == [other, gone], "each is told once"


async def test_jobs_that_no_nudge_reaches_are_let_be(it: World):
    it.policy = StuckPolicy.RETRY
    it.engine.pending[new_job_id(LONG_AGO)] = LONG_AGO
    it.silent(has_outcome=True)
    assert {each.did for each in (await it.sweep()).found} == {None}
    assert it.engine.nudges == []


async def test_a_lost_job_that_was_removed_since_is_not_listed(it: World):
    lost = await it.accepted(NOW - AFTER - timedelta(minutes=10))
    it.container.blobs[NAME] = (
        Sweep(accepted_until=NOW - timedelta(hours=1)).model_dump_json().encode()
    )
    assert len((await it.sweep()).found) == 1
    await it.jobs.forget(TENANT, lost)
    assert (await it.sweep()).found == []


# Bounds.


async def test_a_sweep_looks_at_a_bounded_number_and_the_next_goes_on(
    it: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sweeping, "MOST_LOOKED_AT", 20)
    jobs = {it.silent() for _ in range(50)}
    found: set[str] = set()
    for expected in (20, 40, 50):
        it.engine.looks.clear()
        found = {each.id for each in (await it.sweep()).found}
        assert len(it.engine.looks) == 20
        assert len(found) == expected, "what was found before stays, unseen"
    assert found == jobs


async def test_a_sweep_without_time_keeps_what_is_known(it: World, monkeypatch: pytest.MonkeyPatch):
    job = it.silent()
    await it.sweep()
    monkeypatch.setattr(sweeping, "LONGEST_SECONDS", -1.0)
    it.engine.looks.clear()
    lost = await it.accepted(LONG_AGO)
    before = (await it.jobs.sweeps.get()).accepted_until
    sweep = await it.sweep()
    assert ([each.id for each in sweep.found], sweep.complete) == ([job], False)
    assert it.engine.looks == []
    assert sweep.accepted_until is not None
    assert before is not None
    assert lost not in {each.id for each in sweep.found}


async def test_lost_jobs_are_looked_for_span_by_span_without_a_gap(it: World):
    """However the times of sweeps lie: each job is looked for when it is old enough."""
    lost = set()
    for minutes in range(0, 600, 7):
        lost.add(await it.accepted(NOW + timedelta(minutes=minutes)))
    found: set[str] = set()
    for _ in range(80):
        found |= {each.id for each in (await it.sweep()).found}
        it.now += timedelta(minutes=11)
    assert found == lost


async def test_what_is_kept_is_bounded(it: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweeping, "MOST_KEPT", 3)
    oldest = it.silent(NOW - timedelta(days=1))
    for _ in range(9):
        it.silent()
    sweep = await it.sweep()
    assert (len(sweep.found), sweep.found[0].id, sweep.complete) == (3, oldest, False)


async def test_without_the_engine_nothing_is_forgotten(it: World):
    it.silent()
    before = await it.sweep()
    it.engine.down = True
    with pytest.raises(DependencyUnavailable):
        await it.sweep()
    assert await it.jobs.sweeps.get() == before


async def test_a_sweep_of_another_version_begins_anew(it: World, caplog: pytest.LogCaptureFixture):
    it.container.blobs[NAME] = b'{"found": 7}'
    assert await it.jobs.sweeps.get() == Sweep()
    assert "begins anew" in caplog.text
