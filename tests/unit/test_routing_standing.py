"""One deployment: whether it takes a call, and what each end of a call changes."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from endpoints.routing.breaker import CONSECUTIVE
from endpoints.routing.standing import (
    STALLED_AFTER_SECONDS,
    UNUSABLE_SECONDS,
    Refusal,
    Slot,
    Standing,
)
from tests.unit.routing_fakes import FAILED, HUNG, REFUSED, REJECTED, UNUSABLE, settings, throttled

PROBE = 10.0


def standing(**fields: object) -> Standing:
    return Standing(settings(**fields))


def one_answer(each: Standing, seconds: float = 0.1, now: float = 0.0) -> float:
    slot = each.begin(now)
    each.answered(slot, now + seconds, 0)
    return now + seconds


def broken(each: Standing, now: float = 0.0) -> None:
    for _ in range(CONSECUTIVE):
        each.ended(each.begin(now), FAILED, now)
    assert each.refusal(now) is Refusal.OPEN


# The laws.

verdicts = st.sampled_from(
    [FAILED, HUNG, REFUSED, REJECTED, UNUSABLE, throttled(0.1), throttled(7), throttled(70)]
)


class StandingMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.standing = standing(max_concurrency=3, requests_per_minute=20, tokens_per_minute=100)
        self.now = 0.0
        self.slots: list[Slot] = []
        self.released = 0
        self.standing.released = self._released

    def _released(self) -> None:
        self.released += 1

    @rule(seconds=st.sampled_from([0.01, 0.5, 3.0, 10.0, 61.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(tokens=st.integers(0, 60))
    def begin(self, tokens: int) -> None:
        if self.standing.refusal(self.now, tokens) is None:
            self.slots.append(self.standing.begin(self.now, tokens))

    @precondition(lambda self: self.slots)
    @rule(data=st.data(), how=verdicts | st.sampled_from(["answered", "used", "unused"]))
    def end(self, data: st.DataObject, how: object) -> None:
        slot = self.slots.pop(data.draw(st.integers(0, len(self.slots) - 1)))
        before = self.released
        match how:
            case "answered":
                self.standing.answered(slot, self.now, data.draw(st.integers(0, 60)))
            case "used" | "unused":
                self.standing.let_go(slot, self.now, used=how == "used")
            case verdict:
                self.standing.ended(slot, verdict, self.now)
        assert self.released == before + 1

    @invariant()
    def a_slot_for_each_call_and_one_for_a_trial(self) -> None:
        assert self.standing.calls_at_once.in_flight == len(self.slots) <= 3
        assert sum(slot.trial for slot in self.slots) <= 1

    @invariant()
    def the_time_it_names_is_not_too_late(self) -> None:
        """Before it only the end of a call can make room."""
        at = self.standing.admits_from(self.now, 10)
        assert at >= self.now
        if self.standing.refusal(self.now, 10) is None:
            assert at == self.now
        if at > self.now and not self.slots:
            assert self.standing.refusal((self.now + at) / 2, 10) is not None

    @invariant()
    def nor_too_early(self) -> None:
        at = self.standing.admits_from(self.now, 10)
        refusal = self.standing.refusal(at, 10)
        assert refusal not in (Refusal.COOLING, Refusal.OPEN, Refusal.RATE)


TestStanding = StandingMachine.TestCase


# Throttling, failing, unusable.


def test_a_429_leaves_it_alone_until_then_and_of_several_the_longest_holds():
    each = standing()
    slots = [each.begin(0) for _ in range(3)]
    each.ended(slots[0], throttled(5), 0)
    each.ended(slots[1], throttled(30), 1)
    each.ended(slots[2], throttled(2), 2)
    assert each.refusal(30.9) is Refusal.COOLING
    assert each.admits_from(2) == 31
    assert each.refusal(31) is None


def test_a_callers_own_mistakes_are_not_held_against_it_nor_is_a_429():
    each = standing()
    for second in range(50):
        each.ended(each.begin(second), REJECTED, second)
        each.ended(each.begin(second), throttled(0.1), second)
    assert each.refusal(50) is None
    assert each.breaker.state(50) == "closed"


def test_it_is_told_once_that_it_fails_and_once_that_it_answers_again():
    each = standing()
    news = [each.ended(each.begin(0), FAILED, 0) for _ in range(CONSECUTIVE)]
    assert news == [False] * (CONSECUTIVE - 1) + [True]
    assert not each.ended(each.begin(PROBE), FAILED, PROBE)
    assert each.answered(each.begin(2 * PROBE), 2 * PROBE, 0)
    assert not each.answered(each.begin(2 * PROBE), 2 * PROBE, 0)


def test_unusable_is_told_once_and_ends_with_an_answer():
    each = standing()
    assert each.ended(each.begin(0), UNUSABLE, 0)
    assert each.refusal(UNUSABLE_SECONDS - 0.1) is Refusal.UNUSABLE
    assert not each.ended(each.begin(UNUSABLE_SECONDS), UNUSABLE, UNUSABLE_SECONDS)
    now = 2 * UNUSABLE_SECONDS
    assert each.answered(each.begin(now), now, 0)
    assert each.refusal(now) is None


def test_what_nothing_may_pass_is_named_before_what_one_might():
    each = standing(max_concurrency=3)
    for _ in range(CONSECUTIVE):
        each.ended(each.begin(0), FAILED, 0)
    trial = each.begin(PROBE)
    each.shun(100.0)
    assert each.refusal(PROBE) is Refusal.FULL  # and not: could be asked, for want of another
    each.ended(trial, FAILED, PROBE)
    assert each.refusal(PROBE) is Refusal.OPEN


# Trials.


def test_while_a_trial_is_under_way_the_others_wait_for_its_end():
    each = standing()
    one_answer(each)
    broken(each)
    trial = each.begin(PROBE)
    assert trial.trial
    assert each.refusal(PROBE) is Refusal.FULL
    assert each.admits_from(PROBE) == PROBE + each.trial_seconds()
    each.answered(trial, PROBE + 0.1, 0)
    assert each.refusal(PROBE + 0.1) is None


def test_a_trial_takes_no_longer_than_calls_do_but_a_slow_deployment_is_found_again():
    each, now = standing(), 0.0
    now = one_answer(each, 1.0)
    broken(each, now)
    assert each.trial_seconds() == pytest.approx(4.0)
    granted = []
    for _ in range(5):  # it has become slow meanwhile: 30 s a call
        now = each.admits_from(now)
        trial, seconds = each.begin(now), each.trial_seconds()
        granted.append(seconds)
        now += min(seconds, 30)
        if seconds >= 30:
            each.answered(trial, now, 0)
            break
        each.ended(trial, HUNG, now)
    assert granted == [4, 8, 16, 32]
    assert each.refusal(now) is None


def test_trials_that_fail_at_once_get_no_longer():
    each, now = standing(), 0.0
    broken(each)
    for _ in range(5):
        now = each.admits_from(now)
        each.ended(each.begin(now), REFUSED, now + 0.01)
    assert each.trial_seconds() == STALLED_AFTER_SECONDS


def test_a_stream_that_begins_ends_the_trial_and_breaks_the_silence():
    each, released = standing(), []
    now = one_answer(each, 1.0)
    broken(each, now)
    now += PROBE
    stream = each.begin(now)
    each.released = lambda: released.append(each.refusal(now))
    assert each.answering(stream, now)
    assert released == [None]
    each.begin(now + 3)
    assert not each.answering(stream, now + 3.9)
    assert each.refusal(now + 5) is None


def test_callers_that_leave_long_streams_do_no_harm():
    each, now = standing(), 0.0
    now = one_answer(each, 1.0)
    for _ in range(10):
        stream = each.begin(now)
        now += 60
        each.answering(stream, now)  # what came last was heard
        each.let_go(stream, now, used=True)
    assert each.refusal(now) is None


# Silence.


def test_when_nothing_comes_back_for_long_it_is_passed_over():
    each = standing()
    now = one_answer(each, 1.0)
    slots = [each.begin(now) for _ in range(4)]
    assert each.refusal(now + 3.9) is None
    assert each.refusal(now + 4.1) is Refusal.STALLED
    each.answered(slots[0], now + 4.2, 0)
    assert each.refusal(now + 5) is None


def test_what_takes_long_by_nature_is_not_stalled_sooner():
    each = standing()
    now = one_answer(each, 30.0)
    each.begin(now)
    assert each.refusal(now + 100) is None
    assert each.refusal(now + 121) is Refusal.STALLED


def test_idleness_is_not_silence():
    each = standing()
    now = one_answer(each)
    each.begin(now + 1000)
    assert each.refusal(now + 1001) is None


def test_one_that_hangs_is_found_out_though_nobody_waits_for_its_timeout():
    """Callers with deadlines of their own give up long before, and say nothing of it."""
    each = standing(timeout_seconds=3600)
    now, sent = one_answer(each, 0.5), 0
    for _ in range(100):
        now += 0.01
        if each.refusal(now) is None:
            sent += 1
            slot = each.begin(now)
            now += 1.0
            each.let_go(slot, now, used=True)
    assert each.breaker.state(now) != "closed"
    assert sent <= 2 + CONSECUTIVE + 100 / PROBE


def test_callers_that_give_up_early_do_no_harm_to_one_that_answers():
    each, now = standing(), 0.0
    for _ in range(50):
        now = one_answer(each, 0.5, now)
        for _ in range(5):
            slot = each.begin(now)
            now += 0.3
            each.let_go(slot, now, used=True)
        assert each.refusal(now) is None


# Limits by the minute.


def test_a_call_that_was_never_sent_counts_for_nothing():
    each = standing(requests_per_minute=1, tokens_per_minute=100)
    slot = each.begin(0, 100)
    assert each.refusal(0, 1) is Refusal.RATE
    each.let_go(slot, 1, used=False)
    assert each.refusal(1, 100) is None


def test_an_estimate_is_replaced_by_what_was_used():
    each = standing(tokens_per_minute=100)
    each.answered(each.begin(0, 80), 1, 30)
    assert each.refusal(1, 70) is None
    assert each.refusal(1, 71) is Refusal.RATE
    each.answered(each.begin(1, 70), 2, 0)  # the answer does not tell
    assert each.tokens.used(2) == 100


def test_what_is_given_back_late_makes_no_room_twice():
    each = standing(requests_per_minute=5)
    slots = [each.begin(0) for _ in range(5)]
    for slot in slots:
        each.let_go(slot, 59, used=False)
    for _ in range(5):
        assert each.refusal(59) is None
        each.begin(59)
    assert each.refusal(61) is Refusal.RATE
