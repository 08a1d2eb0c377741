"""The hub's rules, one by one: what is given out when, which answers count, what survives."""

from __future__ import annotations

import pytest
from durabletask.internal import orchestrator_service_pb2 as pb

from devhost.task_hub.durable.errors import InstanceExists, InvalidRequest
from devhost.task_hub.durable.proto import text
from tests.unit.task_hub_fakes import BenchHub, answer, run_script

COUNTER = "@counter@a"


@pytest.fixture
def make(tmp_path):
    """Makes a hub with some settings."""
    made = []

    def one(**settings) -> BenchHub:
        made.append(BenchHub(tmp_path, **settings))
        return made[-1]

    yield one
    for bench in made:
        bench.database.close()


@pytest.fixture
def bench(make):
    return make()


def fail_activity(bench: BenchHub, item: pb.WorkItem) -> None:
    details = pb.TaskFailureDetails(errorType="Error", errorMessage="")
    bench.hub.activities.complete(
        pb.ActivityResponse(completionToken=item.completionToken, failureDetails=details)
    )


def request(item: pb.WorkItem) -> pb.OrchestratorRequest:
    return item.orchestratorRequest


def new_kinds(item: pb.WorkItem) -> list[str | None]:
    return [event.WhichOneof("eventType") for event in item.orchestratorRequest.newEvents]


# Nothing before it is durable


def test_nothing_is_given_out_before_it_is_durable(bench):
    worker = bench.connect()
    bench.start()
    bench.hub.dispatcher.pump()
    assert worker.take() == []
    bench.commit()
    assert request(worker.take_one()).instanceId == "job"


def test_what_was_not_committed_is_gone_after_a_crash(bench):
    bench.start()
    bench.crash()
    worker = bench.connect()
    bench.commit()
    assert worker.take() == []


def test_a_turn_is_applied_as_a_whole_or_not_at_all(bench):
    worker = bench.connect()
    bench.start([["activities", 3], ["timer", 5]])
    bench.commit()
    answer(bench, worker.take_one())
    bench.crash()
    assert bench.rows() == {"messages": 1}
    worker = bench.connect()
    answer(bench, worker.take_one())
    bench.commit()
    bench.crash()
    assert bench.rows() == {"activities": 3}


def test_the_next_turn_waits_until_the_last_is_durable(bench):
    worker = bench.connect()
    bench.start([["event"], ["event"]])
    bench.commit()
    item = worker.take_one()
    bench.hub.control.raise_event(pb.RaiseEventRequest(instanceId="job", name="event"))
    changes = bench.hub.journal.take()  # the event is being written …
    answer(bench, item)  # … when the turn's answer comes
    bench.database.apply(changes)
    bench.hub.journal.done(changes)
    bench.hub.dispatcher.pump()
    assert worker.take() == []
    bench.commit()
    assert new_kinds(worker.take_one()) == ["orchestratorStarted", "eventRaised"]


def test_the_next_run_of_an_entity_sees_the_state_that_the_last_left(bench):
    worker = bench.connect()
    signal = pb.SignalEntityRequest(instanceId=COUNTER, name="add")
    bench.hub.signal_entity(signal)
    bench.commit()
    item = worker.take_one()
    bench.hub.signal_entity(signal)
    changes = bench.hub.journal.take()
    answer(bench, item)
    bench.database.apply(changes)
    bench.hub.journal.done(changes)
    bench.hub.dispatcher.pump()
    assert worker.take() == []
    bench.commit()
    assert worker.take_one().entityRequestV2.entityState.value == "1"


def test_a_turn_takes_only_events_that_are_durable(bench):
    worker = bench.connect(maxConcurrentOrchestrationWorkItems=1)
    bench.start([["event"]], "other")
    bench.start([["event"]])
    bench.commit()
    busy = worker.take_one()
    raised = pb.RaiseEventRequest(instanceId="job", name="event")
    bench.hub.control.raise_event(raised)
    answer(bench, busy)  # there is room again before the event is durable
    item = worker.take_one()
    assert new_kinds(item) == ["orchestratorStarted", "executionStarted"]
    answer(bench, item)
    bench.commit()
    assert new_kinds(worker.take_one()) == ["orchestratorStarted", "eventRaised"]


# Which answers count


