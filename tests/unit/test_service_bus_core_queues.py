"""Peek-lock, settlement, expiry, schedules and duplicates of one queue, by a clock set by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest

from devhost.service_bus.core.errors import (
    EntityNotFound,
    MessageLockLost,
    MessageNotFound,
    OperationNotAllowed,
    QuotaExceeded,
)
from devhost.service_bus.core.messages import Outcome
from devhost.service_bus.core.settings import NamespaceSettings, QueueSettings
from tests.unit.service_bus_fakes import (
    SECOND,
    World,
    abandon,
    body_of,
    complete,
    drain,
    message,
    reasons,
    receive,
    settle,
)


def world_with(**settings: object) -> World:
    queue = QueueSettings(**settings)  # type: ignore[arg-type]
    return World(NamespaceSettings(queues={"orders": queue}))


def test_messages_come_out_in_the_order_in_which_they_came_in() -> None:
    world = World()
    world.queue.send([message("a"), message("b")])
    world.queue.send([message("c")])

    assert drain(world.queue) == ["a", "b", "c"]


def test_a_locked_message_is_seen_by_nobody_else_until_it_is_settled() -> None:
    world = World()
    world.queue.send([message("a")])

    first = receive(world.queue)
    assert body_of(first) == "a"
    assert receive(world.queue) is None

    complete(world.queue, first)
    assert world.broker.counts("orders").active == 0


def test_received_and_deleted_is_gone_at_once() -> None:
    world = World()
    world.queue.send([message("a")])

    delivery = world.queue.receive(lock=False)
    assert delivery is not None
    assert delivery.lock is None
    assert world.queue.receive(lock=False) is None


def test_an_abandoned_message_returns_to_its_place_with_one_more_delivery() -> None:
    world = World()
    world.queue.send([message("a"), message("b")])

    abandon(world.queue, receive(world.queue))

    again = receive(world.queue)
    assert again is not None
    assert body_of(again) == "a"
    assert again.stamp.delivery_count == 1


def test_a_released_message_returns_uncounted() -> None:
    world = World()
    world.queue.send([message("a")])

    settle(world.queue, receive(world.queue), Outcome.RELEASE)

    again = receive(world.queue)
    assert again is not None
    assert again.stamp.delivery_count == 0


def test_a_lock_that_runs_out_gives_the_message_back_and_cannot_be_settled() -> None:
    world = world_with(lock_duration=30 * SECOND)
    world.queue.send([message("a")])
    lost = receive(world.queue)

    world.sleep(29.9)
    assert receive(world.queue) is None
    world.sleep(0.1)

    with pytest.raises(MessageLockLost):
        complete(world.queue, lost)
    again = receive(world.queue)
    assert again is not None
    assert again.stamp.delivery_count == 1


def test_a_renewed_lock_lasts_as_long_again() -> None:
    world = world_with(lock_duration=30 * SECOND)
    world.queue.send([message("a"), message("b")])
    held, lost = receive(world.queue), receive(world.queue)
    assert held is not None
    assert lost is not None
    assert held.lock is not None
    assert lost.lock is not None

    world.sleep(20)
    until = world.now + 30 * SECOND
    assert world.queue.renew([held.lock, lost.lock]) == [until, until]
    world.sleep(20)
    complete(world.queue, held)
    world.sleep(10)

    with pytest.raises(MessageLockLost):
        world.queue.renew([lost.lock])


def test_a_message_is_dead_lettered_after_its_last_delivery() -> None:
    world = world_with(max_delivery_count=3, lock_duration=SECOND)
    world.queue.send([message("poison")])

    abandon(world.queue, receive(world.queue))
    abandon(world.queue, receive(world.queue))
    receive(world.queue)
    world.sleep(1)  # the third delivery ends with its lock

    assert receive(world.queue) is None
    dead = receive(world.dead_letters)
    assert body_of(dead) == "poison"
    assert reasons(dead)[0] == "MaxDeliveryCountExceeded"


def test_a_dead_letter_keeps_its_number_and_says_why_and_can_be_completed() -> None:
    world = World()
    (sequence,) = world.queue.send([message("bad", user={"tenant": "a"})])

    settle(world.queue, receive(world.queue), Outcome.DEAD_LETTER, "Invalid", "no field 'flow'")

    assert world.broker.counts("orders").dead_lettered == 1
    dead = receive(world.dead_letters)
    assert dead is not None
    assert dead.stamp.sequence == sequence
    assert reasons(dead) == ("Invalid", "no field 'flow'")
    complete(world.dead_letters, dead)
    assert world.broker.counts("orders").dead_lettered == 0


def test_what_is_dead_lettered_or_abandoned_among_the_dead_letters_stays_there() -> None:
    world = world_with(max_delivery_count=1)
    world.queue.send([message("bad")])
    abandon(world.queue, receive(world.queue))

    abandon(world.dead_letters, receive(world.dead_letters))
    settle(world.dead_letters, receive(world.dead_letters), Outcome.DEAD_LETTER, "Again", "")

    assert reasons(receive(world.dead_letters))[0] == "Again"


def test_a_deferred_message_is_had_by_its_number_only() -> None:
    world = World()
    (sequence,) = world.queue.send([message("later")])
    settle(world.queue, receive(world.queue), Outcome.DEFER)

    assert receive(world.queue) is None
    (deferred,) = world.queue.receive_deferred([sequence], lock=True)
    with pytest.raises(MessageNotFound):  # it is locked now
        world.queue.receive_deferred([sequence], lock=True)
    abandon(world.queue, deferred)  # stays deferred
    assert receive(world.queue) is None
    (deferred,) = world.queue.receive_deferred([sequence], lock=False)
    assert body_of(deferred) == "later"
    assert deferred.stamp.delivery_count == 1


def test_deferred_messages_are_received_all_or_none() -> None:
    world = World()
    (sequence,) = world.queue.send([message("later")])
    settle(world.queue, receive(world.queue), Outcome.DEFER)

    with pytest.raises(MessageNotFound, match="99"):
        world.queue.receive_deferred([sequence, 99], lock=True)

    assert len(world.queue.receive_deferred([sequence, sequence], lock=True)) == 1


def test_a_message_expires_by_the_shorter_of_its_own_time_and_the_queues() -> None:
    world = world_with(time_to_live=60 * SECOND)
    world.queue.send([message("short", ttl=10), message("long", ttl=1000), message("default")])

    world.sleep(10)
    assert [body_of(m) for m in world.queue.peek(0, 10)] == ["long", "default"]
    world.sleep(50)
    assert world.broker.counts("orders").active == 0
    assert world.broker.counts("orders").dead_lettered == 0


def test_an_expired_message_is_dead_lettered_where_that_is_asked_for() -> None:
    world = world_with(time_to_live=60 * SECOND, dead_letter_on_expiration=True)
    world.queue.send([message("old")])

    world.sleep(60)

    dead = receive(world.dead_letters)
    assert body_of(dead) == "old"
    assert reasons(dead)[0] == "TTLExpiredException"
    world.sleep(3600)  # nothing expires there
    assert world.broker.counts("orders").dead_lettered == 1


def test_a_message_does_not_expire_while_it_is_locked() -> None:
    world = world_with(lock_duration=30 * SECOND)
    world.queue.send([message("slow", ttl=10), message("given up", ttl=10)])
    slow, given_up = receive(world.queue), receive(world.queue)

    world.sleep(20)
    complete(world.queue, slow)
    abandon(world.queue, given_up)

    assert receive(world.queue) is None


def test_a_scheduled_message_comes_in_at_its_time_with_a_new_number() -> None:
    world = World()
    (scheduled,) = world.queue.send([message("later", scheduled_at=world.now + 5 * SECOND)])
    world.queue.send([message("now")])

    assert drain(world.queue) == ["now"]
    (peeked,) = world.queue.peek(scheduled, 10)
    assert peeked.stamp.state == 2
    world.sleep(5)

    delivery = receive(world.queue)
    assert delivery is not None
    assert body_of(delivery) == "later"
    assert delivery.stamp.enqueued_at == world.now
    assert delivery.stamp.sequence > scheduled + 1


def test_the_time_to_live_of_a_scheduled_message_starts_when_it_comes_in() -> None:
    world = World()
    world.queue.send([message("later", ttl=10, scheduled_at=world.now + 60 * SECOND)])

    world.sleep(60)
    world.sleep(9)
    assert world.broker.counts("orders").active == 1
    world.sleep(1)
    assert world.broker.counts("orders").active == 0


def test_cancelling_takes_all_scheduled_messages_back_or_none() -> None:
    world = World()
    soon = world.now + 5 * SECOND
    numbers = world.queue.send([message("a", scheduled_at=soon), message("b", scheduled_at=soon)])

    with pytest.raises(MessageNotFound):
        world.queue.cancel([*numbers, 99])
    assert world.broker.counts("orders").scheduled == 2
    world.queue.cancel(numbers)
    world.sleep(10)

    assert drain(world.queue) == []


def test_a_repeated_message_id_is_taken_and_dropped_within_the_window() -> None:
    world = world_with(duplicate_window=60 * SECOND)
    world.queue.send([message("first", message_id="m1"), message("repeat", message_id="m1")])
    world.sleep(59)
    world.queue.send([message("repeat", message_id="m1"), message("other", message_id="m2")])

    assert drain(world.queue) == ["first", "other"]
    world.sleep(1)  # the window does not move with repeats
    world.queue.send([message("anew", message_id="m1")])
    assert drain(world.queue) == ["anew"]


def test_messages_without_an_id_are_never_repeats() -> None:
    world = world_with(duplicate_window=60 * SECOND)
    world.queue.send([message("a"), message("b")])

    assert drain(world.queue) == ["a", "b"]


def test_a_full_queue_takes_none_of_a_batch_that_does_not_fit() -> None:
    fitting = message("x" * 400)
    world = world_with(max_size=3 * fitting.size)
    world.queue.send([fitting, fitting])

    with pytest.raises(QuotaExceeded):
        world.queue.send([fitting, fitting])
    assert world.broker.counts("orders").active == 2
    complete(world.queue, receive(world.queue))
    world.queue.send([fitting, fitting])


def test_peeking_moves_nothing_and_goes_by_sequence_number() -> None:
    world = World()
    numbers = world.queue.send([message(str(n)) for n in range(5)])
    receive(world.queue)

    assert [body_of(m) for m in world.queue.peek(numbers[1], 2)] == ["1", "2"]
    assert [body_of(m) for m in world.queue.peek(0, 99)] == ["0", "1", "2", "3", "4"]


def test_names_have_no_case_and_unknown_ones_are_refused() -> None:
    world = World()
    world.broker.target("ORDERS").send([message("a")])

    assert world.broker.counts("Orders").active == 1
    with pytest.raises(EntityNotFound, match="nothing"):
        world.broker.queue("nothing")
    with pytest.raises(OperationNotAllowed):
        world.broker.target("orders/$DeadLetterQueue")


def test_a_plain_queue_has_no_sessions() -> None:
    world = World()
    with pytest.raises(OperationNotAllowed):
        world.broker.session_queue("orders")


def test_hints_of_settled_messages_do_not_pile_up() -> None:
    world = World()
    for _ in range(50):
        world.queue.send([message() for _ in range(100)])
        while (delivery := receive(world.queue)) is not None:
            complete(world.queue, delivery)

    assert len(world.broker._shared.timers._heap) <= 1100


def test_the_core_knows_no_transport() -> None:
    """Queues, configuration and wire format load without proton or asyncio's servers."""
    code = (
        "import sys, devhost.service_bus.core.broker, devhost.service_bus.config.load;"
        "sys.exit('proton' in sys.modules or 'devhost.service_bus.transport' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
