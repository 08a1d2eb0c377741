"""Sessions of one queue: who holds which, until when, and the state kept for each.

While a receiver holds a session, only it gets the session's messages, in order. Its messages
have no lock time of their own: they are held as long as the session is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from devhost.service_bus.core.backlog import Backlog
from devhost.service_bus.core.errors import SessionCannotBeLocked, SessionLockLost
from devhost.service_bus.core.messages import Message, Millis
from devhost.service_bus.core.store import SessionRow, Store


@dataclass(frozen=True, slots=True)
class SessionHold:
    """What a receiver shows for the session it holds."""

    queue: str
    session_id: str
    token: UUID


@dataclass(slots=True)
class Session:
    row: SessionRow
    backlog: Backlog = field(default_factory=Backlog)
    held: dict[UUID, Message] = field(default_factory=dict)
    """Messages handed out under the present lock, by their token."""

    @property
    def idle(self) -> bool:
        """Whether nothing needs to be remembered of it."""
        return self.row.state is None and self.row.lock is None and not self.held


class Sessions:
    def __init__(self, store: Store, queue: str) -> None:
        self._store = store
        self._queue = queue
        self._sessions: dict[str, Session] = {}
        self._locked: dict[UUID, Session] = {}

    def get(self, session_id: str) -> Session:
        """The session of this id, made when there is none."""
        session = self._sessions.get(session_id)
        if session is None:
            row = SessionRow(self._queue, session_id, None, 0, None, None)
            session = self._sessions[session_id] = Session(row)
        return session

    def restore(self, row: SessionRow) -> None:
        session = self._sessions[row.id] = Session(row)
        if row.lock is not None:
            self._locked[row.lock] = session

    def lock(
        self, session_id: str | None, until: Millis, messages: Mapping[int, Message]
    ) -> SessionHold | None:
        """Locks the session, or for None the free one whose next message is oldest.

        Returns None when there is no such free one. Raises SessionCannotBeLocked.
        """
        session = self._next_free(messages) if session_id is None else self.get(session_id)
        if session is None:
            return None
        row = session.row
        if row.lock is not None:
            raise SessionCannotBeLocked(row.id)
        row.lock, row.locked_until = uuid4(), until
        self._locked[row.lock] = session
        self._store.put_session(row)
        return SessionHold(self._queue, row.id, row.lock)

    def held(self, hold: SessionHold) -> Session:
        """The session of a hold that is still good; raises SessionLockLost."""
        session = self._locked.get(hold.token)
        if session is None:
            raise SessionLockLost(hold.session_id)
        return session

    def locked_by(self, token: UUID) -> Session | None:
        return self._locked.get(token)

    def renew(self, session: Session, until: Millis) -> None:
        session.row.locked_until = until
        self._store.put_session(session.row)

    def shift(self, jump: Millis) -> None:
        """The clock jumped: each hold lasts as long as it would have."""
        for session in self._locked.values():
            if session.row.locked_until is not None:
                session.row.locked_until += jump
                self._store.put_session(session.row)

    def set_state(self, session: Session, state: bytes | None, now: Millis) -> None:
        session.row.state, session.row.updated_at = state, now
        self._store.put_session(session.row)

    def unlock(self, session: Session) -> list[Message]:
        """Frees the session; returns the messages that were out under its lock."""
        returned = list(session.held.values())
        session.held.clear()
        if session.row.lock is not None:
            del self._locked[session.row.lock]
        session.row.lock = session.row.locked_until = None
        if session.row.state is None:
            self._store.drop_session(self._queue, session.row.id)
        else:
            self._store.put_session(session.row)
        return returned

    def tidy(self, session: Session, messages: Mapping[int, Message]) -> None:
        """Forgets a session of which nothing is left."""
        if session.idle and session.backlog.first(messages) is None:
            self._sessions.pop(session.row.id, None)

    def ids(self, messages: Mapping[int, Message], updated_after: Millis | None) -> list[str]:
        """The sessions with active messages or a state, or those whose state is newer."""
        if updated_after is not None:
            return sorted(
                name for name, s in self._sessions.items() if s.row.updated_at > updated_after
            )
        return sorted(
            name
            for name, s in self._sessions.items()
            if s.row.state is not None or s.held or s.backlog.first(messages) is not None
        )

    def _next_free(self, messages: Mapping[int, Message]) -> Session | None:
        best: tuple[int, Session] | None = None
        for session in self._sessions.values():
            if session.row.lock is not None:
                continue
            message = session.backlog.first(messages)
            if message is not None and (best is None or message.sequence < best[0]):
                best = message.sequence, session
        return best[1] if best else None