def test_an_answer_for_a_turn_that_was_given_to_another_is_ignored(bench):
    first = bench.connect()
    bench.start([["activities", 1]])
    bench.commit()
    late = first.take_one()
    first.disconnect()
    second = bench.connect()
    answer(bench, late)
    bench.commit()
    assert bench.status() == "PENDING"
    second.work()
    assert bench.status() == "COMPLETED"


def test_an_answer_from_before_a_crash_is_ignored(bench):
    worker = bench.connect()
    bench.start([["timer", 100]])
    bench.commit()
    late = worker.take_one()
    bench.crash()
    answer(bench, late)
    bench.commit()
    assert bench.rows() == {"messages": 1}


def test_the_first_result_of_an_activity_counts_whichever_delivery_it_is_from(bench):
    first = bench.connect()
    bench.start([["activities", 1]])
    bench.commit()
    answer(bench, first.take_one())
    bench.commit()
    late = first.take_one()
    first.disconnect()
    second = bench.connect()
    again = second.take_one()
    answer(bench, late)
    answer(bench, again)
    second.work()
    assert bench.status() == "COMPLETED"
    assert bench.kinds().count("taskCompleted") == 1


def test_a_result_from_before_a_crash_counts_too(bench):
    worker = bench.connect()
    bench.start([["activities", 1]])
    bench.commit()
    answer(bench, worker.take_one())
    bench.commit()
    late = worker.take_one()
    bench.crash()
    answer(bench, late)
    bench.connect().work()
    assert bench.status() == "COMPLETED"


def test_a_failure_of_an_earlier_delivery_does_not_count(bench):
    """Its worker may have failed because it was being stopped."""
    first = bench.connect()
    bench.start([["activities", 1]])
    bench.commit()
    answer(bench, first.take_one())
    bench.commit()
    late = first.take_one()
    first.disconnect()
    second = bench.connect()
    fail_activity(bench, late)
    second.work()
    assert bench.kinds().count("taskFailed") == 0
    assert bench.status() == "COMPLETED"


@pytest.mark.parametrize(
    "nonsense",
    [
        pb.OrchestratorAction(id=1),
        pb.OrchestratorAction(id=1, sendEntityMessage={}),
        pb.OrchestratorAction(id=1, completeOrchestration={"orchestrationStatus": 0}),
        pb.OrchestratorAction(id=1, completeOrchestration={"orchestrationStatus": 99}),
    ],
)
def test_an_answer_that_means_nothing_is_refused_and_changes_nothing(bench, nonsense):
    worker = bench.connect()
    bench.start()
    bench.commit()
    item = worker.take_one()
    first = pb.OrchestratorAction(id=0, scheduleTask={"name": "do"})
    with pytest.raises(InvalidRequest):
        bench.hub.turns.complete(
            pb.OrchestratorResponse(completionToken=item.completionToken, actions=[first, nonsense])
        )
    assert not bench.hub.journal.open
    answer(bench, item)
    bench.commit()
    assert bench.status() == "COMPLETED"


def test_an_answer_in_parts_is_refused(bench):
    worker = bench.connect()
    bench.start()
    bench.commit()
    token = worker.take_one().completionToken
    with pytest.raises(InvalidRequest):
        bench.hub.turns.complete(pb.OrchestratorResponse(completionToken=token, isPartial=True))


def test_a_failure_without_a_message_is_a_failure(bench):
    worker = bench.connect()
    bench.start([["activities", 1]])
    bench.commit()
    answer(bench, worker.take_one())
    bench.commit()
    fail_activity(bench, worker.take_one())
    bench.commit()
    assert new_kinds(worker.take_one()) == ["orchestratorStarted", "taskFailed"]


def test_results_for_an_execution_that_ended_are_dropped(bench):
    """Task ids begin anew: the old result would answer another question."""
    worker = bench.connect()
    bench.start([["activities", 1], ["activities", 1]])
    bench.commit()
    answer(bench, worker.take_one())
    bench.commit()
    activity = worker.take_one()
    bench.hub.control.raise_event(pb.RaiseEventRequest(instanceId="job", name="go"))
    bench.commit()
    turn = worker.take_one()
    again = pb.CompleteOrchestrationAction(
        orchestrationStatus=pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW, result=text("[]")
    )
    action = pb.OrchestratorAction(id=9, completeOrchestration=again)
    answer(bench, activity)  # waits in the inbox while the turn is out
    bench.hub.turns.complete(
        pb.OrchestratorResponse(completionToken=turn.completionToken, actions=[action])
    )
    bench.commit()
    item = worker.take_one()
    assert new_kinds(item) == ["orchestratorStarted", "executionStarted"]
    assert bench.rows() == {"messages": 1}


