"""How often work took its worker with it: counted, kept over restarts, forgiven when it did not."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from durabletask.internal import orchestrator_service_pb2 as pb

from devhost.task_hub.durable import schema
from devhost.task_hub.durable.database import DATABASE, Database
from tests.unit.task_hub_fakes import BenchHub, FakeWorker, answer

COUNTER = "@counter@a"
LIMIT = 4


@pytest.fixture
def bench(tmp_path):
    bench = BenchHub(tmp_path, max_deliveries=LIMIT)
    yield bench
    bench.database.close()


def lose_one(bench: BenchHub) -> pb.WorkItem:
    """A worker comes, takes the only work there is, and is lost with it."""
    worker = bench.connect()
    item = worker.take_one()
    worker.disconnect()
    bench.commit()
    return item


def scheduled(bench: BenchHub, activities: int = 1) -> None:
    """An orchestration whose first turn is done, and whose activities wait."""
    worker = bench.connect()
    bench.start([["activities", activities]])
    bench.commit()
    answer(bench, worker.take_one())
    worker.disconnect()  # before the commit: nothing of it was given out yet
    bench.commit()


def hand_back(bench: BenchHub, item: pb.WorkItem) -> None:
    if not bench.hub.dispatcher.abandon(item.completionToken):
        bench.hub.activities.forgive(item.completionToken)


def test_an_activity_that_takes_its_workers_with_it_fails_though_the_hub_restarts_each_time(bench):
    scheduled(bench)
    for _ in range(LIMIT):
        assert lose_one(bench).HasField("activityRequest")
        bench.crash()
    [event] = bench.connect().take_one().orchestratorRequest.newEvents[1:]
    assert f"{LIMIT} workers were lost" in event.taskFailed.failureDetails.errorMessage


def test_so_does_an_orchestration(bench):
    bench.start()
    bench.commit()
    for _ in range(LIMIT):
        assert lose_one(bench).HasField("orchestratorRequest")
        bench.crash()
    assert bench.status() == "FAILED"
    assert f"{LIMIT} workers were lost" in bench.state().failureDetails.errorMessage


def test_so_do_the_operations_of_an_entity(bench):
    bench.start([["call", COUNTER]])
    bench.commit()
    worker = bench.connect()
    answer(bench, worker.take_one())
    worker.disconnect()
    bench.commit()
    for _ in range(LIMIT):
        assert lose_one(bench).HasField("entityRequestV2")
        bench.crash()
    [event] = bench.connect().take_one().orchestratorRequest.newEvents[1:]
    failure = event.entityOperationFailed.failureDetails
    assert f"{LIMIT} workers were lost" in failure.errorMessage


def test_what_is_done_at_last_begins_anew(bench):
    bench.start([["event"]])
    bench.commit()
    for _ in range(LIMIT - 1):
        lose_one(bench)
    bench.connect().work()
    bench.crash()
    [instance] = bench.hub.state.instances.values()
    assert instance.lost == 0


def test_what_took_workers_with_it_is_given_out_alone_after_a_restart_too(bench):
    scheduled(bench, activities=5)
    for _ in range(2):
        worker = bench.connect()
        assert len(worker.take()) == 5
        worker.disconnect()
        bench.commit()
    bench.crash()
    assert len(bench.connect().take()) == 1


def test_what_a_worker_that_stops_hands_back_was_not_lost(bench):
    scheduled(bench)
    for _ in range(2 * LIMIT):
        hand_back(bench, lose_one(bench))
        bench.commit()
    bench.crash()
    [activity] = bench.hub.state.activities.values()
    assert activity.lost == 0


def test_it_is_forgiven_once_for_each_time_it_was_lost(bench):
    scheduled(bench)
    lost_for_good = lose_one(bench)
    handed_back = lose_one(bench)
    for _ in range(3):
        hand_back(bench, handed_back)
        hand_back(bench, lost_for_good)
    [activity] = bench.hub.state.activities.values()
    assert activity.lost == 1


def test_a_hub_of_the_first_version_goes_on_where_it_was(tmp_path, bench):
    scheduled(bench)
    bench.database.close()
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        for table in ("instances", "activities", "entities"):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN lost")
        connection.execute("PRAGMA user_version = 1")
    bench.crash()
    assert lose_one(bench).HasField("activityRequest")
    worker: FakeWorker = bench.connect()
    worker.work()
    assert bench.status() == "COMPLETED"
    bench.database.close()
    with closing(Database(tmp_path)) as database:
        [version] = database.reader.execute("PRAGMA user_version").fetchone()
    assert version == schema.VERSION
