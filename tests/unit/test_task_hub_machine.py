"""Whatever happens in whatever order, nothing that was acknowledged is lost or doubled.

Hypothesis starts orchestrations, moves and sets the clock, lets workers answer, die and answer too
late, and ends the hub's process at any point. In the end everything must come out right.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from durabletask.internal import orchestrator_service_pb2 as pb
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.unit.task_hub_fakes import BenchHub, FakeWorker, answer

MEMORY = Path("/dev/shm")
ENTITIES = ["@counter@a", "@counter@b"]

entity = st.sampled_from(ENTITIES)
simple_step = st.one_of(
    st.tuples(st.just("activities"), st.integers(1, 3)),
    st.tuples(st.just("timer"), st.sampled_from([0, 5, 50])),
    st.tuples(st.just("event")),
    st.tuples(st.just("signal"), entity),
    st.tuples(st.just("call"), entity),
)
critical_section = st.tuples(st.lists(entity, min_size=1, max_size=2, unique=True), entity).map(
    lambda chosen: [
        ["lock", chosen[0]],
        ["timer", 1],
        ["call", chosen[0][0]],
        ["unlock", chosen[0]],
    ]
)
steps = st.lists(simple_step.map(list), max_size=3)
scripts = st.one_of(
    steps,
    st.tuples(steps, critical_section, steps).map(lambda parts: [*parts[0], *parts[1], *parts[2]]),
    st.tuples(steps, steps).map(lambda parts: [*parts[0], ["child", parts[1]]]),
    st.tuples(steps, steps).map(lambda parts: [*parts[0], ["again", parts[1]]]),
)


def flat(script: list[list]) -> list[list]:
    """All steps of a script and of those that it leads to."""
    inner = [step[1] for step in script if step[0] in {"child", "again"}]
    return [*script, *(step for steps in inner for step in flat(steps))]


class TaskHubMachine(RuleBasedStateMachine):
    """`known` is what was acknowledged; `open` what a crash may still undo."""

    @initialize(first=st.lists(scripts, min_size=1, max_size=3))
    def begin(self, first: list[list]) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.bench = BenchHub(self.folder, max_deliveries=0)
        self.workers: list[FakeWorker] = []
        self.hands: list[tuple[FakeWorker, pb.WorkItem]] = []
        self.ghosts: list[pb.WorkItem] = []
        self.known: dict[str, list] = {}
        self.open: dict[str, list] = {}
        self.signals = dict.fromkeys(ENTITIES, 0)
        self.open_signals: list[str] = []
        self.terminated: set[str] = set()
        self.count = 0
        for script in first:
            self.start(script)
        self.commit()

    # Clients

    @rule(script=scripts)
    def start(self, script: list) -> None:
        self.count += 1
        name = f"job{self.count}"
        self.bench.start(script, name)
        self.open[name] = script

    @rule(entity_id=entity)
    def signal(self, entity_id: str) -> None:
        self.bench.hub.signal_entity(pb.SignalEntityRequest(instanceId=entity_id, name="add"))
        self.open_signals.append(entity_id)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), what=st.sampled_from(["suspend", "resume", "terminate", "raise"]))
    def control(self, data: st.DataObject, what: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.known)))
        control = self.bench.hub.control
        if what == "suspend":
            control.suspend(pb.SuspendRequest(instanceId=name))
        elif what == "resume":
            control.resume(pb.ResumeRequest(instanceId=name))
        elif what == "raise":
            control.raise_event(pb.RaiseEventRequest(instanceId=name, name="event"))
        else:
            self.terminated.add(name)
            control.terminate(pb.TerminateRequest(instanceId=name, recursive=True))

    # Workers

    @precondition(lambda self: len(self.workers) < 3)
    @rule(limit=st.integers(1, 4))
    def connect(self, limit: int) -> None:
        self.workers.append(
            self.bench.connect(
                maxConcurrentActivityWorkItems=limit, maxConcurrentOrchestrationWorkItems=limit
            )
        )
        self.look_what_came()

    @rule(choices=st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=8))
    def work(self, choices: list[tuple[int, bool]]) -> None:
        """Some items are answered, in any order; after some of the answers there is a commit."""
        if not self.workers:
            self.connect(limit=3)
        for chosen, committed in choices:
            if self.hands:
                answer(self.bench, self.hands.pop(chosen % len(self.hands))[1])
            if committed:
                self.commit()
            self.look_what_came()

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def dies(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        self.workers.remove(worker)
        self.ghosts += [item for holder, item in self.hands if holder is worker]
        self.hands = [held for held in self.hands if held[0] is not worker]
        worker.disconnect()

    @precondition(lambda self: self.ghosts)
    @rule(data=st.data())
    def answers_too_late(self, data: st.DataObject) -> None:
        answer(self.bench, data.draw(st.sampled_from(self.ghosts)))

    @precondition(lambda self: self.hands)
    @rule(data=st.data())
    def abandons(self, data: st.DataObject) -> None:
        chosen = data.draw(st.integers(0, len(self.hands) - 1))
        _, item = self.hands.pop(chosen)
        self.bench.hub.dispatcher.abandon(item.completionToken)

    # The hub

    @rule(seconds=st.sampled_from([0.001, 1, 10, 400]))
    def time_goes_on(self, seconds: float) -> None:
        self.bench.advance(seconds)

    @rule(seconds=st.sampled_from([-3600, 3600]))
    def the_clock_jumps(self, seconds: float) -> None:
        self.bench.clock.jump(seconds)

    @rule()
    def commit(self) -> None:
        self.bench.commit()
        self.known |= self.open
        self.open = {}
        for entity_id in self.open_signals:
            self.signals[entity_id] += 1
        self.open_signals = []

    @rule()
    def crash(self) -> None:
        self.bench.crash()
        self.ghosts += [item for _, item in self.hands]
        self.workers, self.hands = [], []
        self.open, self.open_signals = {}, []

    @invariant()
    def look_what_came(self) -> None:
        for worker in self.workers:
            self.hands += [(worker, item) for item in worker.take()]

    def teardown(self) -> None:
        try:
            self.commit()
            self.finish()
            self.check()
            self.bench.crash()
            self.check()
        finally:
            self.bench.database.close()
            shutil.rmtree(self.folder)

    def finish(self) -> None:
        """One good worker, the right time, and every event that is still waited for."""
        self.bench.clock.apart = 0
        for worker in list(self.workers):
            worker.disconnect()
        worker = self.bench.connect()
        for _ in range(30):
            worker.work()
            running = list(self.bench.hub.state.instances.values())
            for instance in running:
                self.bench.hub.control.resume(pb.ResumeRequest(instanceId=instance.id))
                self.bench.hub.control.raise_event(
                    pb.RaiseEventRequest(instanceId=instance.id, name="event")
                )
            self.bench.advance(60)
        worker.work()

    def check(self) -> None:
        assert self.bench.rows() == {}
        assert self.bench.hub.state.lock_requests == []
        expected = dict(self.signals)
        for name, script in self.known.items():
            status = self.bench.status(name)
            if name in self.terminated:
                assert status in {"TERMINATED", "COMPLETED"}
                continue
            assert status == "COMPLETED", name
            for kind, *arguments in flat(script):
                if kind in {"signal", "call"}:
                    expected[arguments[0]] += 1
        if not self.terminated:
            for entity_id, count in expected.items():
                assert (self.bench.entity(entity_id).serializedState.value or "0") == str(count)


TaskHubMachine.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestTaskHub = TaskHubMachine.TestCase


@pytest.mark.long
class TestTaskHubLong(TaskHubMachine.TestCase):
    settings = settings(TaskHubMachine.TestCase.settings, max_examples=3000)
