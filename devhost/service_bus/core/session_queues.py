"""A queue that requires sessions: its messages are received one session at a time, in order."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from devhost.service_bus.core.backlog import Backlog
from devhost.service_bus.core.errors import OperationNotAllowed
from devhost.service_bus.core.messages import Message, Millis, reason
from devhost.service_bus.core.queues import Queue
from devhost.service_bus.core.sessions import Session, SessionHold, Sessions
from devhost.service_bus.core.settings import QueueSettings
from devhost.service_bus.core.shared import Shared
from devhost.service_bus.core.store import SessionRow
from devhost.service_bus.core.timers import Due, Key
from devhost.service_bus.wire.sections import Envelope


class SessionQueue(Queue):
    """Public methods raise Refused and then have changed nothing.

    Those that take a hold raise SessionLockLost when it ran out.
    """

    def __init__(self, shared: Shared, name: str, settings: QueueSettings) -> None:
        super().__init__(shared, name, settings)
        self._sessions = Sessions(shared.store, self.path)

    def lock_session(self, session_id: str | None) -> tuple[SessionHold, Millis] | None:
        """Holds a session, for None the next free one; None when there is none to hold.

        Returns until when it is held. Raises SessionCannotBeLocked.
        """
        until = self._shared.now() + self.settings.lock_duration
        hold = self._sessions.lock(session_id, until, self.messages)
        if hold is None:
            return None
        self._shared.timers.add(until, self, Due.SESSION, hold.token)
        return hold, until

    def renew_session(self, hold: SessionHold) -> Millis:
        """Prolongs the hold by the lock duration; returns until when it lasts."""
        until = self._shared.now() + self.settings.lock_duration
        self._sessions.renew(self._sessions.held(hold), until)
        return until

    def release_session(self, hold: SessionHold) -> None:
        """Gives a session back. Its messages return uncounted, as Service Bus has it."""
        self._shared.now()
        self._free(self._sessions.held(hold), counted=False)

    def session_state(self, hold: SessionHold) -> bytes | None:
        self._shared.now()
        return self._sessions.held(hold).row.state

    def set_session_state(self, hold: SessionHold, state: bytes | None) -> None:
        now = self._shared.now()
        self._sessions.set_state(self._sessions.held(hold), state, now)

    def session_ids(self, updated_after: Millis | None) -> list[str]:
        """The sessions with active messages or a state, or those whose state is newer."""
        self._shared.now()
        return self._sessions.ids(self.messages, updated_after)

    def shift(self, jump: Millis) -> None:
        super().shift(jump)
        self._sessions.shift(jump)

    def restore_session(self, row: SessionRow) -> None:
        if row.locked_until is not None:
            row.locked_until = self._at_most(row.locked_until, self.settings.lock_duration)
        self._sessions.restore(row)
        if row.lock is not None and row.locked_until is not None:
            self._shared.timers.add(row.locked_until, self, Due.SESSION, row.lock)

    # As a queue

    def renew(self, locks: Sequence[UUID]) -> list[Millis]:
        raise OperationNotAllowed("The lock of a session holds its messages: renew that one.")

    def check(self, envelopes: Sequence[Envelope]) -> None:
        if any(envelope.session_id is None for envelope in envelopes):
            raise OperationNotAllowed(
                f"'{self.name}' requires sessions: every message needs a session id."
            )
        super().check(envelopes)

    def on_due(self, due: Due, key: Key) -> Millis | None:
        if due is not Due.SESSION or not isinstance(key, UUID):
            return super().on_due(due, key)
        session = self._sessions.locked_by(key)
        if session is None or session.row.locked_until is None:
            return None
        if session.row.locked_until > self._shared.clock():
            return session.row.locked_until
        self._shared.lost_sessions.append(SessionHold(self.path, session.row.id, key))
        self._free(session, counted=True)
        return None

    def is_pending(self, due: Due, key: Key) -> bool:
        if due is Due.SESSION and isinstance(key, UUID):
            return self._sessions.locked_by(key) is not None
        return super().is_pending(due, key)

    def _free(self, session: Session, *, counted: bool) -> None:
        for message in self._sessions.unlock(session):
            self._unlock(message)
            self._give_back(message, counted=counted)
        self._sessions.tidy(session, self.messages)
        self._shared.ready.add(self)

    def _offer(self, message: Message) -> None:
        if message.session_id is None:  # copied here by a topic: nobody could receive it
            why = reason("Session ID is null.", "A session-enabled entity needs a session id.")
            self._dead_letter(message, why, forward=False)  # it might come back here at once
            return
        self._session(message).backlog.push(message.sequence)
        self._shared.ready.add(self)

    def _resume(self, message: Message, lock: UUID) -> bool:
        if message.locked_until is not None or message.session_id is None:
            return super()._resume(message, lock)
        session = self._session(message)
        if session.row.lock is None:
            return False
        session.held[lock] = message
        return True

    def _hold(self, message: Message, lock: UUID, now: Millis) -> Millis:
        session = self._session(message)
        session.held[lock] = message
        return session.row.locked_until or now

    def _unlock(self, message: Message) -> None:
        if message.lock is not None and message.session_id is not None:
            self._session(message).held.pop(message.lock, None)
        super()._unlock(message)

    def _waiting(self, hold: SessionHold | None) -> Backlog:
        if hold is None:
            raise OperationNotAllowed(f"'{self.name}' requires sessions: use a session receiver.")
        return self._sessions.held(hold).backlog

    def _session(self, message: Message) -> Session:
        assert message.session_id is not None
        return self._sessions.get(message.session_id)