def test_results_that_come_in_the_next_execution_are_dropped(bench):
    worker = bench.connect()
    bench.start([["activities", 1], ["again", [["activities", 1]]]])
    bench.commit()
    answer(bench, worker.take_one())
    bench.commit()
    old = worker.take_one()
    first_execution = bench.state().executionId.value
    bench.hub.control.raise_event(pb.RaiseEventRequest(instanceId="job", name="go"))
    bench.commit()
    again = pb.CompleteOrchestrationAction(
        orchestrationStatus=pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW,
        result=text('[["activities", 1]]'),
    )
    bench.hub.turns.complete(
        pb.OrchestratorResponse(
            completionToken=worker.take_one().completionToken,
            actions=[pb.OrchestratorAction(id=9, completeOrchestration=again)],
        )
    )
    bench.commit()
    answer(bench, worker.take_one())
    bench.commit()
    assert bench.state().executionId.value != first_execution
    answer(bench, old)
    bench.commit()
    new = worker.take_one()
    assert new.HasField("activityRequest")
    answer(bench, new)
    worker.work()
    assert bench.status() == "COMPLETED"


def test_an_activity_of_an_execution_that_ended_still_runs_unheard(bench):
    worker = bench.connect()
    bench.start([["activities", 1], ["event"]])
    bench.commit()
    answer(bench, worker.take_one())
    bench.commit()
    activity = worker.take_one()
    bench.hub.control.terminate(pb.TerminateRequest(instanceId="job"))
    bench.commit()
    answer(bench, worker.take_one())
    answer(bench, activity)
    bench.commit()
    assert bench.status() == "TERMINATED"
    assert bench.rows() == {}


def test_what_was_out_is_given_out_again_after_a_crash(bench):
    worker = bench.connect()
    bench.start([["activities", 1]])
    bench.commit()
    answer(bench, worker.take_one())
    bench.commit()
    assert worker.take_one().HasField("activityRequest")
    bench.crash()
    bench.connect().work()
    assert bench.status() == "COMPLETED"


# Workers


def test_what_a_lost_worker_held_is_given_out_again_at_once(bench):
    first, second = bench.connect(), bench.connect()
    bench.start()
    bench.commit()
    [holder] = [w for w in (first, second) if w.link.outbox]
    other = second if holder is first else first
    holder.disconnect()
    assert request(other.take_one()).instanceId == "job"


def test_a_set_delay_keeps_it_back_for_the_worker_to_come_back(make):
    bench = make(redelivery_seconds=5)
    first = bench.connect()
    bench.start([["activities", 1]])
    bench.commit()
    late = first.take_one()
    first.disconnect()
    second = bench.connect()
    bench.advance(4)
    assert second.take() == []
    answer(bench, late)  # in time
    bench.advance(2)
    second.work()
    assert bench.status() == "COMPLETED"


def test_a_turn_that_is_not_answered_in_time_is_given_out_again(make):
    bench = make(turn_timeout_seconds=60)
    silent, other = bench.connect(), bench.connect(maxConcurrentOrchestrationWorkItems=1)
    bench.start()
    bench.commit()
    late = silent.take_one()
    bench.advance(59)
    assert other.take() == []
    bench.advance(2)
    assert len(silent.take() + other.take()) == 1
    answer(bench, late)
    bench.commit()
    assert bench.status() == "PENDING"


def test_an_activity_may_take_as_long_as_its_worker_lives(bench):
    worker = bench.connect()
    bench.start([["activities", 1]])
    bench.commit()
    answer(bench, worker.take_one())
    bench.commit()
    item = worker.take_one()
    bench.advance(100_000)
    assert worker.take() == []
    answer(bench, item)
    worker.work()
    assert bench.status() == "COMPLETED"


def test_abandoned_work_comes_back_after_a_pause(bench):
    worker = bench.connect()
    bench.start()
    bench.commit()
    bench.hub.dispatcher.abandon(worker.take_one().completionToken)
    bench.advance(0.1)
    assert worker.take() == []
    bench.advance(0.2)
    assert request(worker.take_one()).instanceId == "job"


