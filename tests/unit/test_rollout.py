"""Whether a rollout goes on, waits or goes back, and what it does to the weights."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from durabletask import task
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.audit import AuditEvent
from contracts.names import NOTE_AUDIT_ACTIVITY
from contracts.rollouts import (
    RolloutRecord,
    RolloutRequest,
    RolloutRules,
    RolloutStatus,
    RolloutTicket,
    rollout_id,
)
from contracts.sharing import Counts, Fact, SharedDeployment, SharedModel, latency_bin
from contracts.steering import Override
from orchestrators.judging import FEWEST_FOR_P95, judge, left_alone
from orchestrators.rollout import MOST_WEIGHT, SETTLE_SECONDS, rollout, weights_at
from orchestrators.standing import steered

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
RULES = RolloutRules(
    steps=[10, 100], step_seconds=40, max_error_rate=0.05, max_latency_ratio=1.5, min_calls=20
)
run_orchestrator = rollout._function._func.orchestrator_function


def counts(calls: int, failures: int = 0, seconds: float = 1.0, throttled: int = 0) -> Counts:
    answered = calls - failures
    return Counts(
        calls=calls,
        failures=failures,
        throttled=throttled,
        seconds=answered * seconds,
        bins={latency_bin(seconds): answered},
    )


# Judging


def test_nothing_is_said_of_few_calls():
    assert judge(counts(19, 19), counts(1000), None, RULES).found == "wait"


def test_as_good_as_the_others_is_good():
    assert judge(counts(20, 1), counts(1000, 50), None, RULES).found == "good"


def test_failures_that_are_borne_are_borne():
    assert judge(counts(100, 5), counts(1000), None, RULES).found == "good"


def test_more_failures_are_not():
    found = judge(counts(100, 6), counts(1000), None, RULES)
    assert found.found == "bad"
    assert "6.0% of its calls failed" in found.why


def test_what_fails_everywhere_is_not_the_fault_of_one():
    assert judge(counts(100, 40), counts(1000, 500), None, RULES).found == "good"


def test_one_that_throttles_is_not_fit_to_take_more():
    found = judge(counts(80, throttled=20), counts(1000), None, RULES)
    assert found.found == "bad"
    assert "throttled" in found.why


def test_slower_by_more_than_is_borne_is_bad():
    assert judge(counts(50, seconds=1.4), counts(50), None, RULES).found == "good"
    found = judge(counts(50, seconds=1.6), counts(50), None, RULES)
    assert found.found == "bad"
    assert "on average" in found.why


def test_a_long_tail_is_bad_once_there_are_calls_enough_to_see_one():
    def tailed(calls: int) -> Counts:
        slow = calls // 10
        bins = {latency_bin(0.5): calls - slow, latency_bin(5): slow}
        return Counts(calls=calls, seconds=0.5 * calls + 0.5 * slow, bins=bins)

    steady = counts(1000, seconds=1)
    assert judge(tailed(FEWEST_FOR_P95 - 10), steady, None, RULES).found == "good"
    found = judge(tailed(FEWEST_FOR_P95), steady, None, RULES)
    assert found.found == "bad"
    assert "95th" in found.why


def test_where_the_others_have_no_calls_any_more_those_from_before_count():
    assert judge(counts(50, seconds=2), counts(3), counts(100), RULES).found == "bad"
    assert judge(counts(50, seconds=2), counts(3), None, RULES).found == "wait"
    assert judge(counts(50, seconds=2), counts(3), None, RULES, alone=True).found == "good"


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_more_failures_never_make_it_better(calls, failures, more, others):
    order = {"good": 0, "wait": 0, "bad": 1}
    failures = min(calls, failures)
    more = min(calls, failures + more)
    few = judge(counts(calls, failures), counts(others), None, RULES)
    many = judge(counts(calls, more), counts(others), None, RULES)
    assert order[many.found] >= order[few.found]


def fact(until: float | None, at: float) -> Fact:
    ends = None if until is None else NOON + timedelta(seconds=until)
    return Fact(until=ends, at=NOON + timedelta(seconds=at), by="w")


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (SharedDeployment(), None),
        (SharedDeployment(breaker=fact(9, -1)), "breaker"),
        (SharedDeployment(breaker=fact(-1, -9)), "breaker"),
        (SharedDeployment(breaker=fact(None, -1)), None),
        (SharedDeployment(breaker=fact(-100, -110)), None),
        (SharedDeployment(unusable=fact(9, -1)), "configured"),
    ],
)
def test_what_workers_found_of_it_counts_at_once(known, why):
    found = left_alone(known, NOON, NOON - timedelta(seconds=10))
    assert (found is None) if why is None else (found.found == "bad" and why in found.why)


# Weights


@given(
    st.floats(0.1, 100),
    st.dictionaries(st.sampled_from("abcd"), st.floats(0.01, 1000), min_size=1),
    st.floats(0, 1000),
)
def test_it_takes_its_share_and_the_others_keep_their_proportions(percent, others, own):
    weights = weights_at(percent, {**others, "new": own}, "new")
    total = sum(weights.values())
    assert max(weights.values()) <= MOST_WEIGHT
    assert weights["new"] / total == pytest.approx(percent / 100, rel=1e-2)
    for name, weight in others.items():
        left = total - weights["new"]
        assert weights[name] == pytest.approx(left * weight / sum(others.values()), abs=1e-4)


@pytest.mark.parametrize("steps", [[], [50, 25], [0, 100], [100, 200], [50, 50]])
def test_steps_that_make_no_sense_are_refused(steps):
    with pytest.raises(ValidationError):
        RolloutRequest(model="m", to="new", steps=steps)


# The orchestrator


class World:
    """The entity, the calls that are counted there, and the time."""

    def __init__(self, rules: RolloutRules = RULES) -> None:
        self.now = NOON
        self.shared = SharedModel()
        record = RolloutRecord(
            id=rollout_id("m"),
            status=RolloutStatus.RUNNING,
            model="m",
            to="new",
            rules=rules,
            started_at=NOON,
        )
        before = {"old": 2.0, "new": 0.0}
        ticket = RolloutTicket(
            record=record, before=before, overrides={"old": 2.0, "new": None}, tenant="ops"
        )
        self.shared = steered(self.shared, {"old": Override(weight=2.0)})
        self.input: dict[str, Any] | None = ticket.model_dump(mode="json")
        self.cancelled = False
        self.output: dict[str, Any] | None = None
        self.custom_status: dict[str, Any] = {}
        self.audited: list[AuditEvent] = []
        self.log_is_down = False

    # What the orchestrator is given as its context.

    @property
    def current_utc_datetime(self) -> datetime:
        return self.now.replace(tzinfo=None)

    def wait_for_external_event(self, name: str) -> task.CancellableTask[Any]:
        event: task.CancellableTask[Any] = task.CancellableTask()
        self.event = event
        return event

    def create_timer(self, fire_at: datetime) -> task.TimerTask:
        self.timer = task.TimerTask()
        self.fires_at = fire_at
        return self.timer

    def call_entity(self, entity: Any, operation: str, input: Any = None, *, return_type=None):
        assert str(entity) == "@standing@m"
        done: task.CompletableTask[Any] = task.CompletableTask()
        if operation == "steer":
            wanted = {name: Override.model_validate(each) for name, each in input.items()}
            self.shared = steered(self.shared, wanted)
            done.complete(None)
        else:
            assert operation == "get"
            done.complete(self.shared.model_dump(mode="json"))
        return done

    def call_activity(self, name: str, *, input: Any, retry_policy: task.RetryPolicy):
        assert name == NOTE_AUDIT_ACTIVITY
        done: task.CompletableTask[Any] = task.CompletableTask()
        if self.log_is_down:
            done.fail("DependencyUnavailable", RuntimeError("Storage is down."))
        else:
            self.audited.append(AuditEvent.model_validate(input))
            done.complete(None)
        return done

    def set_custom_status(self, status: dict[str, Any]) -> None:
        self.custom_status = status

    def continue_as_new(self, new_input: dict[str, Any], *, save_events: bool) -> None:
        assert save_events
        self.input = new_input

    # What happens.

    def execute(self) -> None:
        """One execution, to its end."""
        assert self.input is not None
        steps = run_orchestrator(self, self.input)
        self.input = None
        try:
            waits_for = next(steps)
            while True:
                if isinstance(waits_for, task.WhenAnyTask):
                    fired = self.event if self.cancelled else self.timer
                    self.now = max(self.now, self.fires_at) if fired is self.timer else self.now
                    fired.complete(None)
                    waits_for = steps.send(fired)
                elif waits_for.is_failed:
                    waits_for = steps.throw(waits_for.get_exception())
                else:
                    waits_for = steps.send(waits_for.get_result())
        except StopIteration as end:
            self.output = end.value

    def begin(self) -> None:
        """Until the first step is judged."""
        self.execute()
        self.execute()

    def calls(self, **made: Counts) -> None:
        deployments = dict(self.shared.deployments)
        for name, more in made.items():
            known = deployments.get(name, SharedDeployment())
            deployments[name] = known.model_copy(update={"counts": known.counts + more})
        self.shared = self.shared.model_copy(update={"deployments": deployments})

    def plays(self, made: dict[str, Counts], most: int = 200) -> RolloutRecord:
        """With these calls before each check, to the end."""
        for _ in range(most):
            self.execute()
            if self.output is not None:
                return RolloutRecord.model_validate(self.output)
            self.calls(**made)
        raise AssertionError("it does not end")

    @property
    def weights(self) -> dict[str, float | None]:
        return {name: each.weight for name, each in self.shared.deployments.items()}


def test_a_good_one_takes_all_calls_in_the_end():
    world = World()
    record = world.plays({"old": counts(90), "new": counts(10)})
    assert record.status is RolloutStatus.SUCCEEDED
    assert world.weights == {"old": 0.0, "new": 2.0}
    assert [step.percent for step in record.steps] == [10, 100]
    for step in record.steps:
        assert step.ended_at is not None
        seconds = (step.ended_at - step.began_at).total_seconds()
        assert RULES.step_seconds <= seconds <= RULES.step_seconds + SETTLE_SECONDS
    assert record.weights == world.weights


def test_each_step_sets_its_share():
    world = World()
    world.execute()
    assert world.weights == {"old": pytest.approx(1.8), "new": pytest.approx(0.2)}
    assert world.custom_status["steps"][-1]["percent"] == 10


def test_a_bad_one_is_undone_at_the_next_check_and_what_was_set_before_is_set_again():
    world = World()
    world.begin()
    world.calls(old=counts(100), new=counts(30, 15))
    record = world.plays({})
    assert record.status is RolloutStatus.ROLLED_BACK
    assert "new: 50.0% of its calls failed" in (record.reason or "")
    assert (world.now - NOON).total_seconds() == SETTLE_SECONDS + 10
    assert world.weights == {"old": 2.0, "new": None}
    assert record.weights == {"old": 2.0, "new": 0.0}
    assert record.steps[-1].new is not None
    assert record.steps[-1].new.calls == 30


def test_what_happened_before_the_weights_were_everywhere_is_not_judged():
    world = World()
    world.execute()
    world.calls(old=counts(100), new=counts(30, 30))
    record = world.plays({"old": counts(90), "new": counts(10)})
    assert record.status is RolloutStatus.SUCCEEDED


def test_an_open_breaker_undoes_it_whatever_the_counts_say():
    world = World()
    world.begin()
    opened = SharedDeployment(breaker=fact(5, 1))
    world.shared = world.shared.model_copy(
        update={"deployments": {**world.shared.deployments, "new": opened}}
    )
    assert world.plays({}).status is RolloutStatus.ROLLED_BACK


def test_a_step_with_too_few_calls_lasts_longer_and_then_is_undone():
    world = World()
    record = world.plays({"old": counts(10), "new": counts(1)})
    assert record.status is RolloutStatus.ROLLED_BACK
    assert "Too few calls" in (record.reason or "")
    assert 3 * RULES.step_seconds <= (world.now - NOON).total_seconds() <= 130


def test_a_step_that_has_its_calls_late_goes_on():
    world = World()
    for _ in range(7):
        world.execute()
    assert len(world.custom_status["steps"]) == 1
    world.calls(old=counts(100), new=counts(50))
    world.execute()
    assert len(world.custom_status["steps"]) == 2


def test_many_good_calls_do_not_hide_that_it_has_become_bad():
    world = World(RULES.model_copy(update={"step_seconds": 3600}))
    world.begin()
    for _ in range(60):
        world.calls(old=counts(1000), new=counts(1000))
        world.execute()
    assert world.output is None
    world.calls(old=counts(1000), new=counts(1000, 1000))
    world.execute()
    assert world.output is not None
    assert world.output["status"] == "rolled_back"


def test_it_can_be_cancelled():
    world = World()
    world.execute()
    world.cancelled = True
    record = world.plays({})
    assert record.status is RolloutStatus.CANCELLED
    assert world.weights == {"old": 2.0, "new": None}


# The audit log


def noted(world: World) -> list[tuple[str, Any]]:
    return [
        (each.action, each.detail.get("percent") or each.detail["status"]) for each in world.audited
    ]


def test_each_step_after_the_first_and_the_end_are_in_the_audit_log():
    world = World()
    world.plays({"old": counts(90), "new": counts(10)})
    assert noted(world) == [("rollout.advanced", 100), ("rollout.ended", "succeeded")]
    assert {(each.tenant, each.subject) for each in world.audited} == {("ops", "service")}
    assert len({each.id for each in world.audited}) == 2


def test_an_end_is_noted_with_its_reason():
    world = World()
    world.begin()
    world.calls(old=counts(100), new=counts(30, 15))
    record = world.plays({})
    assert noted(world) == [("rollout.ended", "rolled_back")]
    assert world.audited[0].detail["reason"] == record.reason


def test_while_the_log_cannot_be_written_no_step_begins_and_what_is_bad_is_undone_all_the_same():
    world = World()
    world.log_is_down = True
    world.begin()
    for _ in range(30):
        world.calls(old=counts(90), new=counts(10))
        world.execute()
    assert world.output is None
    assert len(world.custom_status["steps"]) == 1
    assert world.weights["new"] == pytest.approx(0.2)
    world.calls(new=counts(300, 300))
    record = world.plays({})
    assert record.status is RolloutStatus.ROLLED_BACK
    assert world.weights == {"old": 2.0, "new": None}


def test_once_the_log_can_be_written_again_it_goes_on():
    world = World()
    world.log_is_down = True
    world.begin()
    for _ in range(10):
        world.calls(old=counts(90), new=counts(10))
        world.execute()
    world.log_is_down = False
    assert world.plays({"old": counts(90), "new": counts(10)}).status is RolloutStatus.SUCCEEDED
