"""Sessions under any sequence of operations.

The laws: a session has one holder, who gets its messages in order and each of them once; what a
holder did not settle comes back when the hold ends, counted only if its time ran out. A clock that
jumps changes none of it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from devhost.service_bus.core.errors import SessionCannotBeLocked, SessionLockLost
from devhost.service_bus.core.messages import Outcome, Settlement
from devhost.service_bus.core.sessions import SessionHold
from devhost.service_bus.core.settings import NamespaceSettings, QueueSettings
from tests.unit.service_bus_fakes import SECOND, World, body_of, message

LOCK, MAX_DELIVERIES = 10 * SECOND, 3
NAMES = ("a", "b", "c")


@dataclass
class Held:
    hold: SessionHold
    until: int
    out: dict[str, UUID] = field(default_factory=dict)
    """The body of each message that was received and not settled, with its lock."""


class SessionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        queue = QueueSettings(
            requires_session=True, lock_duration=LOCK, max_delivery_count=MAX_DELIVERIES
        )
        self.world = World(NamespaceSettings(queues={"orders": queue}))
        self.waiting: dict[str, list[str]] = {name: [] for name in NAMES}
        self.deliveries: dict[str, int] = defaultdict(int)
        self.states: dict[str, bytes | None] = dict.fromkeys(NAMES)
        self.held: dict[str, Held] = {}
        self.ended: list[SessionHold] = []
        self.dead: set[str] = set()
        self.count = 0

    @rule(name=st.sampled_from(NAMES))
    def send(self, name: str) -> None:
        self.count += 1
        body = f"{self.count:06}"
        self.world.sessions.send([message(body, group_id=name)])
        self.waiting[name].append(body)

    @rule(name=st.sampled_from(NAMES))
    def lock(self, name: str) -> None:
        if name in self.held:
            with pytest.raises(SessionCannotBeLocked):
                self.world.sessions.lock_session(name)
            return
        self.locked(name)

    @rule()
    def lock_next(self) -> None:
        free = {n: w[0] for n, w in self.waiting.items() if w and n not in self.held}
        if free:
            self.locked(None, expected=min(free, key=lambda name: free[name]))
        else:
            assert self.world.sessions.lock_session(None) is None

    @precondition(lambda self: self.held)
    @rule(data=st.data(), lock=st.booleans())
    def receive(self, data: st.DataObject, lock: bool) -> None:
        name, held = self.drawn(data)
        delivery = self.world.sessions.receive(lock=lock, hold=held.hold)
        if not self.waiting[name]:
            assert delivery is None
            return
        body = self.waiting[name].pop(0)
        assert delivery is not None
        assert body_of(delivery) == body
        assert delivery.stamp.delivery_count == self.deliveries[body]
        if delivery.lock is not None:
            held.out[body] = delivery.lock

    @precondition(lambda self: any(held.out for held in self.held.values()))
    @rule(data=st.data(), outcome=st.sampled_from([Outcome.COMPLETE, Outcome.ABANDON]))
    def settle(self, data: st.DataObject, outcome: Outcome) -> None:
        name, held = data.draw(st.sampled_from([i for i in self.held.items() if i[1].out]))
        body = data.draw(st.sampled_from(sorted(held.out)))
        self.world.sessions.settle([held.out.pop(body)], Settlement(outcome))
        if outcome is Outcome.ABANDON:
            self.gave_back(name, body, counted=True)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        _, held = self.drawn(data)
        held.until = self.world.sessions.renew_session(held.hold)
        assert held.until == self.world.now + LOCK

    @precondition(lambda self: self.held)
    @rule(data=st.data(), state=st.none() | st.binary(max_size=4))
    def set_state(self, data: st.DataObject, state: bytes | None) -> None:
        name, held = self.drawn(data)
        self.world.sessions.set_session_state(held.hold, state)
        self.states[name] = state

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name, held = self.drawn(data)
        self.world.sessions.release_session(held.hold)
        self.end(name, counted=False)

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def use_what_is_no_longer_held(self, data: st.DataObject) -> None:
        hold = data.draw(st.sampled_from(self.ended))
        with pytest.raises(SessionLockLost):
            self.world.sessions.receive(lock=True, hold=hold)
        with pytest.raises(SessionLockLost):
            self.world.sessions.renew_session(hold)

    @rule(seconds=st.sampled_from([1, 6, 11]))
    def sleep(self, seconds: int) -> None:
        self.world.sleep(seconds)
        for name, held in list(self.held.items()):
            if held.until <= self.world.now:
                self.end(name, counted=True)

    @rule(seconds=st.sampled_from([-3600, 3600]))
    def the_clock_jumps(self, seconds: int) -> None:
        self.world.jump(seconds)
        for held in self.held.values():
            held.until += seconds * SECOND

    @rule()
    def restart(self) -> None:
        self.world.commit_and_restart()

    @invariant()
    def states_and_messages_are_where_they_should_be(self) -> None:
        for name, held in self.held.items():
            assert self.world.sessions.session_state(held.hold) == self.states[name]
        inside = {body for bodies in self.waiting.values() for body in bodies}
        inside |= {body for held in self.held.values() for body in held.out}
        assert {body_of(m) for m in self.world.sessions.peek(0, 999)} == inside
        assert {body_of(m) for m in self.world.dead_letters.peek(0, 999)} == self.dead

    def drawn(self, data: st.DataObject) -> tuple[str, Held]:
        return data.draw(st.sampled_from(sorted(self.held.items(), key=lambda item: item[0])))

    def locked(self, name: str | None, expected: str | None = None) -> None:
        locked = self.world.sessions.lock_session(name)
        assert locked is not None
        hold, until = locked
        assert hold.session_id == (expected or name)
        assert until == self.world.now + LOCK
        self.held[hold.session_id] = Held(hold, until)

    def end(self, name: str, *, counted: bool) -> None:
        held = self.held.pop(name)
        self.ended.append(held.hold)
        for body in held.out:
            self.gave_back(name, body, counted=counted)

    def gave_back(self, name: str, body: str, *, counted: bool) -> None:
        self.deliveries[body] += counted
        if counted and self.deliveries[body] >= MAX_DELIVERIES:
            self.dead.add(body)
        else:
            self.waiting[name] = sorted([*self.waiting[name], body])


SessionMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSessionMachine = SessionMachine.TestCase