def test_an_activity_that_takes_every_worker_with_it_fails_with_a_reason(make):
    bench = make(max_deliveries=4)
    bench.start([["activities", 1]])
    worker = bench.connect()
    bench.commit()
    answer(bench, worker.take_one())
    bench.commit()
    for _ in range(4):
        assert worker.take_one().HasField("activityRequest")
        worker.disconnect()
        bench.commit()
        worker = bench.connect()
    [event] = request(worker.take_one()).newEvents[1:]
    assert "4 workers were lost" in event.taskFailed.failureDetails.errorMessage


def test_what_took_workers_with_it_is_given_out_alone(bench):
    """Else it would take its neighbours with it every time, until they fail too."""
    worker = bench.connect()
    bench.start([["activities", 5]])
    bench.commit()
    answer(bench, worker.take_one())
    bench.commit()
    for _ in range(2):
        assert len(worker.take()) == 5
        worker.disconnect()
        worker = bench.connect()
    assert len(worker.take()) == 1
    worker.disconnect()
    worker = bench.connect()
    worker.work()
    assert bench.status() == "COMPLETED"


def test_an_orchestration_that_takes_every_worker_with_it_fails(make):
    bench = make(max_deliveries=3)
    bench.start()
    bench.commit()
    for _ in range(3):
        worker = bench.connect()
        worker.take_one()
        worker.disconnect()
    bench.commit()
    assert bench.status() == "FAILED"
    assert "3 workers were lost" in bench.state().failureDetails.errorMessage


def test_a_history_that_is_too_long_is_streamed_to_who_can_take_it(make):
    bench = make(stream_history_bytes=1)
    bench.start([["activities", 1], ["event"]])
    plain = bench.connect()
    plain.work()
    plain.disconnect()
    bench.hub.control.raise_event(pb.RaiseEventRequest(instanceId="job", name="event"))
    worker = bench.connect(capabilities=[pb.WORKER_CAPABILITY_HISTORY_STREAMING])
    bench.commit()
    item = request(worker.take_one())
    assert item.requiresHistoryStreaming
    assert not item.pastEvents
    item.pastEvents.extend(bench.history())
    assert run_script(item)[0].HasField("completeOrchestration")


# Time


def test_a_timer_that_came_due_while_the_hub_was_away_fires_at_once(bench):
    bench.start([["timer", 60]])
    bench.connect().work()
    bench.clock.advance(3600)
    bench.crash()
    bench.hub.tick()
    bench.connect().work()
    assert bench.status() == "COMPLETED"
    assert bench.rows() == {}


def test_a_timer_does_not_fire_early_after_a_restart(bench):
    bench.start([["timer", 60]])
    bench.connect().work()
    bench.crash()
    worker = bench.connect()
    bench.advance(59)
    worker.work()
    assert bench.status() == "RUNNING"
    bench.advance(1)
    worker.work()
    assert bench.status() == "COMPLETED"


def test_a_scheduled_start_survives_a_restart(bench):
    moment = bench.clock.micros // 1_000_000 + 60
    bench.hub.control.start(
        pb.CreateInstanceRequest(
            instanceId="job",
            name="script",
            input=text("[]"),
            scheduledStartTimestamp={"seconds": moment},
        )
    )
    bench.commit()
    bench.crash()
    worker = bench.connect()
    worker.work()
    assert bench.status() == "PENDING"
    bench.advance(61)
    worker.work()
    assert bench.status() == "COMPLETED"


def test_a_clock_that_goes_back_holds_up_nothing_that_was_due(bench):
    moment = bench.clock.micros // 1_000_000 + 60
    bench.hub.control.start(
        pb.CreateInstanceRequest(
            instanceId="job",
            name="script",
            input=text('[["activities", 1]]'),
            scheduledStartTimestamp={"seconds": moment},
        )
    )
    bench.commit()
    bench.advance(61)
    bench.clock.jump(-3600)
    bench.connect().work()
    assert bench.status() == "COMPLETED"


def test_a_delayed_signal_survives_a_restart(bench):
    moment = bench.clock.micros // 1_000_000 + 60
    bench.hub.signal_entity(
        pb.SignalEntityRequest(instanceId=COUNTER, name="add", scheduledTime={"seconds": moment})
    )
    bench.commit()
    bench.crash()
    bench.advance(61)
    bench.connect().work()
    assert bench.entity(COUNTER).serializedState.value == "1"


