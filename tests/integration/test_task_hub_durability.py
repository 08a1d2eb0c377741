"""The durable hub as a process: killed, restarted, short of disk, shared by workers that die."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from durabletask import entities, task
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.entities import EntityInstanceId
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal.orchestrator_service_pb2_grpc import TaskHubSidecarServiceStub

from devhost.stack.network import free_port
from devhost.task_hub.durable import DurableHub, HubSettings
from devhost.task_hub.durable.errors import StateDirectoryError
from tests.integration.task_hub_harness import (
    ROOT,
    HubProcess,
    client,
    double,
    durable_hub,
    fan,
    one,
    until,
    worker,
)

WORKER = "tests.integration.task_hub_worker"


# The app: as many ways to wait for something as there are


def chain(context: task.OrchestrationContext, number: int):
    for _ in range(4):
        number = yield context.call_activity(double, input=number)
    return number


def timed(context: task.OrchestrationContext, seconds: float):
    yield context.create_timer(timedelta(seconds=seconds))
    return (yield context.call_activity(double, input=1))


def family(context: task.OrchestrationContext, count: int):
    children = [context.call_sub_orchestrator(one, input=n) for n in range(count)]
    return sum((yield task.when_all(children)))


def again(context: task.OrchestrationContext, left: int):
    yield context.call_activity(double, input=left)
    if left:
        context.continue_as_new(left - 1)
        return None
    return "done"


class Tally(entities.DurableEntity):
    def add(self, number: int) -> int:
        self.set_state(self.get_state(int, 0) + number)
        return self.get_state(int, 0)


def tallying(context: task.OrchestrationContext, key: str):
    yield context.call_entity(EntityInstanceId("Tally", key), "add", 1)
    with (yield context.lock_entities([EntityInstanceId("Tally", key)])):
        yield context.call_entity(EntityInstanceId("Tally", key), "add", 1)
    return "added"


ORCHESTRATORS = [one, fan, chain, timed, family, again, tallying]
KINDS: list[tuple[Callable[..., object], object, object]] = [
    (one, 4, 8),
    (fan, 30, sum(2 * n for n in range(30))),
    (chain, 1, 16),
    (timed, 0.3, 2),
    (family, 5, sum(2 * n for n in range(5))),
    (again, 4, "done"),
    (tallying, "everyone", "added"),
]
"""Orchestrator, input, and the only right result."""


@contextmanager
def serving(hub: HubProcess) -> Iterator[TaskHubGrpcClient]:
    """A worker and a client that live through the hub's ends."""
    with (
        worker(hub.address, orchestrators=ORCHESTRATORS, activities=[double], entities=[Tally]),
        client(hub.address) as made,
    ):
        yield made


