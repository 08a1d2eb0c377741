"""Who is given what: names, versions, limits, order, and how far ahead."""

from __future__ import annotations

import pytest
from durabletask.internal import orchestrator_service_pb2 as pb
from hypothesis import given, settings
from hypothesis import strategies as st

from devhost.task_hub.durable import pacing
from devhost.task_hub.durable.dispatch import activity_of
from devhost.task_hub.durable.operations import entity_name
from devhost.task_hub.durable.proto import (
    activity_item,
    parse_past_events,
    past_events,
    text,
    turn_item,
)
from devhost.task_hub.durable.ready import Kind, Offer, ReadyQueue, WorkFilter
from devhost.task_hub.durable.workers import Worker
from tests.unit.task_hub_fakes import BenchHub, answer


def filter_of(**filters) -> WorkFilter:
    return WorkFilter(pb.GetWorkItemsRequest(workItemFilters=pb.WorkItemFilters(**filters)))


EVERYTHING = WorkFilter(pb.GetWorkItemsRequest())


def offer(key: int, name: str, version: str | None = None) -> Offer:
    return Offer(Kind.ACTIVITY, key, name, version, order=key)


# What a worker wants


def test_a_worker_without_filters_wants_everything():
    assert EVERYTHING.wants(Kind.TURN, "any", "1")


@pytest.mark.parametrize(
    ("name", "version", "wanted"),
    [("a", "1", True), ("a", "3", False), ("a", None, False), ("b", "9", True), ("c", None, False)],
)
def test_a_filter_lists_names_and_their_versions(name, version, wanted):
    chosen = filter_of(
        activities=[
            pb.ActivityFilter(name="a", versions=["1"]),
            pb.ActivityFilter(name="a", versions=["2"]),
            pb.ActivityFilter(name="b"),
        ]
    )
    assert chosen.wants(Kind.ACTIVITY, name, version) is wanted


def test_filters_that_do_not_name_a_kind_want_nothing_of_it():
    chosen = filter_of(activities=[pb.ActivityFilter(name="a")])
    assert not chosen.wants(Kind.TURN, "a", None)


def test_entities_are_named_in_any_case():
    chosen = filter_of(entities=[pb.EntityFilter(name="Counter")])
    assert chosen.wants(Kind.ENTITY, entity_name("@counter@key"), None)


def test_the_oldest_wanted_offer_comes_first():
    queue = ReadyQueue(Kind.ACTIVITY)
    for key, name in ((3, "b"), (1, "a"), (2, "b"), (4, "a")):
        queue.push(offer(key, name))
    only_b = filter_of(activities=[pb.ActivityFilter(name="b")])
    assert [queue.pop(only_b).key, queue.pop(EVERYTHING).key] == [2, 1]
    assert [queue.pop(EVERYTHING).key, queue.pop(EVERYTHING).key] == [3, 4]
    assert queue.pop(EVERYTHING) is None
    assert not queue


def test_work_that_nobody_here_wants_waits_for_who_does(tmp_path):
    bench = BenchHub(tmp_path)
    bench.start()
    bench.commit()
    other = pb.WorkItemFilters(orchestrations=[pb.OrchestrationFilter(name="other")])
    assert bench.connect(workItemFilters=other).take() == []
    mine = pb.WorkItemFilters(orchestrations=[pb.OrchestrationFilter(name="script")])
    assert len(bench.connect(workItemFilters=mine).take()) == 1
    bench.database.close()


# How much a worker is given


def busy(bench: BenchHub, activities: int) -> None:
    bench.start([["activities", activities]])
    starter = bench.connect(
        workItemFilters=pb.WorkItemFilters(orchestrations=[pb.OrchestrationFilter(name="script")])
    )
    bench.commit()
    answer(bench, starter.take_one())
    starter.disconnect()
    bench.commit()


