"""What a task hub does, shown with the vendor's worker and client on both hubs.

Both must pass every test; where the vendor's hub leaves out what Durable Functions does on
Azure, the test says so and runs on the durable hub only.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from durabletask import entities, task
from durabletask.client import EntityQuery, OrchestrationQuery, OrchestrationStatus
from durabletask.client import TaskHubGrpcClient as Client
from durabletask.entities import EntityInstanceId
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal.orchestrator_service_pb2_grpc import TaskHubSidecarServiceStub

from tests.integration.task_hub_harness import (
    client,
    double,
    durable_hub,
    fan,
    one,
    until,
    vendor_hub,
    worker,
)

FAST = task.RetryPolicy(first_retry_interval=timedelta(milliseconds=50), max_number_of_attempts=3)
failed_once: set[str] = set()


# The app


def boom(_: task.ActivityContext, text: str) -> None:
    raise ValueError(text)


def fail_first_time(_: task.ActivityContext, key: str) -> str:
    if key not in failed_once:
        failed_once.add(key)
        raise RuntimeError("the first time")
    return "the second time"


def slow(_: task.ActivityContext, seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def echo(context: task.OrchestrationContext, given):
    context.set_custom_status({"seen": given})
    return given


def failing(context: task.OrchestrationContext, text: str):
    yield context.call_activity(boom, input=text)


def retrying(context: task.OrchestrationContext, key: str):
    return (yield context.call_activity(fail_first_time, input=key, retry_policy=FAST))


def catching(context: task.OrchestrationContext, text: str):
    try:
        yield context.call_activity(boom, input=text)
    except task.TaskFailedError as error:
        return error.details.message


def sleeping(context: task.OrchestrationContext, seconds: float):
    before = context.current_utc_datetime
    yield context.create_timer(timedelta(seconds=seconds))
    return (context.current_utc_datetime - before).total_seconds()


def waiting(context: task.OrchestrationContext, count: int):
    got = []
    for _ in range(count):
        got.append((yield context.wait_for_external_event("event")))
    return got


def event_or_timeout(context: task.OrchestrationContext, seconds: float):
    event = context.wait_for_external_event("event")
    winner = yield task.when_any([event, context.create_timer(timedelta(seconds=seconds))])
    return event.get_result() if winner == event else "timeout"


def parent(context: task.OrchestrationContext, number: int):
    return (yield context.call_sub_orchestrator(one, input=number))


def parent_of_failing(context: task.OrchestrationContext, text: str):
    yield context.call_sub_orchestrator(failing, input=text)


def parent_of_many(context: task.OrchestrationContext, count: int):
    children = [context.call_sub_orchestrator(one, input=n) for n in range(count)]
    return sum((yield task.when_all(children)))


def parent_of_waiting(context: task.OrchestrationContext, child_id: str):
    yield context.call_sub_orchestrator(waiting, input=1, instance_id=child_id)


def who_is_my_parent(context: task.OrchestrationContext, _):
    return context.parent_instance_id


def asks_child_for_parent(context: task.OrchestrationContext, _):
    return (yield context.call_sub_orchestrator(who_is_my_parent))


def counting_down(context: task.OrchestrationContext, number: int):
    yield context.call_activity(double, input=number)
    if number:
        context.continue_as_new(number - 1)
        return None
    return "done"


def collecting(context: task.OrchestrationContext, got: list[int]):
    """Takes one event in each execution; those that wait meanwhile are carried over."""
    got = [*got, (yield context.wait_for_external_event("event"))]
    if len(got) < 5:
        context.continue_as_new(got, save_events=True)
        return None
    return got


def sender(context: task.OrchestrationContext, target: str):
    context.send_event(target, "event", data="from another")
    yield context.create_timer(timedelta())
    return "sent"


def fails_until_rewound(context: task.OrchestrationContext, key: str):
    before = yield context.call_activity(double, input=21)
    after = yield context.call_activity(fail_first_time, input=key)
    return [before, after]


def parent_of_rewound(context: task.OrchestrationContext, key: str):
    return (yield context.call_sub_orchestrator(fails_until_rewound, input=key))


def fan_with_one_failure(context: task.OrchestrationContext, key: str):
    quick = context.call_activity(fail_first_time, input=key)
    slower = context.call_activity(slow, input=0.5)
    timer = context.create_timer(timedelta(seconds=0.6))
    results = yield task.when_all([quick, slower, timer])
    return results[:2]


class Counter(entities.DurableEntity):
    def add(self, number: int) -> int:
        self.set_state(self.get_state(int, 0) + number)
        return self.get_state(int, 0)

    def get(self) -> int:
        return self.get_state(int, 0)

    def fail(self) -> None:
        raise ValueError("no")

    def tell(self, other: str) -> None:
        self.signal_entity(EntityInstanceId.parse(other), "add", 7)

    def start(self, instance_id: str) -> None:
        self.schedule_new_orchestration("echo", "from an entity", instance_id=instance_id)


def calls_entity(context: task.OrchestrationContext, key: str):
    counter = EntityInstanceId("Counter", key)
    context.signal_entity(counter, "add", 1)
    yield context.call_entity(counter, "add", 10)
    return (yield context.call_entity(counter, "get"))


def calls_failing_entity(context: task.OrchestrationContext, key: str):
    try:
        yield context.call_entity(EntityInstanceId("Counter", key), "fail")
    except task.TaskFailedError as error:
        return error.details.message


def adds_under_lock(context: task.OrchestrationContext, keys: list[str]):
    """Reads, waits and writes: without the lock two of these would overwrite each other."""
    counters = [EntityInstanceId("Counter", key) for key in keys]
    with (yield context.lock_entities(counters)):
        for counter in counters:
            now = yield context.call_entity(counter, "get")
            yield context.create_timer(timedelta(milliseconds=20))
            yield context.call_entity(counter, "add", 1)
            assert (yield context.call_entity(counter, "get")) == now + 1
    return "added"


def holds_lock(context: task.OrchestrationContext, key: str):
    with (yield context.lock_entities([EntityInstanceId("Counter", key)])):
        yield context.wait_for_external_event("release")


ORCHESTRATORS = [
    one, fan, echo, failing, retrying, catching, sleeping, waiting, event_or_timeout, parent,
    parent_of_failing, parent_of_many, parent_of_waiting, who_is_my_parent, asks_child_for_parent,
    counting_down, collecting, sender, fails_until_rewound, parent_of_rewound,
    fan_with_one_failure, calls_entity, calls_failing_entity, adds_under_lock, holds_lock,
]  # fmt: skip
ACTIVITIES = [double, boom, fail_first_time, slow]


# The hubs


@dataclass(frozen=True)
class Hub:
    kind: str
    client: Client
    stub: TaskHubSidecarServiceStub

    def run(self, orchestrator, given=None, seconds: float = 120.0):
        """The state at the end of a new orchestration."""
        return self.end(self.client.schedule_new_orchestration(orchestrator, input=given), seconds)

    def end(self, instance_id: str, seconds: float = 120.0):
        state = self.client.wait_for_orchestration_completion(instance_id, timeout=seconds)
        assert state is not None
        return state

    def result(self, orchestrator, given=None):
        state = self.run(orchestrator, given)
        assert state.runtime_status is OrchestrationStatus.COMPLETED, state.failure_details
        return output(state)

    def status(self, instance_id: str) -> OrchestrationStatus:
        return self.client.get_orchestration_state(instance_id).runtime_status


def output(state):
    return json.loads(state.serialized_output or "null")


def unique() -> str:
    return uuid.uuid4().hex


@contextmanager
def running(kind: str, state: Path) -> Iterator[Hub]:
    with (
        vendor_hub() if kind == "vendor" else durable_hub(state) as address,
        worker(address, orchestrators=ORCHESTRATORS, activities=ACTIVITIES, entities=[Counter]),
        client(address) as made,
        grpc.insecure_channel(address) as channel,
    ):
        yield Hub(kind, made, TaskHubSidecarServiceStub(channel))


@pytest.fixture(scope="module", params=["vendor", "durable"])
def hub(request, tmp_path_factory) -> Iterator[Hub]:
    with running(request.param, tmp_path_factory.mktemp("hub")) as opened:
        yield opened


@pytest.fixture(scope="module")
def durable(tmp_path_factory) -> Iterator[Hub]:
    """For what the vendor's hub does not do."""
    with running("durable", tmp_path_factory.mktemp("hub")) as opened:
        yield opened