def while_away[T](call: Callable[[], T], seconds: float = 180) -> T:
    """The call's result, as soon as the hub is there to give it."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > end:
                raise
            time.sleep(0.05)


def accept(made: TaskHubGrpcClient, orchestrator, given, instance_id: str) -> None:
    """Start an orchestration under an id of its own, for sure and once."""

    def start() -> None:
        try:
            made.schedule_new_orchestration(orchestrator, input=given, instance_id=instance_id)
        except grpc.RpcError as error:
            # The answer to an earlier try was lost on the way.
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise

    while_away(start)


def end(made: TaskHubGrpcClient, instance_id: str, seconds: float = 180):
    state = while_away(lambda: made.wait_for_orchestration_completion(instance_id, timeout=seconds))
    assert state is not None
    return state


def result(made: TaskHubGrpcClient, instance_id: str):
    state = end(made, instance_id)
    assert state.runtime_status is OrchestrationStatus.COMPLETED, state.failure_details
    return json.loads(state.serialized_output)


def check_history(made: TaskHubGrpcClient, instance_id: str) -> None:
    """Each activity was scheduled once and answered once, and there was one end."""
    history = made.get_orchestration_history(instance_id)
    kinds = Counter(type(event).__name__ for event in history)
    scheduled = [e.event_id for e in history if type(e).__name__ == "TaskScheduledEvent"]
    answered = [e.task_scheduled_id for e in history if type(e).__name__ == "TaskCompletedEvent"]
    assert sorted(scheduled) == sorted(answered) == sorted(set(scheduled))
    assert kinds["ExecutionCompletedEvent"] == 1


def run_through_kills(hub: HubProcess, kills: int, orchestrations: int, seed: int) -> None:
    chance = random.Random(seed)
    ended = threading.Event()

    def kill_now_and_then() -> None:
        for _ in range(kills):
            time.sleep(chance.uniform(0.05, 0.6))
            hub.kill()
            hub.start()
        ended.set()

    killer = threading.Thread(target=kill_now_and_then)
    with hub, serving(hub) as made:
        killer.start()
        accepted: dict[str, object] = {}
        while len(accepted) < orchestrations or not ended.is_set():
            orchestrator, given, expected = KINDS[len(accepted) % len(KINDS)]
            instance_id = uuid.uuid4().hex
            accept(made, orchestrator, given, instance_id)
            accepted[instance_id] = expected
            time.sleep(0.01)
        killer.join()
        for instance_id, expected in accepted.items():
            assert result(made, instance_id) == expected
            check_history(made, instance_id)
        tallies = sum(expected == "added" for expected in accepted.values())
        tally = made.get_entity(EntityInstanceId("Tally", "everyone"))
        assert tally.get_typed_state(int) == 2 * tallies
        assert len(made.list_instance_ids(page_size=1000).items) >= len(accepted)


def test_nothing_accepted_is_lost_or_doubled_when_the_hub_is_killed(tmp_path):
    run_through_kills(HubProcess(tmp_path), kills=4, orchestrations=50, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_nothing_accepted_is_lost_or_doubled_through_twenty_kills(tmp_path, seed):
    run_through_kills(HubProcess(tmp_path), kills=20, orchestrations=400, seed=seed)


def test_timers_fire_after_a_restart_and_at_once_when_they_are_past_due(tmp_path):
    hub = HubProcess(tmp_path)
    with hub, serving(hub) as made:
        soon = made.schedule_new_orchestration(timed, input=0.5)
        later = made.schedule_new_orchestration(timed, input=3)
        for instance_id in (soon, later):
            made.wait_for_orchestration_start(instance_id)
        hub.kill()
        time.sleep(0.6)
        hub.start()
        assert result(made, soon) == 2
        assert result(made, later) == 2
        state = end(made, later)
        assert state.last_updated_at - state.created_at >= timedelta(seconds=3), "not before it"


def test_what_had_ended_is_still_there_after_a_restart(tmp_path):
    hub = HubProcess(tmp_path)
    with hub, serving(hub) as made:
        instance_id = made.schedule_new_orchestration(fan, input=10)
        expected = result(made, instance_id)
        hub.kill()
        hub.start()
        assert result(made, instance_id) == expected
        check_history(made, instance_id)


@pytest.mark.parametrize("damage", ["garbage", "torn"])
def test_a_damaged_end_of_the_log_costs_no_more_than_the_last_commits(tmp_path, damage):
    hub = HubProcess(tmp_path)
    with hub, serving(hub) as made:
        waiting = made.schedule_new_orchestration(timed, input=1)
        made.wait_for_orchestration_start(waiting)
        finished = made.schedule_new_orchestration(fan, input=20)
        expected = result(made, finished)
        hub.kill()
        log = tmp_path / "hub.db-wal"
        whole = log.read_bytes()
        assert whole
        log.write_bytes(whole + b"\xa5" * 5000 if damage == "garbage" else whole[:-1000])
        hub.start()
        assert result(made, waiting) == 2
        assert result(made, finished) == expected


def test_a_stopped_hub_ends_in_order_and_goes_on_where_it_was(tmp_path):
    hub = HubProcess(tmp_path)
    with hub, serving(hub) as made:
        instance_id = made.schedule_new_orchestration(timed, input=1)
        made.wait_for_orchestration_start(instance_id)
        assert hub.stop() == 0
        hub.start()
        assert result(made, instance_id) == 2


def test_a_directory_or_port_in_use_is_told_in_one_line(tmp_path):
    def refused(state: Path, port: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "devhost.task_hub.durable", "--state", state, "--port", port],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 1
        return ended.stderr

    with HubProcess(tmp_path / "first") as hub:
        assert "in use by another task hub" in refused(tmp_path / "first", str(free_port()))
        port = hub.address.rpartition(":")[2]
        message = refused(tmp_path / "second", port)
        assert message.splitlines()[-1] == (
            f"The task hub cannot start: port {port} of 127.0.0.1 is taken"
        )


def test_a_hub_in_a_thread_raises_what_keeps_it_from_starting(tmp_path):
    with durable_hub(tmp_path / "first") as address:
        with pytest.raises(StateDirectoryError, match="in use by another task hub"):
            DurableHub(HubSettings(state=tmp_path / "first")).start()
        port = int(address.rpartition(":")[2])
        with pytest.raises(OSError, match=f"port {port} of 127.0.0.1 is taken"):
            DurableHub(HubSettings(state=tmp_path / "second", port=port)).start()


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux's prlimit")
def test_a_full_disk_refuses_new_work_and_loses_nothing(tmp_path):
    hub = HubProcess(tmp_path)
    with hub, serving(hub) as made:
        accepted = [made.schedule_new_orchestration(timed, input=0.5) for _ in range(5)]
        _, hard = resource.prlimit(hub.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (1, hard))
        refused = threading.Event()

        def insist(instance_id: str) -> None:
            """The first is let in and waits until it can be written; later ones are refused."""
            try:
                made.schedule_new_orchestration(one, input=1, instance_id=instance_id)
            except grpc.RpcError as error:
                assert "cannot write" in error.details()
                refused.set()
                accept(made, one, 1, instance_id)

        stuck: dict[str, threading.Thread] = {}

        def one_more_is_refused() -> bool:
            instance_id = uuid.uuid4().hex
            stuck[instance_id] = threading.Thread(target=insist, args=(instance_id,))
            stuck[instance_id].start()
            return refused.wait(0.5)

        until(one_more_is_refused)
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (hard, hard))
        for instance_id, starting in stuck.items():
            starting.join()
            assert result(made, instance_id) == 2
        assert [result(made, instance_id) for instance_id in accepted] == [2] * 5


# Workers


@contextmanager
def worker_process(address: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", WORKER, address],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout.readline() == "Ready\n"
        yield process
    finally:
        process.kill()
        process.wait(60)
        process.stdout.close()


def test_a_hub_that_is_stopped_has_lost_no_worker(tmp_path):
    """Else work that outlasts some restarts would fail though no worker was lost with it."""
    begun: list[int] = []
    done = threading.Event()

    def patient(_: task.ActivityContext, __: object) -> str:
        begun.append(1)
        done.wait(300)
        return "done"

    def asks(context: task.OrchestrationContext, _):
        return (yield context.call_activity(patient))

    hub = HubProcess(tmp_path, "--max-deliveries", "1")
    with (
        hub,
        worker(hub.address, orchestrators=[asks], activities=[patient]),
        client(hub.address) as made,
    ):
        instance_id = made.schedule_new_orchestration(asks)
        for restarts in range(2):
            until(lambda restarts=restarts: len(begun) > restarts)
            assert hub.stop() == 0
            hub.start()
        done.set()
        assert result(made, instance_id) == "done"


def test_two_workers_share_a_hub_and_one_takes_over_when_the_other_dies(tmp_path):
    with (
        HubProcess(tmp_path) as hub,
        worker_process(hub.address) as first,
        worker_process(hub.address) as second,
        client(hub.address) as made,
    ):

        def share() -> bool:
            """Unless one of them has done it all before the other was heard of."""
            shared = made.schedule_new_orchestration("nap_many", input=24)
            return set(result(made, shared)) == {first.pid, second.pid}

        until(share)
        taken_over = made.schedule_new_orchestration("nap_many", input=60)
        made.wait_for_orchestration_start(taken_over)
        time.sleep(0.2)
        first.kill()
        pids = result(made, taken_over)
        assert len(pids) == 60
        assert second.pid in pids


def test_the_answer_of_a_worker_that_was_given_up_changes_nothing(tmp_path):
    with (
        HubProcess(tmp_path) as hub,
        client(hub.address) as made,
        grpc.insecure_channel(hub.address) as channel,
    ):
        stub = TaskHubSidecarServiceStub(channel)
        stream = stub.GetWorkItems(pb.GetWorkItemsRequest())
        instance_id = made.schedule_new_orchestration(one, input=21)
        taken = next(stream)
        stream.cancel()
        with worker(hub.address, orchestrators=[one], activities=[double]):
            assert result(made, instance_id) == 42
        done = pb.CompleteOrchestrationAction(orchestrationStatus=pb.ORCHESTRATION_STATUS_FAILED)
        stub.CompleteOrchestratorTask(
            pb.OrchestratorResponse(
                instanceId=instance_id,
                completionToken=taken.completionToken,
                actions=[pb.OrchestratorAction(id=1, completeOrchestration=done)],
            )
        )
        assert result(made, instance_id) == 42
        check_history(made, instance_id)


def test_hundreds_of_waits_hold_nothing_up(tmp_path):
    with HubProcess(tmp_path) as hub, serving(hub) as made:
        with grpc.insecure_channel(hub.address) as channel:
            stub = TaskHubSidecarServiceStub(channel)
            ids = [made.schedule_new_orchestration(timed, input=1) for _ in range(150)]
            waits = [
                stub.WaitForInstanceCompletion.future(
                    pb.GetInstanceRequest(instanceId=instance_id, getInputsAndOutputs=True)
                )
                for instance_id in ids
            ]
            assert result(made, made.schedule_new_orchestration(one, input=1)) == 2
            outputs = [wait.result(180).orchestrationState.output.value for wait in waits]
        assert outputs == ["2"] * 150


def test_an_activity_that_kills_its_workers_fails_and_others_go_on(tmp_path):
    with (
        HubProcess(tmp_path, "--max-deliveries", "3") as hub,
        client(hub.address) as made,
    ):
        poisoned = made.schedule_new_orchestration("poisoned")
        others = [made.schedule_new_orchestration("fan", input=20) for _ in range(3)]
        state = None
        for _ in range(4):
            with worker_process(hub.address) as process:
                until_ended = time.monotonic() + 120
                while process.poll() is None and time.monotonic() < until_ended:
                    state = made.get_orchestration_state(poisoned)
                    if state.runtime_status is OrchestrationStatus.FAILED:
                        break
                    time.sleep(0.05)
                if process.poll() is None:
                    assert [result(made, i) for i in others] == [380] * 3
                    break
        assert "3 workers were lost" in state.failure_details.message