def test_a_worker_is_given_as_much_as_it_allows_and_the_next_for_each_answer(tmp_path):
    bench = BenchHub(tmp_path)
    busy(bench, 10)
    worker = bench.connect(maxConcurrentActivityWorkItems=3)
    items = worker.take()
    assert len(items) == 3
    bench.clock.advance(10)
    answer(bench, items[0])
    assert len(worker.take()) == 1
    bench.database.close()


def test_two_workers_share_the_work(tmp_path):
    bench = BenchHub(tmp_path)
    only_do = pb.WorkItemFilters(activities=[pb.ActivityFilter(name="do")])
    first, second = (bench.connect(workItemFilters=only_do) for _ in range(2))
    busy(bench, 10)
    assert (len(first.take()), len(second.take())) == (5, 5)
    bench.database.close()


def worker_with(seconds: float, limit: int = 16) -> Worker:
    """A worker whose activities take so long, full to its limit."""
    request = pb.GetWorkItemsRequest(maxConcurrentActivityWorkItems=limit)
    worker = Worker.of(request, lambda: None)
    for _ in range(200):
        worker.took(Kind.ACTIVITY, seconds)
    worker.held[Kind.ACTIVITY].update(str(n) for n in range(limit))
    return worker


@pytest.mark.parametrize(("seconds", "ahead"), [(0.001, True), (0.02, True), (1.0, False)])
def test_a_worker_is_given_short_activities_ahead_and_long_ones_not(seconds, ahead):
    assert worker_with(seconds).has_room(Kind.ACTIVITY) is ahead


def test_what_is_given_ahead_is_limited():
    worker = worker_with(0.0001)
    worker.held[Kind.ACTIVITY].update(str(n) for n in range(32))
    assert not worker.has_room(Kind.ACTIVITY)


# When a turn begins


@settings(deadline=None)
@given(last=st.floats(0, 100), more=st.floats(0, 100))
def test_a_turn_waits_a_bounded_time_in_proportion_to_what_the_last_cost(last, more):
    assert pacing.longest(last) <= min(4 * last, 1.0)
    assert pacing.quiet(last) <= 0.05
    assert pacing.longest(last + more) >= pacing.longest(last)
    assert pacing.quiet(last + more) >= pacing.quiet(last)


def test_a_first_turn_waits_for_nothing():
    assert pacing.longest(0.0) == 0.0


# On the wire


events = st.lists(
    st.builds(
        lambda number, name: pb.HistoryEvent(
            eventId=number, eventRaised=pb.EventRaisedEvent(name=name, input=text(name))
        ),
        st.integers(-1, 2**31 - 1),
        st.text(max_size=300),
    ),
    max_size=5,
)


@settings(deadline=None)
@given(past=st.lists(events, max_size=3), new=events, token=st.text(max_size=50))
def test_a_turn_put_together_from_pieces_is_the_message_built_at_once(past, new, token):
    pieces = [past_events(e.SerializeToString() for e in piece) for piece in past]
    head = pb.OrchestratorRequest(instanceId="job")
    item = turn_item(token, head, pieces, [event.SerializeToString() for event in new])
    assert pb.WorkItem.FromString(item) == pb.WorkItem(
        completionToken=token,
        orchestratorRequest=pb.OrchestratorRequest(
            instanceId="job", pastEvents=[e for piece in past for e in piece], newEvents=new
        ),
    )
    assert [parse_past_events(piece) for piece in pieces] == past


def test_an_activity_item_is_the_message_built_at_once():
    request = pb.ActivityRequest(name="a", taskId=3)
    built = pb.WorkItem(activityRequest=request, completionToken="t")
    assert pb.WorkItem.FromString(activity_item("t", request.SerializeToString())) == built


@pytest.mark.parametrize(
    ("token", "seq"), [("1-2-34", 34), ("", None), ("1-2-@counter@key", None), ("x", None)]
)
def test_a_token_tells_its_activity(token, seq):
    assert activity_of(token) == seq