# Fan-outs


def test_results_are_collected_while_they_keep_coming(bench):
    worker = bench.connect()
    bench.start([["activities", 4]])
    bench.commit()
    turn = worker.take_one()
    bench.advance(0.1)  # so long the first turn took
    answer(bench, turn)
    bench.commit()
    first, second, third, last = worker.take()
    for item in (first, second, third):
        answer(bench, item)
        bench.commit()
        bench.advance(0.01)
        assert worker.take() == []
    bench.advance(0.1)  # no more came for a while
    assert len(request(worker.take_one()).newEvents) == 4
    answer(bench, last)
    bench.commit()
    assert worker.take() == []  # the turn is still out


def test_the_last_result_is_not_kept_waiting(bench):
    worker = bench.connect()
    bench.start([["activities", 2]])
    bench.commit()
    turn = worker.take_one()
    bench.advance(0.1)
    answer(bench, turn)
    bench.commit()
    for item in worker.take():
        answer(bench, item)
        bench.commit()
    assert len(request(worker.take_one()).newEvents) == 3


def test_an_event_is_not_kept_waiting_for_results(bench):
    worker = bench.connect()
    bench.start([["activities", 2]])
    bench.commit()
    turn = worker.take_one()
    bench.advance(0.1)
    answer(bench, turn)
    bench.commit()
    answer(bench, worker.take()[0])
    bench.commit()
    assert worker.take() == []
    bench.hub.control.raise_event(pb.RaiseEventRequest(instanceId="job", name="event"))
    bench.commit()
    kinds = new_kinds(worker.take_one())
    assert kinds == ["orchestratorStarted", "taskCompleted", "eventRaised"]


# Entities


def test_only_the_owner_of_a_lock_reaches_a_locked_entity(bench):
    bench.start([["lock", [COUNTER]], ["event"], ["call", COUNTER], ["unlock", [COUNTER]]])
    worker = bench.connect()
    worker.work()
    bench.hub.signal_entity(pb.SignalEntityRequest(instanceId=COUNTER, name="add"))
    worker.work()
    metadata = bench.entity(COUNTER)
    assert (metadata.lockedBy.value, metadata.backlogQueueSize) == ("job", 1)
    bench.hub.control.raise_event(pb.RaiseEventRequest(instanceId="job", name="event"))
    bench.commit()
    answer(bench, worker.take_one())
    bench.commit()
    run = worker.take_one()
    assert run.entityRequestV2.operationRequests[0].HasField("entityOperationCalled")
    answer(bench, run)
    worker.work()
    assert bench.entity(COUNTER).serializedState.value == "2"


def test_locks_are_granted_in_the_order_they_were_asked_for(bench):
    """The second waits for both entities; the third must not overtake it for one of them."""
    other = "@counter@b"
    worker = bench.connect()
    for name, locks in (("first", [COUNTER]), ("second", [COUNTER, other]), ("third", [other])):
        bench.start([["lock", locks], ["event"], ["unlock", locks], ["event"]], name)
        worker.work()
    owners = []
    for name in ("first", "second", "third"):
        owners.append([bench.entity(e).lockedBy.value for e in (COUNTER, other)])
        bench.hub.control.raise_event(pb.RaiseEventRequest(instanceId=name, name="event"))
        worker.work()
    assert owners == [["first", ""], ["second", "second"], ["", "third"]]


def test_a_lock_and_who_waits_for_it_survive_a_restart(bench):
    worker = bench.connect()
    for name in ("holder", "waiter"):
        bench.start([["lock", [COUNTER]], ["event"], ["unlock", [COUNTER]]], name)
        worker.work()
    bench.crash()
    worker = bench.connect()
    worker.work()
    assert bench.entity(COUNTER).lockedBy.value == "holder"
    bench.hub.control.raise_event(pb.RaiseEventRequest(instanceId="holder", name="event"))
    worker.work()
    assert bench.entity(COUNTER).lockedBy.value == "waiter"