# Orchestrations and activities


@pytest.mark.parametrize("given", [None, "", "text", 0, [1, {"a": None}], "ä€ \u0000"])
def test_input_and_output_pass_unchanged(hub, given):
    state = hub.run("echo", given)
    assert output(state) == given
    assert json.loads(state.serialized_custom_status) == {"seen": given}


def test_an_activity_answers_its_orchestration(hub):
    assert hub.result(one, 21) == 42


def test_a_fan_out_brings_every_result_once(hub):
    assert hub.result(fan, 200) == sum(2 * n for n in range(200))


def test_what_an_activity_raises_fails_the_orchestration_with_its_message(hub):
    state = hub.run(failing, "broken")
    assert state.runtime_status is OrchestrationStatus.FAILED
    assert "broken" in state.failure_details.message


def test_an_orchestrator_can_catch_what_an_activity_raises(hub):
    assert "broken" in hub.result(catching, "broken")


def test_a_retry_policy_runs_the_activity_again(hub):
    assert hub.result(retrying, unique()) == "the second time"


def test_an_unknown_orchestrator_fails(hub):
    state = hub.run("nobody_wrote_this")
    assert state.runtime_status is OrchestrationStatus.FAILED
    assert "nobody_wrote_this" in state.failure_details.message


def test_a_timer_fires_and_never_early(hub):
    assert hub.result(sleeping, 0.3) >= 0.3


