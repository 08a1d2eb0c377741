"""A queue under any sequence of operations, against a model that is a plain list.

The laws: nothing accepted is lost or doubled, nothing is held twice, every message comes in the
order of its number with the delivery count it has earned. A restart changes none of it, and a
clock that jumps only when scheduled messages come in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from devhost.service_bus.core.errors import MessageLockLost, MessageNotFound
from devhost.service_bus.core.messages import Delivery, Outcome, Settlement
from devhost.service_bus.core.settings import NamespaceSettings, QueueSettings
from tests.unit.service_bus_fakes import SECOND, World, body_of, message

LOCK, WINDOW, LIFETIME, MAX_DELIVERIES = 10 * SECOND, 20 * SECOND, 60 * SECOND, 3
SETTINGS = QueueSettings(
    lock_duration=LOCK,
    duplicate_window=WINDOW,
    time_to_live=LIFETIME,
    max_delivery_count=MAX_DELIVERIES,
    dead_letter_on_expiration=True,
)


@dataclass
class Expected:
    """One message of the model: where it is and what it has been through."""

    body: str
    order: int
    place: str = "ready"  # ready, locked, deferred, deferred-locked, scheduled, dead, gone
    deliveries: int = 0
    expires_at: int = 0
    due_at: int = 0
    lock: UUID | None = None
    locked_until: int = 0
    ttl: int = LIFETIME
    sequence: int = 0


@dataclass
class Model:
    messages: list[Expected] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    last_order: int = 0

    def at(self, *places: str) -> list[Expected]:
        return sorted((m for m in self.messages if m.place in places), key=lambda m: m.order)

    def next_order(self) -> int:
        self.last_order += 1
        return self.last_order

    def advance(self, now: int) -> None:
        for each in sorted(self.at("scheduled"), key=lambda m: (m.due_at, m.order)):
            if each.due_at <= now:
                each.place, each.order = "ready", self.next_order()
                each.expires_at = now + each.ttl
        for each in self.at("locked", "deferred-locked"):
            if each.locked_until <= now:
                self.give_back(each, now, counted=True)
        for each in self.at("ready"):
            if each.expires_at <= now:
                each.place = "dead"

    def jump(self, by: int) -> None:
        """Of all times only those at which a message is scheduled are times of the day."""
        self.seen = {name: at + by for name, at in self.seen.items()}
        for each in self.messages:
            each.locked_until += by
            each.expires_at += by

    def give_back(self, each: Expected, now: int, *, counted: bool) -> None:
        each.lock = None
        each.place = "ready" if each.place == "locked" else "deferred"
        each.deliveries += counted
        worn_out = counted and each.deliveries >= MAX_DELIVERIES
        if worn_out or (each.place == "ready" and each.expires_at <= now):
            each.place = "dead"


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(NamespaceSettings(queues={"orders": SETTINGS}))
        self.model = Model()
        self.count = 0
        self.lost: list[UUID] = []

    @rule(
        ids=st.lists(st.none() | st.sampled_from(["m1", "m2", "m3"]), min_size=1, max_size=3),
        ttl=st.none() | st.integers(1, 90),
        delay=st.sampled_from([0, 0, 0, 5, 30]),
    )
    def send(self, ids: list[str | None], ttl: int | None, delay: int) -> None:
        now = self.world.now
        due = now + delay * SECOND if delay else None
        bodies = [str(self.count + n) for n in range(len(ids))]
        self.count += len(ids)
        sequences = self.world.queue.send(
            [
                message(body, message_id=each, ttl=ttl, scheduled_at=due)
                for body, each in zip(bodies, ids, strict=True)
            ]
        )
        for body, each, sequence in zip(bodies, ids, sequences, strict=True):
            order = self.model.next_order()
            if each is not None:
                if self.model.seen.get(each, -WINDOW) > now - WINDOW:
                    continue
                self.model.seen[each] = now
            lifetime = min(LIFETIME, ttl * SECOND) if ttl else LIFETIME
            expected = Expected(body, order, ttl=lifetime, sequence=sequence)
            expected.expires_at = now + lifetime
            if due is not None:
                expected.place, expected.due_at = "scheduled", due
            self.model.messages.append(expected)

    @rule(lock=st.booleans())
    def receive(self, lock: bool) -> None:
        ready = self.model.at("ready")
        delivery = self.world.queue.receive(lock=lock)
        assert body_of(delivery) == (ready[0].body if ready else None)
        if delivery is not None:
            self.took(ready[0], delivery, "locked" if lock else "gone")

    @precondition(lambda self: self.model.at("deferred"))
    @rule(data=st.data(), lock=st.booleans())
    def receive_deferred(self, data: st.DataObject, lock: bool) -> None:
        expected = data.draw(st.sampled_from(self.model.at("deferred")))
        (delivery,) = self.world.queue.receive_deferred([expected.sequence], lock=lock)
        assert body_of(delivery) == expected.body
        self.took(expected, delivery, "deferred-locked" if lock else "gone")

    @precondition(lambda self: self.model.at("locked", "deferred-locked"))
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def settle(self, data: st.DataObject, outcome: Outcome) -> None:
        expected = data.draw(st.sampled_from(self.model.at("locked", "deferred-locked")))
        assert expected.lock is not None
        self.world.queue.settle([expected.lock], Settlement(outcome))
        self.lost.append(expected.lock)
        match outcome:
            case Outcome.COMPLETE:
                expected.place = "gone"
            case Outcome.DEAD_LETTER:
                expected.place = "dead"
            case Outcome.DEFER:
                expected.place = "deferred"
            case _:
                counted = outcome is Outcome.ABANDON
                self.model.give_back(expected, self.world.now, counted=counted)

    @precondition(lambda self: self.model.at("locked", "deferred-locked"))
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        expected = data.draw(st.sampled_from(self.model.at("locked", "deferred-locked")))
        assert expected.lock is not None
        expected.locked_until = self.world.now + LOCK
        assert self.world.queue.renew([expected.lock]) == [expected.locked_until]

    @precondition(lambda self: self.lost)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def settle_what_is_no_longer_held(self, data: st.DataObject, outcome: Outcome) -> None:
        with pytest.raises(MessageLockLost):
            self.world.queue.settle([data.draw(st.sampled_from(self.lost))], Settlement(outcome))

    @precondition(lambda self: self.model.at("scheduled"))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        expected = data.draw(st.sampled_from(self.model.at("scheduled")))
        self.world.queue.cancel([expected.sequence])
        expected.place = "gone"
        with pytest.raises(MessageNotFound):
            self.world.queue.cancel([expected.sequence])

    @rule(seconds=st.sampled_from([0.5, 3, 11, 40]))
    def sleep(self, seconds: float) -> None:
        held = {m.lock for m in self.model.at("locked", "deferred-locked")}
        self.world.sleep(seconds)
        self.model.advance(self.world.now)
        still = {m.lock for m in self.model.at("locked", "deferred-locked")}
        self.lost += [lock for lock in held - still if lock is not None]

    @rule(seconds=st.sampled_from([-3600, -7, 7, 3600]))
    def the_clock_jumps(self, seconds: float) -> None:
        self.world.jump(seconds)
        self.model.jump(seconds * SECOND)
        self.model.advance(self.world.now)

    @rule()
    def restart(self) -> None:
        self.world.commit_and_restart()

    @invariant()
    def every_message_is_where_it_should_be(self) -> None:
        places = ("ready", "locked", "deferred", "deferred-locked", "scheduled")
        assert [body_of(m) for m in self.world.queue.peek(0, 999)] == [
            m.body for m in self.model.at(*places)
        ]
        dead = {body_of(m) for m in self.world.dead_letters.peek(0, 999)}
        assert dead == {m.body for m in self.model.at("dead")}

    @invariant()
    def counts_and_states_agree(self) -> None:
        for peeked, expected in zip(
            self.world.queue.peek(0, 999),
            self.model.at("ready", "locked", "deferred", "deferred-locked", "scheduled"),
            strict=True,
        ):
            assert peeked.stamp.delivery_count == expected.deliveries
            assert (peeked.lock is not None) == expected.place.endswith("locked")

    def took(self, expected: Expected, delivery: Delivery, place: str) -> None:
        assert delivery.stamp.delivery_count == expected.deliveries
        expected.place, expected.lock = place, delivery.lock
        expected.sequence = delivery.stamp.sequence
        expected.locked_until = self.world.now + LOCK


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestQueueMachine = QueueMachine.TestCase
