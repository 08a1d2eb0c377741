"""The time of day jumps: a durable timer follows it, is never lost and never fires twice."""

from __future__ import annotations

import pytest
from durabletask.internal import orchestrator_service_pb2 as pb

from tests.unit.task_hub_fakes import BenchHub, FakeWorker, answer

HOUR = 3600


@pytest.fixture
def bench(tmp_path):
    bench = BenchHub(tmp_path, turn_timeout_seconds=300)
    yield bench
    bench.database.close()


def jump(bench: BenchHub, seconds: float) -> None:
    bench.clock.jump(seconds)
    bench.hub.tick()


def waiting(bench: BenchHub) -> FakeWorker:
    """An orchestration that waits for a minute, and its worker."""
    bench.start([["timer", 60]])
    worker = bench.connect()
    worker.work()
    return worker


def fired(bench: BenchHub) -> int:
    return bench.kinds().count("timerFired")


def test_a_timer_fires_once_when_the_clock_jumps_over_its_time(bench):
    worker = waiting(bench)
    jump(bench, HOUR)
    worker.work()
    jump(bench, -HOUR)
    bench.advance(2 * HOUR)
    worker.work()
    assert bench.status() == "COMPLETED"
    assert fired(bench) == 1


@pytest.mark.parametrize("restarted", [False, True])
def test_a_timer_waits_for_its_time_of_day_when_the_clock_is_set_back(bench, restarted):
    worker = waiting(bench)
    jump(bench, -HOUR)
    if restarted:
        bench.crash()
        worker = bench.connect()
    bench.advance(HOUR)
    worker.work()
    assert bench.status() == "RUNNING", "its time is a minute away"
    bench.advance(61)
    worker.work()
    assert bench.status() == "COMPLETED"
    assert fired(bench) == 1


def test_it_is_as_if_nothing_had_happened_once_the_clock_is_right_again(bench):
    worker = waiting(bench)
    jump(bench, -HOUR)
    bench.advance(61)
    jump(bench, HOUR)
    worker.work()
    assert bench.status() == "COMPLETED"


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
def test_a_turn_that_is_out_is_not_given_out_again_for_a_jump(bench, seconds):
    worker = bench.connect()
    bench.start()
    bench.commit()
    item = worker.take_one()
    jump(bench, seconds)
    bench.advance(299)
    assert worker.take() == [], "its worker has five minutes by a clock that does not jump"
    answer(bench, item)
    bench.commit()
    assert bench.status() == "COMPLETED"


def test_abandoned_work_comes_back_after_its_pause_though_the_clock_is_set_back(bench):
    worker = bench.connect()
    bench.start()
    bench.commit()
    bench.hub.dispatcher.abandon(worker.take_one().completionToken)
    jump(bench, -HOUR)
    bench.advance(0.3)
    assert worker.take_one().orchestratorRequest.instanceId == "job"


def test_a_query_by_time_finds_what_ended_before_it_began(bench):
    """By the clock, that is: it was set back between its start and its end."""
    bench.start()
    bench.clock.jump(-HOUR)
    bench.connect().work()
    [state] = bench.hub.views.query(pb.QueryInstancesRequest()).orchestrationState
    assert state.completedTimestamp.seconds < state.createdTimestamp.seconds
    assert bench.hub.views.list_ids(pb.ListInstanceIdsRequest()).instanceIds == ["job"]