def test_events_arrive_in_their_order_and_wait_for_the_orchestrator(hub):
    instance_id = hub.client.schedule_new_orchestration(waiting, input=3)
    for number in range(3):
        hub.client.raise_orchestration_event(instance_id, "event", data=number)
    assert output(hub.end(instance_id)) == [0, 1, 2]


def test_a_timeout_beats_an_event_that_does_not_come(hub):
    assert hub.result(event_or_timeout, 0.2) == "timeout"


def test_an_event_beats_its_timeout(hub):
    instance_id = hub.client.schedule_new_orchestration(event_or_timeout, input=30)
    hub.client.raise_orchestration_event(instance_id, "event", data="came")
    assert output(hub.end(instance_id)) == "came"


def test_an_orchestration_sends_an_event_to_another(hub):
    instance_id = hub.client.schedule_new_orchestration(waiting, input=1)
    hub.client.wait_for_orchestration_start(instance_id)
    assert hub.result(sender, instance_id) == "sent"
    assert output(hub.end(instance_id)) == ["from another"]


def test_an_event_for_nobody_is_refused(hub):
    with pytest.raises(grpc.RpcError) as refused:
        hub.client.raise_orchestration_event(unique(), "event")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


# Sub-orchestrations and new executions


def test_a_sub_orchestration_answers_its_parent(hub):
    assert hub.result(parent, 21) == 42


def test_many_sub_orchestrations_answer_their_parent(hub):
    assert hub.result(parent_of_many, 20) == sum(2 * n for n in range(20))


def test_a_failed_sub_orchestration_fails_its_parent(hub):
    state = hub.run(parent_of_failing, "broken")
    assert state.runtime_status is OrchestrationStatus.FAILED
    assert "broken" in state.failure_details.message


def test_a_sub_orchestration_knows_its_parent(durable):
    instance_id = durable.client.schedule_new_orchestration(asks_child_for_parent)
    assert output(durable.end(instance_id)) == instance_id


def test_continue_as_new_begins_with_no_history(hub):
    instance_id = hub.client.schedule_new_orchestration(counting_down, input=5)
    assert output(hub.end(instance_id)) == "done"
    history = hub.client.get_orchestration_history(instance_id)
    assert sum(type(event).__name__ == "TaskScheduledEvent" for event in history) == 1


def test_continue_as_new_carries_waiting_events_over(hub):
    instance_id = hub.client.schedule_new_orchestration(collecting, input=[])
    for number in range(5):
        hub.client.raise_orchestration_event(instance_id, "event", data=number)
    assert output(hub.end(instance_id)) == [0, 1, 2, 3, 4]


# Starting


def test_an_id_in_use_is_refused(hub):
    instance_id = hub.client.schedule_new_orchestration(waiting, input=1, instance_id=unique())
    with pytest.raises(grpc.RpcError) as refused:
        hub.client.schedule_new_orchestration(waiting, input=1, instance_id=instance_id)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    hub.client.terminate_orchestration(instance_id)


