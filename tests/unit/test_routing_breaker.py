"""The breaker against a plain account of what it has been told, under any sequence of calls."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from endpoints.routing.breaker import CONSECUTIVE, LONGEST, RECENT, Breaker

PROBE = 10.0


def failing(breaker: Breaker, times: int, now: float = 0.0, wait: float | None = None) -> bool:
    """So many calls, one after another. Returns whether the last opened the breaker."""
    opened = False
    for _ in range(times):
        opened = breaker.failed(now, began=now, trial=breaker.begin(now), wait=wait)
    return opened


def on_trial(breaker: Breaker, now: float) -> bool:
    assert breaker.admits(now)
    return breaker.begin(now)


@dataclass
class Call:
    began: float
    trial: bool


class BreakerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(PROBE)
        self.now = 0.0
        self.calls: list[Call] = []
        # The account.
        self.failures: list[bool] = []
        self.row: list[Call] = []
        """Failed, with none answered that began after the first of them."""
        self.sent: list[float] = []
        """When, since the first of these was seen."""
        self.open_until: float | None = None
        self.closed_at = -1.0
        self.failed_trials = 0

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 10.0, 25.0, 70.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.admits(self.now))
    @rule()
    def begin(self) -> None:
        trial = self.breaker.begin(self.now)
        assert trial == (self.open_until is not None)
        self.calls.append(Call(self.now, trial))
        self.sent.append(self.now)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        call = self._take(data)
        closed = self.breaker.answered(self.now, began=call.began, trial=call.trial)
        assert closed == (self.open_until is not None and call.trial)
        if closed:
            self.failures, self.open_until, self.closed_at = [], None, self.now
            self.failed_trials = 0
            self.row = []
        elif self.open_until is None:
            self.failures.append(False)
            if self.row and call.began >= self.row[0].began:
                self.row = []

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), wait=st.none() | st.sampled_from([0.5, 3.0, 45.0]))
    def fail(self, data: st.DataObject, wait: float | None) -> None:
        call = self._take(data)
        opened = self.breaker.failed(self.now, began=call.began, trial=call.trial, wait=wait)
        assert opened == self._account_failure(call, wait)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        self.breaker.let_go(trial=self._take(data).trial)

    def _take(self, data: st.DataObject) -> Call:
        return self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))

    def _account_failure(self, call: Call, wait: float | None) -> bool:
        if self.open_until is not None:
            if call.trial:
                grown = PROBE * min(2**self.failed_trials, LONGEST)
                self.open_until = self.now + max(grown, wait or 0)
                self.failed_trials += 1
            return False
        if call.began < self.closed_at:
            return False
        self.failures.append(True)
        if not self.row:
            self.sent = []
        self.row.append(call)
        last = self.failures[-RECENT:]
        due = sum(began <= call.began for began in self.sent)
        most = len(self.row) >= CONSECUTIVE and len(self.row) * 2 >= due
        in_a_row = self.failures[-CONSECUTIVE:] == [True] * CONSECUTIVE
        if in_a_row or most or sum(last) * 2 >= RECENT:
            self.open_until = self.now + (wait or PROBE)
            return True
        return False

    @invariant()
    def opens_and_closes_as_told(self) -> None:
        assert self.breaker.open_until == self.open_until

    @invariant()
    def one_trial_at_a_time(self) -> None:
        trials = sum(call.trial for call in self.calls)
        assert trials <= 1
        assert self.breaker.on_trial == (trials == 1)
        if self.open_until is not None:
            may = self.now >= self.open_until and not trials
            assert self.breaker.admits(self.now) == may
        else:
            assert self.breaker.admits(self.now)

    @invariant()
    def names_a_time_that_is_true(self) -> None:
        at = self.breaker.admits_from(self.now)
        assert at >= self.now
        assert self.breaker.admits(at) or self.breaker.on_trial
        assert at == self.now or not self.breaker.admits(at - 0.01)


TestBreaker = BreakerMachine.TestCase


def test_opens_after_three_failures_in_a_row_and_not_sooner():
    breaker = Breaker(PROBE)
    assert not failing(breaker, CONSECUTIVE - 1)
    breaker.answered(0, began=0, trial=breaker.begin(0))
    assert not failing(breaker, CONSECUTIVE - 1)
    assert failing(breaker, 1)
    assert breaker.state(PROBE - 0.001) == "open"
    assert not breaker.admits(PROBE - 0.001)
    assert breaker.state(PROBE) == "half_open"


def test_opens_in_spite_of_answers_that_were_on_their_way():
    breaker = Breaker(PROBE)
    for now in (1.0, 1.1):
        assert not failing(breaker, 1, now)
        breaker.answered(now, began=0.5, trial=False)
    assert failing(breaker, 1, 1.2)


def test_an_answer_to_a_call_sent_after_the_first_failure_counts_against_that():
    breaker = Breaker(PROBE)
    for now in (1.0, 2.0, 3.0, 4.0):
        assert not failing(breaker, 1, now)
        breaker.answered(now, began=now, trial=False)


def test_what_was_sent_after_a_failed_call_is_not_held_against_its_word():
    breaker = Breaker(PROBE)
    began = [1.0 + sent / 1000 for sent in range(CONSECUTIVE)]
    for each in began:
        breaker.begin(each)
    for each in began[:-1]:
        assert not breaker.failed(1.01, began=each, trial=False)
        breaker.answered(1.01, began=0.1, trial=False)
        for _ in range(5):
            breaker.begin(1.01)
    assert breaker.failed(1.01, began=began[-1], trial=False)


def test_a_few_failures_among_many_slow_answers_do_not_open_it():
    breaker = Breaker(PROBE)
    for now in range(1, 5):
        assert not failing(breaker, 1, now)
        for _ in range(9):  # sent, and not yet answered
            breaker.begin(now)
        for _ in range(9):
            breaker.answered(now, began=0, trial=False)


def test_opens_when_half_of_the_last_twenty_fail():
    breaker = Breaker(PROBE)
    for _ in range(RECENT // 2 - 1):
        assert not failing(breaker, 1)
        breaker.answered(0, began=0, trial=False)
    assert failing(breaker, 1)


def test_a_third_of_failures_never_opens_it():
    breaker = Breaker(PROBE)
    for _ in range(200):
        assert not failing(breaker, 1)
        breaker.answered(0, began=0, trial=False)
        breaker.answered(0, began=0, trial=False)


def test_an_answered_trial_closes_it_and_all_is_forgotten():
    breaker = Breaker(PROBE)
    failing(breaker, CONSECUTIVE)
    trial = on_trial(breaker, PROBE)
    assert not breaker.admits(PROBE)
    assert breaker.answered(PROBE, began=PROBE, trial=trial)
    assert breaker.state(PROBE) == "closed"
    assert not failing(breaker, CONSECUTIVE - 1, PROBE)


def test_each_further_failed_trial_doubles_the_interval_up_to_six_times():
    breaker, now, intervals = Breaker(PROBE), 0.0, []
    failing(breaker, CONSECUTIVE)
    for _ in range(7):
        now = breaker.admits_from(now)
        breaker.failed(now, began=now, trial=on_trial(breaker, now))
        intervals.append(breaker.admits_from(now) - now)
    assert intervals == [10, 20, 40, 60, 60, 60, 60]
    now = breaker.admits_from(now)
    breaker.answered(now, began=now, trial=on_trial(breaker, now))
    failing(breaker, CONSECUTIVE, now)
    assert breaker.admits_from(now) == now + PROBE


def test_the_servers_word_decides_about_the_first_trial_and_may_only_lengthen_later_ones():
    breaker = Breaker(PROBE)
    failing(breaker, CONSECUTIVE, wait=1)
    assert breaker.admits_from(0) == 1
    breaker.failed(1, began=1, trial=on_trial(breaker, 1), wait=1)
    assert breaker.admits_from(1) == 1 + PROBE
    breaker.failed(11, began=11, trial=on_trial(breaker, 11), wait=300)
    assert breaker.admits_from(11) == 311


def test_late_answers_neither_close_nor_open_it():
    breaker = Breaker(PROBE)
    late = [breaker.begin(0) for _ in range(CONSECUTIVE + 1)]
    failing(breaker, CONSECUTIVE)
    assert not breaker.answered(1, began=0, trial=late.pop())
    assert breaker.state(1) == "open"
    breaker.answered(PROBE, began=PROBE, trial=on_trial(breaker, PROBE))
    for trial in late:  # what began before the outage times out only now
        assert not breaker.failed(PROBE + 1, began=0, trial=trial)
    assert breaker.state(PROBE + 1) == "closed"


def test_a_trial_that_told_nothing_leaves_room_for_the_next():
    breaker = Breaker(PROBE)
    failing(breaker, CONSECUTIVE)
    breaker.let_go(trial=on_trial(breaker, PROBE))
    assert on_trial(breaker, PROBE)


@given(untils=st.lists(st.floats(0, 100), min_size=1))
def test_what_other_workers_found_keeps_it_open_as_long_as_the_longest_says(untils):
    breaker = Breaker(PROBE)
    for until in untils:
        breaker.open(until)
    assert breaker.open_until == max(untils)
    breaker.close(0)
    assert breaker.admits(0)