@pytest.mark.parametrize("ended", ["holder", "waiter"])
def test_locks_and_lock_requests_end_with_their_owner(bench, ended):
    worker = bench.connect()
    for name in ("holder", "waiter"):
        bench.start([["lock", [COUNTER]], ["event"]], name)
        worker.work()
    bench.hub.control.terminate(pb.TerminateRequest(instanceId=ended))
    worker.work()
    assert bench.entity(COUNTER).lockedBy.value == ("waiter" if ended == "holder" else "holder")
    assert bench.hub.state.lock_requests == []
    assert bench.rows() == {}


def test_operations_that_a_worker_leaves_undone_run_again_in_their_place(bench):
    worker = bench.connect()
    for operation in ("a", "b", "c"):
        bench.hub.signal_entity(pb.SignalEntityRequest(instanceId=COUNTER, name=operation))
    bench.commit()
    item = worker.take_one()
    done = pb.OperationResult(success=pb.OperationResultSuccess())
    bench.hub.operations.complete(
        pb.EntityBatchResult(completionToken=item.completionToken, results=[done])
    )
    bench.commit()
    left = worker.take_one().entityRequestV2.operationRequests
    assert [event.entityOperationSignaled.operation for event in left] == ["b", "c"]


def test_a_run_that_failed_as_a_whole_leaves_the_state_and_answers_its_callers(bench):
    worker = bench.connect()
    bench.hub.signal_entity(pb.SignalEntityRequest(instanceId=COUNTER, name="add"))
    worker.work()
    bench.start([["call", COUNTER]])
    bench.commit()
    answer(bench, worker.take_one())
    bench.commit()
    item = worker.take_one()
    details = pb.TaskFailureDetails(errorMessage="broken")
    bench.hub.operations.complete(
        pb.EntityBatchResult(completionToken=item.completionToken, failureDetails=details)
    )
    bench.commit()
    assert new_kinds(worker.take_one())[1] == "entityOperationFailed"
    assert bench.entity(COUNTER).serializedState.value == "1"
    assert bench.entity(COUNTER).backlogQueueSize == 0


# Memory


def test_ended_orchestrations_and_idle_entities_leave_the_memory(bench):
    worker = bench.connect()
    for number in range(5):
        bench.start([["activities", 2], ["call", COUNTER]], f"job{number}")
    worker.work()
    state = bench.hub.state
    assert (state.instances, state.numbers, state.activities, state.entities) == ({}, {}, {}, {})


def test_alarms_of_ended_orchestrations_do_not_pile_up(bench):
    """A job's deadline is mostly far away when the job ends."""
    worker = bench.connect()
    for number in range(100):
        bench.start([["timer", 86_400]], f"job{number}")
        worker.work()
        bench.hub.control.terminate(pb.TerminateRequest(instanceId=f"job{number}"))
        worker.work()
        assert bench.status(f"job{number}") == "TERMINATED"
    assert bench.hub.state.timers == {}
    assert bench.hub.seconds_to_next() is None


def test_histories_that_do_not_fit_in_memory_are_read_when_needed(make):
    bench = make(history_cache_bytes=1)
    worker = bench.connect()
    for number in range(3):
        bench.start([["activities", 2], ["event"]], f"job{number}")
        worker.work()
    kept = [i for i in bench.hub.state.instances.values() if i.history is not None]
    assert len(kept) == 1
    for number in range(3):
        bench.hub.control.raise_event(pb.RaiseEventRequest(instanceId=f"job{number}", name="event"))
        worker.work()
        assert bench.status(f"job{number}") == "COMPLETED"


# Starting


def test_an_id_is_taken_as_soon_as_it_was_asked_for(bench):
    bench.start()
    with pytest.raises(InstanceExists):
        bench.start()


def test_a_replaced_orchestration_takes_nothing_of_the_old_one(bench):
    worker = bench.connect()
    bench.start([["activities", 1]])
    bench.commit()
    answer(bench, worker.take_one())
    bench.commit()
    old_activity = worker.take_one()
    bench.hub.control.start(
        pb.CreateInstanceRequest(
            instanceId="job",
            name="script",
            input=text('[["activities", 2]]'),
            orchestrationIdReusePolicy={"replaceableStatus": [pb.ORCHESTRATION_STATUS_RUNNING]},
        )
    )
    bench.commit()
    answer(bench, old_activity)
    worker.work()
    assert bench.status() == "COMPLETED"
    assert bench.kinds().count("taskCompleted") == 2