def test_the_id_of_an_ended_orchestration_is_refused_too(hub):
    state = hub.run("echo", 1)
    with pytest.raises(grpc.RpcError) as refused:
        hub.client.schedule_new_orchestration("echo", input=2, instance_id=state.instance_id)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS


def test_a_policy_lets_an_ended_orchestration_be_replaced(hub):
    instance_id = hub.run("echo", 1).instance_id
    policy = pb.OrchestrationIdReusePolicy(replaceableStatus=[pb.ORCHESTRATION_STATUS_COMPLETED])
    hub.client.schedule_new_orchestration(
        "echo", input=2, instance_id=instance_id, reuse_id_policy=policy
    )
    until(lambda: output(hub.end(instance_id)) == 2)


def test_a_policy_that_names_another_status_refuses(hub):
    instance_id = hub.run("echo", 1).instance_id
    policy = pb.OrchestrationIdReusePolicy(replaceableStatus=[pb.ORCHESTRATION_STATUS_FAILED])
    with pytest.raises(grpc.RpcError) as refused:
        hub.client.schedule_new_orchestration(
            "echo", input=2, instance_id=instance_id, reuse_id_policy=policy
        )
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS


def test_a_running_orchestration_can_be_replaced(durable):
    instance_id = durable.client.schedule_new_orchestration(waiting, input=1)
    durable.client.wait_for_orchestration_start(instance_id)
    policy = pb.OrchestrationIdReusePolicy(replaceableStatus=[pb.ORCHESTRATION_STATUS_RUNNING])
    durable.client.schedule_new_orchestration(
        "echo", input="new", instance_id=instance_id, reuse_id_policy=policy
    )
    until(lambda: output(durable.end(instance_id)) == "new")


def test_a_scheduled_start_waits_for_its_time(durable):
    start = datetime.now(UTC) + timedelta(seconds=1)
    instance_id = durable.client.schedule_new_orchestration("echo", input=1, start_at=start)
    status = durable.status(instance_id)
    assert status is OrchestrationStatus.PENDING or datetime.now(UTC) >= start
    state = durable.end(instance_id)
    assert state.last_updated_at.replace(tzinfo=UTC) >= start


def test_a_scheduled_start_can_be_terminated(durable):
    start = datetime.now(UTC) + timedelta(hours=1)
    instance_id = durable.client.schedule_new_orchestration("echo", input=1, start_at=start)
    durable.client.terminate_orchestration(instance_id, output="early")
    state = durable.end(instance_id)
    assert (state.runtime_status, output(state)) == (OrchestrationStatus.TERMINATED, "early")


def test_tags_and_version_are_kept(durable):
    instance_id = durable.client.schedule_new_orchestration(
        "echo", input=1, tags={"tenant": "a"}, version="1.2.0"
    )
    durable.end(instance_id)
    history = durable.client.get_orchestration_history(instance_id)
    started = next(e for e in history if type(e).__name__ == "ExecutionStartedEvent")
    assert (started.tags, started.version) == ({"tenant": "a"}, "1.2.0")


# Ending, suspending, running again


def test_a_terminated_orchestration_ends_with_the_given_output(hub):
    instance_id = hub.client.schedule_new_orchestration(waiting, input=1)
    hub.client.wait_for_orchestration_start(instance_id)
    hub.client.terminate_orchestration(instance_id, output="enough")
    state = hub.end(instance_id)
    assert (state.runtime_status, output(state)) == (OrchestrationStatus.TERMINATED, "enough")


def test_termination_goes_on_to_sub_orchestrations(durable):
    child_id = unique()
    instance_id = durable.client.schedule_new_orchestration(parent_of_waiting, input=child_id)
    durable.client.wait_for_orchestration_start(child_id)
    durable.client.terminate_orchestration(instance_id)
    assert durable.end(child_id).runtime_status is OrchestrationStatus.TERMINATED
    assert durable.end(instance_id).runtime_status is OrchestrationStatus.TERMINATED


