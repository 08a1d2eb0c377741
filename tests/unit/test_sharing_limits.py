"""Limits hold across workers, whatever becomes of their messages: a machine that tries."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contracts.sharing import SharedModel, WorkerReport
from endpoints.routing.standing import Slot
from endpoints.sharing import Sharing
from orchestrators.standing import merged
from tests.unit.endpoints_fakes import Clock, ScriptedWire, endpoints

SLOTS, REQUESTS = 6, 12
LONGEST_SILENCE = 8.0
"""Of a worker, well within the time after which it is forgotten."""


@dataclass
class Worker:
    sharing: Sharing
    standing: object
    calls: list[Slot] = field(default_factory=list)
    sent: deque[WorkerReport] = field(default_factory=deque)
    seen_at: float = 0.0


class Workers(RuleBasedStateMachine):
    limits: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.shared = [SharedModel()]
        """Its states: a worker may read one that is not the latest."""
        self.workers: list[Worker] = []
        self.begun: list[float] = []

    @property
    def now(self) -> float:
        return self.clock.clocks.monotonic()

    @initialize(count=st.integers(2, 3))
    def start(self, count: int) -> None:
        for number in range(count):
            made = endpoints(ScriptedWire(clock=self.clock), "d", **self.limits)
            sharing = made.share(f"w{number}")["m"]
            standing = made._models["m"].deployments[0].standing
            # What each may use before it has heard of the others is not the subject here.
            for limit in sharing._members["d"]._limits.values():
                limit.keep_to(0)
            self.workers.append(Worker(sharing, standing))

    @rule(data=st.data(), read=st.booleans(), busy=st.booleans())
    def exchange(self, data: st.DataObject, read: bool, busy: bool) -> None:
        """As it goes when nothing is late."""
        worker = data.draw(st.sampled_from(self.workers))
        self._merge(worker, worker.sharing.report())
        if read:
            worker.sharing.apply(self.shared[-1])
        if busy:
            self._call(worker, REQUESTS)

    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        worker.sent.append(worker.sharing.report())

    @rule(data=st.data(), again=st.booleans(), lost=st.booleans())
    def deliver(self, data: st.DataObject, again: bool, lost: bool) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        if worker.sent:
            report = worker.sent[0] if again else worker.sent.popleft()
            if not lost:
                self._merge(worker, report)

    @rule(data=st.data(), stale=st.integers(0, 3))
    def read(self, data: st.DataObject, stale: int) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        worker.sharing.apply(self.shared[-min(stale + 1, len(self.shared))])

    @rule(data=st.data(), wanted=st.integers(1, 8))
    def call(self, data: st.DataObject, wanted: int) -> None:
        self._call(data.draw(st.sampled_from(self.workers)), wanted)

    def _call(self, worker: Worker, wanted: int) -> None:
        for _ in range(wanted):
            if worker.standing.refusal(self.now) is None:
                worker.calls.append(worker.standing.begin(self.now))
                self.begun.append(self.now)

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        while worker.calls:
            worker.standing.answered(worker.calls.pop(0), self.now, 0)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for worker in self.workers:
            worker.sharing.look()
            if self.now - worker.seen_at > LONGEST_SILENCE:
                self._merge(worker, worker.sharing.report())

    def _merge(self, worker: Worker, report: WorkerReport) -> None:
        worker.seen_at = self.now
        self.shared.append(merged(self.shared[-1], report))
        del self.shared[:-5]


class Slots(Workers):
    limits: ClassVar[dict[str, int]] = {"max_concurrency": SLOTS}

    @invariant()
    def no_more_calls_at_once_than_the_limit(self) -> None:
        assert sum(len(worker.calls) for worker in self.workers) <= SLOTS


class Requests(Workers):
    limits: ClassVar[dict[str, int]] = {"requests_per_minute": REQUESTS}

    @invariant()
    def no_more_requests_in_a_minute_than_the_limit(self) -> None:
        now = int(self.now)
        assert sum(int(at) > now - 60 for at in self.begun) <= REQUESTS


TestSlots = Slots.TestCase
TestRequests = Requests.TestCase
TestSlots.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestRequests.settings = TestSlots.settings
