"""The clock jumps: spans last as long as they were to, and only the time of day is followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from devhost.service_bus.core.errors import MessageLockLost
from devhost.service_bus.core.settings import NamespaceSettings, QueueSettings
from tests.unit.service_bus_fakes import (
    SECOND,
    World,
    body_of,
    complete,
    drain,
    message,
    receive,
)

HOUR = 3600
JUMPS = pytest.mark.parametrize("seconds", [-HOUR, HOUR])


@pytest.fixture
def world(tmp_path: Path) -> World:
    queue = QueueSettings(
        lock_duration=60 * SECOND, duplicate_window=300 * SECOND, time_to_live=HOUR * SECOND
    )
    return World(NamespaceSettings(queues={"orders": queue}), tmp_path / "state.sqlite3")


@JUMPS
def test_a_lock_holds_its_minute_and_is_freed_once(world: World, seconds: int) -> None:
    world.queue.send([message("a")])
    first = receive(world.queue)

    world.jump(seconds)
    world.sleep(59)
    assert receive(world.queue) is None, "it is still held"
    world.sleep(1)
    again = receive(world.queue)

    assert again is not None
    assert again.stamp.delivery_count == 1
    assert receive(world.queue) is None, "it was freed once"
    with pytest.raises(MessageLockLost):
        complete(world.queue, first)
    complete(world.queue, again)


@JUMPS
def test_its_holder_may_settle_it(world: World, seconds: int) -> None:
    world.queue.send([message("a")])
    held = receive(world.queue)
    world.jump(seconds)
    complete(world.queue, held)
    world.sleep(HOUR)
    assert drain(world.queue) == []


@JUMPS
def test_a_renewed_lock_says_until_when_by_the_new_time(world: World, seconds: int) -> None:
    world.queue.send([message("a")])
    held = receive(world.queue)
    assert held is not None
    assert held.lock is not None
    world.jump(seconds)
    assert world.queue.renew([held.lock]) == [world.now + 60 * SECOND]
    world.sleep(59)
    complete(world.queue, held)


def test_a_waiting_message_does_not_expire_by_a_jump(world: World) -> None:
    world.queue.send([message("a")])
    world.jump(HOUR)
    world.jump(HOUR)
    world.sleep(HOUR - 1)
    assert body_of(next(world.queue.peek(0, 1))) == "a"
    world.sleep(1)
    assert drain(world.queue) == []


@JUMPS
def test_a_repeat_is_known_as_long_as_before(world: World, seconds: int) -> None:
    world.queue.send([message("a", message_id="m1")])
    world.jump(seconds)
    world.sleep(299)
    world.queue.send([message("repeat", message_id="m1")])
    world.sleep(1)
    world.queue.send([message("new", message_id="m1")])
    assert drain(world.queue) == ["a", "new"]


def test_a_scheduled_message_comes_in_at_its_time_of_day(world: World) -> None:
    world.queue.send([message("a", scheduled_at=world.now + 60 * SECOND)])
    world.jump(-HOUR)
    world.sleep(HOUR)
    assert receive(world.queue) is None
    world.sleep(60)
    assert drain(world.queue) == ["a"]

    world.queue.send([message("b", scheduled_at=world.now + 60 * SECOND)])
    world.jump(HOUR)
    assert drain(world.queue) == ["b"]
    world.jump(-HOUR)
    world.sleep(2 * HOUR)
    assert drain(world.queue) == [], "it came in once"


def test_a_clock_set_back_while_the_broker_was_down_holds_a_message_for_its_span_at_most(
    world: World,
) -> None:
    world.queue.send([message("a", message_id="m1")])
    receive(world.queue)
    world.broker.commit()

    world.now -= HOUR * SECOND
    world.restart()
    world.sleep(60)

    assert body_of(receive(world.queue)) == "a"
    world.sleep(300)
    world.queue.send([message("b", message_id="m1")])
    bodies = {body_of(each) for each in world.queue.peek(0, 9)}
    assert "b" in bodies, "an id is not remembered for longer than its window"


@JUMPS
def test_what_a_jump_moved_is_kept(world: World, seconds: int) -> None:
    world.queue.send([message("a")])
    held = receive(world.queue)
    world.jump(seconds)
    world.commit_and_restart()
    world.sleep(59)
    complete(world.queue, held)


@JUMPS
def test_a_session_is_held_as_long_as_before(seconds: int) -> None:
    queue = QueueSettings(requires_session=True, lock_duration=60 * SECOND)
    world = World(NamespaceSettings(queues={"orders": queue}))
    world.sessions.send([message("a", group_id="s")])
    locked = world.sessions.lock_session("s")
    assert locked is not None
    hold = locked[0]
    world.jump(seconds)
    world.sleep(59)
    assert receive(world.sessions, hold) is not None
    world.sleep(1)
    assert [lost.session_id for lost in world.broker.take_lost_sessions()] == ["s"]
    again = world.sessions.lock_session("s")
    assert again is not None


def test_a_clock_that_is_only_corrected_a_little_is_followed(world: World) -> None:
    world.queue.send([message("a")])
    held = receive(world.queue)
    for _ in range(100):
        world.jump(0.5)
    world.sleep(10)
    with pytest.raises(MessageLockLost):
        complete(world.queue, held)