def test_termination_leaves_sub_orchestrations_alone_when_told_so(durable):
    child_id = unique()
    instance_id = durable.client.schedule_new_orchestration(parent_of_waiting, input=child_id)
    durable.client.wait_for_orchestration_start(child_id)
    durable.client.terminate_orchestration(instance_id, recursive=False)
    durable.end(instance_id)
    durable.client.raise_orchestration_event(child_id, "event", data=1)
    assert durable.end(child_id).runtime_status is OrchestrationStatus.COMPLETED


def test_nothing_happens_to_an_ended_orchestration(durable):
    instance_id = durable.run("echo", 1).instance_id
    durable.client.raise_orchestration_event(instance_id, "event")
    durable.client.suspend_orchestration(instance_id)
    durable.client.resume_orchestration(instance_id)
    durable.client.terminate_orchestration(instance_id)
    time.sleep(0.2)
    assert durable.status(instance_id) is OrchestrationStatus.COMPLETED


def test_a_suspended_orchestration_goes_on_when_resumed(hub):
    instance_id = hub.client.schedule_new_orchestration(waiting, input=1)
    hub.client.wait_for_orchestration_start(instance_id)
    hub.client.suspend_orchestration(instance_id)
    until(lambda: hub.status(instance_id) is OrchestrationStatus.SUSPENDED)
    hub.client.raise_orchestration_event(instance_id, "event", data="kept")
    time.sleep(0.2)
    assert hub.status(instance_id) is OrchestrationStatus.SUSPENDED
    hub.client.resume_orchestration(instance_id)
    assert output(hub.end(instance_id)) == ["kept"]


def test_a_suspended_orchestration_can_be_terminated(hub):
    instance_id = hub.client.schedule_new_orchestration(waiting, input=1)
    hub.client.wait_for_orchestration_start(instance_id)
    hub.client.suspend_orchestration(instance_id)
    until(lambda: hub.status(instance_id) is OrchestrationStatus.SUSPENDED)
    hub.client.terminate_orchestration(instance_id)
    assert hub.end(instance_id).runtime_status is OrchestrationStatus.TERMINATED


@pytest.mark.parametrize("fresh", [True, False])
def test_an_ended_orchestration_can_be_restarted(hub, fresh):
    instance_id = hub.run("echo", "again").instance_id
    restarted = hub.client.restart_orchestration(instance_id, restart_with_new_instance_id=fresh)
    assert (restarted == instance_id) is not fresh
    assert output(hub.end(restarted)) == "again"


def test_a_running_orchestration_is_neither_restarted_nor_rewound(hub):
    instance_id = hub.client.schedule_new_orchestration(waiting, input=1)
    for refused in (hub.client.restart_orchestration, hub.client.rewind_orchestration):
        with pytest.raises(grpc.RpcError) as error:
            refused(instance_id)
        assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    hub.client.terminate_orchestration(instance_id)


def test_a_failed_orchestration_goes_on_when_rewound(hub):
    state = hub.run(fails_until_rewound, unique())
    assert state.runtime_status is OrchestrationStatus.FAILED
    hub.client.rewind_orchestration(state.instance_id, reason="mended")
    assert output(hub.end(state.instance_id)) == [42, "the second time"]
    history = hub.client.get_orchestration_history(state.instance_id)
    kinds = [type(event).__name__ for event in history]
    assert kinds.count("ExecutionRewoundEvent") == 1
    assert kinds.count("TaskScheduledEvent") == 2  # the first activity did not run again


def test_a_rewind_goes_on_to_failed_sub_orchestrations(hub):
    state = hub.run(parent_of_rewound, unique())
    assert state.runtime_status is OrchestrationStatus.FAILED
    hub.client.rewind_orchestration(state.instance_id)
    assert output(hub.end(state.instance_id)) == [42, "the second time"]


def test_a_rewind_waits_for_what_the_failure_cut_off(durable):
    """The vendor's hub loses what ends between the failure and the rewind."""
    state = durable.run(fan_with_one_failure, unique())
    assert state.runtime_status is OrchestrationStatus.FAILED
    time.sleep(0.8)  # the other activity ends, the timer would have fired: nobody listens
    durable.client.rewind_orchestration(state.instance_id)
    assert output(durable.end(state.instance_id)) == ["the second time", 0.5]


# Looking and deleting


def test_the_state_of_an_unknown_instance_is_none(hub):
    assert hub.client.get_orchestration_state(unique()) is None


