"""A tenant's limits hold across workers, whatever becomes of their messages: machines that try."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contracts.calls import Usage
from contracts.quotas import QuotaReport, SharedTenant
from orchestrators.quotas import merged
from policies.quotas.expected import Expected
from policies.quotas.settings import QuotaSettings
from policies.quotas.sharing import TenantSharing
from policies.quotas.tenant import Asked, TenantQuotas
from tests.unit.endpoints_fakes import Clock

REQUESTS, TOKENS = 12, 400
LONGEST_SILENCE = 8.0
"""Of a worker, where it is well within the time after which it is forgotten."""
MOST_OF_A_CALL = 30


@dataclass
class Worker:
    name: str
    quotas: TenantQuotas
    sharing: TenantSharing
    calls: list[tuple[Asked, int]] = field(default_factory=list)
    """Under way, and what each is going to use."""
    sent: deque[QuotaReport] = field(default_factory=deque)
    seen_at: float = 0.0
    used: int = 0
    """Tokens, by calls that have ended or of which nobody knows."""

    @property
    def taken(self) -> int:
        return self.used + sum(asked.tokens for asked, _ in self.calls)


class Workers(RuleBasedStateMachine):
    limits: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.shared = [SharedTenant()]
        """Its states: a worker may read one that is not the latest."""
        self.workers: list[Worker] = []
        self.begun: list[float] = []
        self.made = 0

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    @initialize(count=st.integers(2, 3))
    def start(self, count: int) -> None:
        for _ in range(count):
            self.workers.append(self._worker())

    def _worker(self) -> Worker:
        self.made += 1
        quotas = TenantQuotas("t", QuotaSettings.model_validate(self.limits), self.clock.clocks)
        worker = Worker(f"w{self.made}", quotas, TenantSharing(quotas, f"w{self.made}"))
        # What one uses that hears of nobody is not the subject here.
        worker.sharing.go_alone = lambda: None  # type: ignore[method-assign]
        worker.seen_at = self.now
        return worker

    @rule(data=st.data(), read=st.booleans(), calls=st.integers(0, REQUESTS))
    def exchange(self, data: st.DataObject, read: bool, calls: int) -> None:
        """As it goes when nothing is late."""
        worker = data.draw(st.sampled_from(self.workers))
        self._merge(worker, worker.sharing.report())
        if read:
            worker.sharing.apply(self.shared[-1])
        for _ in range(calls):
            self._call(worker, data.draw(st.integers(1, MOST_OF_A_CALL)))

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

    @rule(data=st.data(), wanted=st.lists(st.integers(1, MOST_OF_A_CALL), max_size=8))
    def call(self, data: st.DataObject, wanted: list[int]) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        for tokens in wanted:
            self._call(worker, tokens)

    def _call(self, worker: Worker, tokens: int) -> None:
        asked = worker.quotas.asked("m", tokens, Expected())
        if worker.quotas.obstacle(asked) is None:
            worker.quotas.take(asked)
            worker.calls.append((asked, tokens // 2))
            self.begun.append(self.now)

    @rule(data=st.data(), how=st.sampled_from(["answered", "failed", "unknown"]))
    def end(self, data: st.DataObject, how: str) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        while worker.calls:
            asked, used = worker.calls.pop(0)
            if how == "answered":
                worker.used += used
                worker.quotas.used(used, 0)
                asked.settle(Usage(output_tokens=used, requests=1))
            elif how == "failed":
                self.begun.remove(asked.taken_at)
                asked.release()
            else:
                worker.used += asked.tokens

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for worker in self.workers:
            worker.sharing.look()

    def _merge(self, worker: Worker, report: QuotaReport) -> None:
        worker.seen_at = self.now
        self.shared.append(merged(self.shared[-1], report))
        del self.shared[:-5]


class Requests(Workers):
    limits: ClassVar[dict[str, int]] = {"requests_per_minute": REQUESTS}

    def _wait(self, seconds: float) -> None:
        super()._wait(seconds)
        for worker in self.workers:
            if self.now - worker.seen_at > LONGEST_SILENCE:
                self._merge(worker, worker.sharing.report())

    @invariant()
    def no_more_requests_in_a_minute_than_the_limit(self) -> None:
        now = int(self.now)
        assert sum(int(at) > now - 60 for at in self.begun) <= REQUESTS


class Tokens(Workers):
    """What a worker has not told when it is forgotten is out of the count: see `merged_budget`."""

    limits: ClassVar[dict[str, int]] = {"tokens_per_day": TOKENS, "tokens_per_month": 2 * TOKENS}

    def __init__(self) -> None:
        super().__init__()
        self.dead: list[Worker] = []
        self.told: dict[str, dict[int, int]] = defaultdict(dict)
        self.latest: Counter[str] = Counter()
        self.untold: Counter[str] = Counter()

    @rule(seconds=st.sampled_from([11.0, 21.0, 35.0, 700.0]))
    def be_silent(self, seconds: float) -> None:
        self._wait(seconds)

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        self.workers.remove(worker)
        self.dead.append(worker)
        self.workers.append(self._worker())

    def _merge(self, worker: Worker, report: QuotaReport) -> None:
        super()._merge(worker, report)
        if report.number > self.latest[worker.name]:
            self.latest[worker.name] = report.number
            self.told[worker.name][report.life] = report.budgets["tokens_per_day"].spent
        for other in [*self.workers, *self.dead]:
            if other.name not in self.shared[-1].workers:
                untold = other.taken - sum(self.told[other.name].values())
                self.untold[other.name] = max(self.untold[other.name], untold)

    @invariant()
    def no_more_is_used_in_a_day_than_the_budget_and_what_was_untold(self) -> None:
        used = sum(worker.taken for worker in [*self.dead, *self.workers])
        assert used <= TOKENS + self.untold.total()


TestRequests = Requests.TestCase
TestTokens = Tokens.TestCase
TestRequests.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestTokens.settings = TestRequests.settings
