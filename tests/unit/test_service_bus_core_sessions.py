"""Sessions: exclusive, in order, with a state and a lock of their own."""

from __future__ import annotations

import pytest

from devhost.service_bus.core.errors import (
    MessageLockLost,
    MessageNotFound,
    OperationNotAllowed,
    SessionCannotBeLocked,
    SessionLockLost,
)
from devhost.service_bus.core.messages import Outcome
from devhost.service_bus.core.sessions import SessionHold
from devhost.service_bus.core.settings import NamespaceSettings, QueueSettings
from tests.unit.service_bus_fakes import (
    SECOND,
    World,
    abandon,
    body_of,
    complete,
    message,
    receive,
    settle,
)


@pytest.fixture
def world() -> World:
    queue = QueueSettings(requires_session=True, lock_duration=30 * SECOND)
    return World(NamespaceSettings(queues={"orders": queue}))


def send(world: World, *bodies: str) -> None:
    """Each body goes to the session that its first letter names."""
    world.sessions.send([message(body, group_id=body[0]) for body in bodies])


def hold(world: World, session_id: str | None = None) -> SessionHold:
    locked = world.sessions.lock_session(session_id)
    assert locked is not None
    return locked[0]


def test_a_receiver_gets_the_messages_of_its_session_in_order(world: World) -> None:
    send(world, "a1", "b1", "a2")
    of_a = hold(world, "a")

    assert [body_of(receive(world.sessions, of_a)) for _ in range(3)] == ["a1", "a2", None]


def test_a_held_session_cannot_be_held_twice(world: World) -> None:
    send(world, "a1")
    hold(world, "a")

    with pytest.raises(SessionCannotBeLocked):
        world.sessions.lock_session("a")
    assert world.sessions.lock_session(None) is None


def test_the_next_free_session_is_the_one_that_waits_longest(world: World) -> None:
    send(world, "b1", "a1", "b2")

    assert [hold(world).session_id, hold(world).session_id] == ["b", "a"]


def test_a_session_that_only_has_a_state_is_not_offered(world: World) -> None:
    mine = hold(world, "a")
    world.sessions.set_session_state(mine, b"half done")
    world.sessions.release_session(mine)

    assert world.sessions.lock_session(None) is None
    assert world.sessions.session_state(hold(world, "a")) == b"half done"


def test_messages_of_a_released_session_return_uncounted(world: World) -> None:
    send(world, "a1")
    mine = hold(world)
    lost = receive(world.sessions, mine)

    world.sessions.release_session(mine)

    with pytest.raises(MessageLockLost):
        complete(world.sessions, lost)
    again = receive(world.sessions, hold(world))
    assert again is not None
    assert again.stamp.delivery_count == 0


def test_messages_of_a_session_whose_lock_ran_out_return_counted(world: World) -> None:
    send(world, "a1", "a2")
    mine = hold(world)
    receive(world.sessions, mine)

    world.sleep(30)

    assert world.broker.take_lost_sessions() == [mine]
    with pytest.raises(SessionLockLost):
        receive(world.sessions, mine)
    theirs = hold(world)
    counts = [receive(world.sessions, theirs), receive(world.sessions, theirs)]
    assert [d.stamp.delivery_count for d in counts if d] == [1, 0]


def test_a_renewed_session_keeps_its_messages(world: World) -> None:
    send(world, "a1")
    mine = hold(world)
    held = receive(world.sessions, mine)

    world.sleep(20)
    assert world.sessions.renew_session(mine) == world.now + 30 * SECOND
    world.sleep(20)

    complete(world.sessions, held)
    with pytest.raises(OperationNotAllowed):
        world.sessions.renew([])


def test_settling_works_as_without_sessions(world: World) -> None:
    send(world, "a1", "a2")
    mine = hold(world)
    abandon(world.sessions, receive(world.sessions, mine))
    again = receive(world.sessions, mine)
    assert body_of(again) == "a1"
    settle(world.sessions, again, Outcome.DEAD_LETTER, "Bad", "")
    settle(world.sessions, receive(world.sessions, mine), Outcome.DEFER)

    assert world.broker.counts("orders").dead_lettered == 1
    (deferred,) = world.sessions.receive_deferred([2], lock=True, hold=mine)
    complete(world.sessions, deferred)


def test_a_deferred_message_is_only_given_to_the_holder_of_its_session(world: World) -> None:
    send(world, "a1", "b1")
    settle(world.sessions, receive(world.sessions, hold(world, "a")), Outcome.DEFER)

    with pytest.raises(MessageNotFound):
        world.sessions.receive_deferred([1], lock=True, hold=hold(world, "b"))
    with pytest.raises(OperationNotAllowed):
        world.sessions.receive_deferred([1], lock=True)


def test_a_message_without_a_session_is_refused_and_so_is_a_plain_receiver(world: World) -> None:
    with pytest.raises(OperationNotAllowed, match="session id"):
        world.sessions.send([message("a1", group_id="a"), message("lost")])
    assert world.broker.counts("orders").active == 0
    with pytest.raises(OperationNotAllowed):
        receive(world.sessions)
    with pytest.raises(OperationNotAllowed):
        world.broker.plain_queue("orders")


def test_sessions_are_listed_by_messages_or_state_or_by_when_the_state_changed(
    world: World,
) -> None:
    send(world, "a1")
    before = world.now
    world.sleep(5)
    world.sessions.set_session_state(hold(world, "s"), b"x")

    assert world.sessions.session_ids(None) == ["a", "s"]
    assert world.sessions.session_ids(before) == ["s"]
    assert world.sessions.session_ids(world.now) == []


def test_dead_letters_of_sessions_are_received_without_one(world: World) -> None:
    send(world, "a1")
    settle(world.sessions, receive(world.sessions, hold(world)), Outcome.DEAD_LETTER, "Bad", "")

    assert body_of(receive(world.dead_letters)) == "a1"


def test_the_hold_and_the_state_survive_a_restart(world: World) -> None:
    send(world, "a1")
    mine = hold(world)
    held = receive(world.sessions, mine)
    world.sessions.set_session_state(mine, b"half done")

    world.commit_and_restart()

    with pytest.raises(SessionCannotBeLocked):
        world.sessions.lock_session("a")
    assert world.sessions.session_state(mine) == b"half done"
    complete(world.sessions, held)
    world.sleep(30)
    assert world.broker.take_lost_sessions() == [mine]