def test_payloads_are_left_out_when_not_asked_for(hub):
    instance_id = hub.run("echo", "large").instance_id
    state = hub.client.get_orchestration_state(instance_id, fetch_payloads=False)
    assert (state.serialized_input, state.serialized_output) == (None, None)


def test_a_wait_that_is_too_short_times_out(hub):
    instance_id = hub.client.schedule_new_orchestration(waiting, input=1)
    with pytest.raises(TimeoutError):
        hub.client.wait_for_orchestration_completion(instance_id, timeout=0.2)
    hub.client.terminate_orchestration(instance_id)


def test_instances_are_queried_page_by_page(hub):
    prefix = unique()
    for number in range(7):
        hub.client.schedule_new_orchestration(
            "echo", input=number, instance_id=f"{prefix}-{number}"
        )
    for number in range(7):
        hub.end(f"{prefix}-{number}")
    found = hub.client.get_all_orchestration_states(
        OrchestrationQuery(
            runtime_status=[OrchestrationStatus.COMPLETED],
            instance_id_prefix=prefix,
            max_instance_count=3,
            fetch_inputs_and_outputs=True,
        )
    )
    assert [(s.instance_id, output(s)) for s in found] == [(f"{prefix}-{n}", n) for n in range(7)]


def test_instances_are_queried_by_their_time_of_creation(hub):
    prefix = unique()
    hub.run("echo", 1)
    before = datetime.now(UTC)
    instance_id = hub.client.schedule_new_orchestration("echo", input=1, instance_id=prefix)
    hub.end(instance_id)
    query = OrchestrationQuery(created_time_from=before, instance_id_prefix=prefix)
    assert len(hub.client.get_all_orchestration_states(query)) == 1
    query = OrchestrationQuery(created_time_to=before, instance_id_prefix=prefix)
    assert hub.client.get_all_orchestration_states(query) == []


def test_ids_of_ended_instances_are_listed_page_by_page(hub):
    since = datetime.now(UTC)
    ended = [hub.run("echo", number).instance_id for number in range(5)]
    listed, token = [], None
    while True:
        page = hub.client.list_instance_ids(
            completed_time_from=since, page_size=2, continuation_token=token
        )
        listed += page.items
        token = page.continuation_token
        if token is None:
            break
    assert [i for i in listed if i in ended] == ended


def test_history_tells_what_happened_in_order(hub):
    instance_id = hub.run(one, 1).instance_id
    history = hub.client.get_orchestration_history(instance_id)
    kinds = [type(event).__name__.removesuffix("Event") for event in history]
    assert kinds == [
        "OrchestratorStarted", "ExecutionStarted", "TaskScheduled", "OrchestratorCompleted",
        "OrchestratorStarted", "TaskCompleted", "OrchestratorCompleted", "ExecutionCompleted",
    ]  # fmt: skip


def test_history_of_an_unknown_instance_is_refused(hub):
    with pytest.raises(grpc.RpcError) as refused:
        hub.client.get_orchestration_history(unique())
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_an_ended_instance_is_purged_and_a_running_one_is_not(hub):
    instance_id = hub.run("echo", 1).instance_id
    running = hub.client.schedule_new_orchestration(waiting, input=1)
    assert hub.client.purge_orchestration(instance_id).deleted_instance_count == 1
    assert hub.client.purge_orchestration(running).deleted_instance_count == 0
    assert hub.client.get_orchestration_state(instance_id) is None
    assert hub.client.get_orchestration_state(running) is not None
    hub.client.terminate_orchestration(running)


def test_a_purge_takes_sub_orchestrations_along(durable):
    instance_id = durable.run(parent_of_many, 3).instance_id
    assert durable.client.purge_orchestration(instance_id).deleted_instance_count == 4


def test_instances_are_purged_by_a_filter(hub):
    since = datetime.now(UTC)
    for number in range(3):
        hub.run("echo", number)
    failed = hub.run(failing, "broken").instance_id
    purged = hub.client.purge_orchestrations_by(
        created_time_from=since, runtime_status=[OrchestrationStatus.COMPLETED]
    )
    assert purged.deleted_instance_count == 3
    assert hub.client.get_orchestration_state(failed) is not None


# Entities


