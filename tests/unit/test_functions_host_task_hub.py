"""The in-memory task hub's own additions, by calling its service's methods."""

from __future__ import annotations

import time

import pytest
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb

from devhost.task_hub import HubSettings, open_hub
from devhost.task_hub.leases import Leases


class Stream:
    """A worker's call of GetWorkItems."""

    def __init__(self):
        self.there = True

    def is_active(self):
        return self.there


@pytest.fixture
def hub():
    hub = open_hub(HubSettings(redelivery_seconds=0.05))
    yield hub
    hub.stop()


def start(hub, name="o"):
    return hub.StartInstance(pb.CreateInstanceRequest(name=name), None).instanceId


def schedule(hub, item, *names):
    """Answer an orchestration's turn by scheduling activities."""
    actions = [
        helpers.new_schedule_task_action(n, name, "1", {}) for n, name in enumerate(names, 1)
    ]
    hub.CompleteOrchestratorTask(
        pb.OrchestratorResponse(
            instanceId=item.orchestratorRequest.instanceId,
            actions=actions,
            completionToken=item.completionToken,
        ),
        None,
    )


def complete(hub, item, result="2"):
    request = item.activityRequest
    hub.CompleteActivityTask(
        pb.ActivityResponse(
            instanceId=request.orchestrationInstance.instanceId,
            taskId=request.taskId,
            result=helpers.get_string_value(result),
            completionToken=item.completionToken,
        ),
        None,
    )


def test_each_activity_of_a_turn_has_its_own_token(hub):
    start(hub)
    items = hub.GetWorkItems(pb.GetWorkItemsRequest(), Stream())
    schedule(hub, next(items), "a", "b")
    first, second = next(items), next(items)
    assert first.completionToken != second.completionToken


def test_an_activity_that_is_handed_back_is_given_out_again(hub):
    start(hub)
    items = hub.GetWorkItems(pb.GetWorkItemsRequest(), Stream())
    schedule(hub, next(items), "a")
    first = next(items)
    hub.AbandonTaskActivityWorkItem(
        pb.AbandonActivityTaskRequest(completionToken=first.completionToken), None
    )
    second = next(items)
    assert second.activityRequest == first.activityRequest
    complete(hub, first)  # too late: it is another's now
    complete(hub, second)
    turn = next(items).orchestratorRequest
    assert [
        e.taskCompleted.result.value for e in turn.newEvents if e.HasField("taskCompleted")
    ] == ["2"]


def test_an_orchestration_turn_that_is_handed_back_is_given_out_again(hub):
    start(hub)
    items = hub.GetWorkItems(pb.GetWorkItemsRequest(), Stream())
    first = next(items)
    hub.AbandonTaskOrchestratorWorkItem(
        pb.AbandonOrchestrationTaskRequest(completionToken=first.completionToken), None
    )
    second = next(items)
    assert second.orchestratorRequest.instanceId == first.orchestratorRequest.instanceId
    assert second.completionToken != first.completionToken
    schedule(hub, first, "late")
    schedule(hub, second, "right")
    assert next(items).activityRequest.name == "right"


def test_an_entity_batch_that_is_handed_back_is_given_out_again(hub):
    hub.SignalEntity(pb.SignalEntityRequest(instanceId="@e@k", name="add", requestId="r"), None)
    items = hub.GetWorkItems(pb.GetWorkItemsRequest(), Stream())
    first = next(items)
    hub.AbandonTaskEntityWorkItem(
        pb.AbandonEntityTaskRequest(completionToken=first.completionToken), None
    )
    second = next(items)
    assert len(second.entityRequestV2.operationRequests) == 1
    hub.CompleteEntityTask(
        pb.EntityBatchResult(
            completionToken=second.completionToken, entityState=helpers.get_string_value("1")
        ),
        None,
    )
    entity = hub.GetEntity(pb.GetEntityRequest(instanceId="@e@k", includeState=True), None).entity
    assert entity.serializedState.value == "1"


def test_what_a_lost_worker_held_is_given_to_another(hub):
    start(hub)
    stream = Stream()
    lost = hub.GetWorkItems(pb.GetWorkItemsRequest(), stream)
    schedule(hub, next(lost), "a", "b")
    answered, held = next(lost), next(lost)
    complete(hub, answered)
    stream.there = False
    assert next(lost, None) is None
    time.sleep(0.3)
    other = hub.GetWorkItems(pb.GetWorkItemsRequest(), Stream())
    got = [next(other), next(other)]
    activities = [item.activityRequest.name for item in got if item.HasField("activityRequest")]
    assert activities == [held.activityRequest.name]


def test_a_worker_that_is_stopping_can_still_answer(hub):
    start(hub)
    stream = Stream()
    items = hub.GetWorkItems(pb.GetWorkItemsRequest(), stream)
    schedule(hub, next(items), "a")
    held = next(items)
    stream.there = False
    assert next(items, None) is None
    complete(hub, held)
    time.sleep(0.3)
    other = hub.GetWorkItems(pb.GetWorkItemsRequest(), Stream())
    assert next(other).HasField("orchestratorRequest")


def test_a_parent_is_told_of_a_child_that_outlasts_the_vendors_wait(hub, monkeypatch):
    parent = start(hub, "parent")
    child = start(hub, "child")
    waits = []

    def wait(instance_id, predicate, timeout):
        waits.append(instance_id)
        return None if len(waits) < 3 else hub._instances[child]

    monkeypatch.setattr(hub, "_wait_for_state", wait)
    hub._instances[child].status = pb.ORCHESTRATION_STATUS_COMPLETED
    hub._instances[child].output = '"done"'
    hub._watch_sub_orchestration(parent, child, 4)
    limit = time.monotonic() + 60
    while len(hub._instances[parent].pending_events) < 3 and time.monotonic() < limit:
        time.sleep(0.01)
    told = hub._instances[parent].pending_events[-1].subOrchestrationInstanceCompleted
    assert (told.taskScheduledId, told.result.value) == (4, '"done"')


def test_a_lease_ends_once():
    leases = Leases()
    item = pb.WorkItem(completionToken="hub's own")
    leases.grant("stream", item)
    ticket = item.completionToken
    assert leases.held_on("stream") == [ticket]
    assert leases.held_on("another") == []
    lease = leases.take(ticket)
    assert lease is not None
    assert lease.token == "hub's own"
    assert leases.take(ticket) is None
    assert leases.held_on("stream") == []
