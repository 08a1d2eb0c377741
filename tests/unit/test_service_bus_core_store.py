"""What a restart keeps: everything that was committed, and nothing else."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest

from devhost.service_bus.core.broker import Broker
from devhost.service_bus.core.errors import MessageLockLost, QuotaExceeded
from devhost.service_bus.core.messages import Outcome
from devhost.service_bus.core.settings import NamespaceSettings, QueueSettings
from devhost.service_bus.core.store import StateInUse, StateUnreadable, Store
from tests.unit.service_bus_fakes import (
    SECOND,
    World,
    abandon,
    body_of,
    complete,
    drain,
    message,
    receive,
    settle,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    queue = QueueSettings(lock_duration=30 * SECOND, duplicate_window=60 * SECOND)
    return World(NamespaceSettings(queues={"orders": queue}), tmp_path / "state.sqlite3")


def test_messages_of_every_kind_survive(world: World) -> None:
    world.queue.send([message(body) for body in ("dead", "deferred", "waiting")])
    world.queue.send([message("scheduled", scheduled_at=world.now + 60 * SECOND)])
    settle(world.queue, receive(world.queue), Outcome.DEAD_LETTER, "Bad", "")
    settle(world.queue, receive(world.queue), Outcome.DEFER)

    world.commit_and_restart()

    assert body_of(receive(world.dead_letters)) == "dead"
    assert body_of(world.queue.receive_deferred([2], lock=True)[0]) == "deferred"
    assert drain(world.queue) == ["waiting"]
    world.sleep(60)
    assert drain(world.queue) == ["scheduled"]


def test_a_lock_survives_and_is_good_until_it_runs_out(world: World) -> None:
    world.queue.send([message("a"), message("b")])
    completed_later, never_settled = receive(world.queue), receive(world.queue)

    world.commit_and_restart()

    assert receive(world.queue) is None
    complete(world.queue, completed_later)
    world.sleep(30)
    with pytest.raises(MessageLockLost):
        complete(world.queue, never_settled)
    again = receive(world.queue)
    assert again is not None
    assert (body_of(again), again.stamp.delivery_count) == ("b", 1)


def test_a_lock_that_ran_out_while_the_broker_was_down_is_given_back(world: World) -> None:
    world.queue.send([message("a")])
    receive(world.queue)
    world.broker.commit()

    world.now += 60 * SECOND
    world.restart()

    assert body_of(receive(world.queue)) == "a"


def test_delivery_counts_numbers_and_seen_ids_survive(world: World) -> None:
    world.queue.send([message("a", message_id="m1")])
    abandon(world.queue, receive(world.queue))
    world.commit_and_restart()

    again = receive(world.queue)
    assert again is not None
    assert again.stamp.delivery_count == 1
    complete(world.queue, again)
    world.commit_and_restart()

    world.queue.send([message("repeat", message_id="m1"), message("b", message_id="m2")])
    next_one = receive(world.queue)
    assert next_one is not None
    assert body_of(next_one) == "b"
    assert next_one.stamp.sequence > again.stamp.sequence


def test_what_waits_counts_toward_the_size_after_a_restart(tmp_path: Path) -> None:
    fitting = message("x" * 400)
    queue = QueueSettings(max_size=2 * fitting.size)
    world = World(NamespaceSettings(queues={"orders": queue}), tmp_path / "state.sqlite3")
    world.queue.send([fitting, fitting])

    world.commit_and_restart()

    with pytest.raises(QuotaExceeded):
        world.queue.send([fitting])


def test_what_was_not_committed_never_happened(world: World) -> None:
    world.queue.send([message("kept")])
    world.broker.commit()
    complete(world.queue, receive(world.queue))
    world.queue.send([message("told to nobody")])

    world.restart()

    assert drain(world.queue) == ["kept"]


def test_messages_of_a_queue_that_is_no_longer_declared_are_kept(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.queue.send([message("a")])
    world.broker.commit()

    with caplog.at_level(logging.WARNING):
        Broker(NamespaceSettings(), world.store, lambda: world.now, lambda: world.elapsed)
    assert "1 messages of 'orders' are kept" in caplog.text

    world.restart()
    assert drain(world.queue) == ["a"]


def test_a_queue_that_stops_requiring_sessions_gives_their_messages_back(world: World) -> None:
    plain = world.settings
    world.settings = NamespaceSettings(queues={"orders": QueueSettings(requires_session=True)})
    world.restart()
    world.sessions.send([message("a", group_id="s")])
    locked = world.sessions.lock_session(None)
    assert locked is not None
    receive(world.sessions, locked[0])
    world.broker.commit()

    world.settings = plain
    world.restart()

    assert body_of(receive(world.queue)) == "a"


def test_the_state_is_open_for_one_broker_at_a_time(world: World, tmp_path: Path) -> None:
    with pytest.raises(StateInUse):
        Store(tmp_path / "state.sqlite3")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StateUnreadable):
        Store(garbage)

    newer = tmp_path / "newer"
    database = sqlite3.connect(newer)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StateUnreadable, match="99"):
        Store(newer)