def test_signals_change_an_entitys_state_in_their_order(hub):
    counter = EntityInstanceId("Counter", unique())
    for number in (1, 2, 3):
        hub.client.signal_entity(counter, "add", number)
    until(lambda: state_of(hub, counter) == 6)


def state_of(hub: Hub, counter: EntityInstanceId) -> int | None:
    entity = hub.client.get_entity(counter)
    return None if entity is None else entity.get_typed_state(int)


def test_an_orchestration_calls_an_entity_and_hears_its_answer(hub):
    assert hub.result(calls_entity, unique()) == 11


def test_what_an_entity_raises_reaches_its_caller(hub):
    assert hub.result(calls_failing_entity, unique()).endswith("failed with error: no")


def test_critical_sections_exclude_each_other(hub):
    keys = [unique(), unique()]
    ids = [
        hub.client.schedule_new_orchestration(adds_under_lock, input=order)
        for order in (keys, keys[::-1], keys, keys[::-1])
    ]
    assert [output(hub.end(instance_id)) for instance_id in ids] == ["added"] * 4
    for key in keys:
        assert state_of(hub, EntityInstanceId("Counter", key)) == 4


def test_a_locked_entity_keeps_others_waiting(durable):
    """The vendor's hub runs signals on an entity that an orchestration holds locked."""
    key = unique()
    counter = EntityInstanceId("Counter", key)
    holder = durable.client.schedule_new_orchestration(holds_lock, input=key)
    request = pb.GetEntityRequest(instanceId=str(counter))
    until(lambda: durable.stub.GetEntity(request).entity.lockedBy.value == holder)
    durable.client.signal_entity(counter, "add", 5)
    until(lambda: durable.client.get_entity(counter).backlog_queue_size == 1)
    time.sleep(0.2)
    assert durable.client.get_entity(counter).backlog_queue_size == 1
    durable.client.raise_orchestration_event(holder, "release")
    until(lambda: state_of(durable, counter) == 5)


def test_a_lock_ends_with_its_terminated_owner(hub):
    key = unique()
    holder = hub.client.schedule_new_orchestration(holds_lock, input=key)
    hub.client.wait_for_orchestration_start(holder)
    waiter = hub.client.schedule_new_orchestration(adds_under_lock, input=[key])
    time.sleep(0.2)
    hub.client.terminate_orchestration(holder)
    assert output(hub.end(waiter)) == "added"


def test_an_entity_signals_another(hub):
    teller, other = (EntityInstanceId("Counter", unique()) for _ in range(2))
    hub.client.signal_entity(teller, "tell", str(other))
    until(lambda: state_of(hub, other) == 7)


def test_an_entity_starts_an_orchestration(hub):
    instance_id = unique()
    hub.client.signal_entity(EntityInstanceId("Counter", unique()), "start", instance_id)
    until(lambda: hub.client.get_orchestration_state(instance_id) is not None)
    assert output(hub.end(instance_id)) == "from an entity"


def test_a_delayed_signal_waits_for_its_time(hub):
    counter = EntityInstanceId("Counter", unique())
    due = datetime.now(UTC) + timedelta(seconds=1)
    hub.client.signal_entity(counter, "add", 1, signal_time=due)
    assert state_of(hub, counter) is None or datetime.now(UTC) >= due
    until(lambda: state_of(hub, counter) == 1)
    assert datetime.now(UTC) >= due


def test_entities_are_queried_page_by_page(hub):
    prefix = unique()
    for number in range(5):
        hub.client.signal_entity(EntityInstanceId("Counter", f"{prefix}{number}"), "add", number)
    query = EntityQuery(instance_id_starts_with=f"@counter@{prefix}", page_size=2)

    def states() -> list[int | None]:
        return [e.get_typed_state(int) for e in hub.client.get_all_entities(query)]

    until(lambda: states() == [0, 1, 2, 3, 4])


def test_an_emptied_entity_is_cleaned_away(hub):
    counter = EntityInstanceId("Counter", unique())
    hub.client.signal_entity(counter, "add", 1)
    until(lambda: state_of(hub, counter) == 1)
    hub.client.signal_entity(counter, "delete")
    until(lambda: state_of(hub, counter) is None)
    assert hub.client.clean_entity_storage().empty_entities_removed >= 1
    assert hub.client.get_entity(counter) is None
