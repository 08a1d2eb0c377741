"""The operations of $management, with the names and the shapes that the SDK uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from devhost.service_bus.core.errors import InvalidArgument, MessageTooLarge, NotImplementedHere
from devhost.service_bus.core.messages import Delivery, Outcome, Settlement, reason
from devhost.service_bus.core.queues import Queue
from devhost.service_bus.core.session_queues import SessionQueue
from devhost.service_bus.core.sessions import SessionHold
from devhost.service_bus.transport.links import MAX_MESSAGE_BYTES
from devhost.service_bus.wire.requests import Request, Response
from devhost.service_bus.wire.sections import compose, parse
from devhost.service_bus.wire.values import Array, Int32, Timestamp, Value

if TYPE_CHECKING:
    from devhost.service_bus.transport.peer import Peer

_PREFIX = "com.microsoft:"
_MAX_PEEK_COUNT = 250
_MAX_PEEK_BYTES = 4 * MAX_MESSAGE_BYTES
_ALL_SESSIONS_FROM = 253_402_300_799_999
"""A last-updated-time later than this (.NET's DateTime.MaxValue) asks for all sessions."""
_OUTCOMES = {
    "completed": Outcome.COMPLETE,
    "abandoned": Outcome.ABANDON,
    "defered": Outcome.DEFER,
    "suspended": Outcome.DEAD_LETTER,
}
_RECEIVE_AND_DELETE = 0
"""Of receiver-settle-mode: first, so the message is gone once it is sent."""


class _Call(NamedTuple):
    """One request: who asks, about which entity, with what."""

    peer: Peer
    path: str
    body: Mapping[Value, Value]

    @property
    def queue(self) -> Queue:
        return self.peer.server.broker.queue(self.path)

    @property
    def hold(self) -> SessionHold | None:
        """Of the session that the request is about, which the client must hold."""
        session_id = self.optional("session-id", str)
        return None if session_id is None else self.peer.hold_of(self.queue, session_id)

    def field[T](self, name: str, kind: type[T]) -> T:
        value = self.body.get(name)
        if not isinstance(value, kind):
            raise InvalidArgument(f"The request needs '{name}' of type {kind.__name__}.")
        return value

    def optional[T](self, name: str, kind: type[T]) -> T | None:
        return None if self.body.get(name) is None else self.field(name, kind)

    def all_of[T](self, name: str, kind: type[T]) -> list[T]:
        values = self.field(name, list)
        if not all(isinstance(value, kind) for value in values):
            raise InvalidArgument(f"The request needs '{name}' of elements of {kind.__name__}.")
        return values


def answer(peer: Peer, path: str, request: Request) -> Response:
    """Raises Refused or CodecError, and then has changed nothing."""
    operation = _OPERATIONS.get(request.operation.removeprefix(_PREFIX))
    if operation is None:
        raise NotImplementedHere(f"The operation '{request.operation}' is not supported here.")
    if not isinstance(request.body, Mapping):
        raise InvalidArgument("The body of the request is not a map.")
    return operation(_Call(peer, path, request.body))


def _renew_lock(call: _Call) -> Response:
    until = call.queue.renew(call.all_of("lock-tokens", UUID))
    return _ok({"expirations": Array([Timestamp(each) for each in until])})


def _update_disposition(call: _Call) -> Response:
    status = call.field("disposition-status", str)
    outcome = _OUTCOMES.get(status)
    if outcome is None:
        raise InvalidArgument(f"The disposition status '{status}' is unknown.")
    _ = call.hold  # a session that was lost is told as such
    properties: dict[str, Value] = {}
    if outcome is Outcome.DEAD_LETTER:
        properties = reason(
            call.optional("deadletter-reason", str) or "",
            call.optional("deadletter-description", str) or "",
        )
    call.queue.settle(call.all_of("lock-tokens", UUID), Settlement(outcome, properties))
    return _ok({})


def _receive_by_sequence_number(call: _Call) -> Response:
    lock = call.field("receiver-settle-mode", int) != _RECEIVE_AND_DELETE
    sequences = call.all_of("sequence-numbers", int)
    found = call.queue.receive_deferred(sequences, lock=lock, hold=call.hold)
    return _ok({"messages": [_locked_message(each) for each in found]})


def _locked_message(delivery: Delivery) -> dict[Value, Value]:
    message: dict[Value, Value] = {"message": compose(delivery.envelope, delivery.stamp)}
    if delivery.lock is not None:
        message["lock-token"] = delivery.lock
    return message


def _peek_message(call: _Call) -> Response:
    count = min(call.field("message-count", int), _MAX_PEEK_COUNT)
    start = call.field("from-sequence-number", int)
    messages: list[Value] = []
    size = 0
    for delivery in call.queue.peek(start, count, call.optional("session-id", str)):
        raw = compose(delivery.envelope, delivery.stamp)
        size += len(raw)
        if messages and size > _MAX_PEEK_BYTES:
            break
        messages.append({"message": raw})
    return _ok({"messages": messages}) if messages else Response(204, "No content")


def _schedule_message(call: _Call) -> Response:
    envelopes = []
    for each in call.field("messages", list):
        raw = each.get("message") if isinstance(each, Mapping) else None
        if not isinstance(raw, bytes):
            raise InvalidArgument("The request needs 'messages', each with an encoded 'message'.")
        if len(raw) > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(
                f"A message of {len(raw)} bytes is more than {MAX_MESSAGE_BYTES}."
            )
        envelopes.append(parse(raw))
    sequences = call.peer.server.broker.target(call.path).send(envelopes)
    return _ok({"sequence-numbers": Array(sequences)})


def _cancel_scheduled_message(call: _Call) -> Response:
    call.peer.server.broker.target(call.path).cancel(call.all_of("sequence-numbers", int))
    return _ok({})


def _renew_session_lock(call: _Call) -> Response:
    queue, hold = _held_session(call)
    return _ok({"expiration": Timestamp(queue.renew_session(hold))})


def _get_session_state(call: _Call) -> Response:
    queue, hold = _held_session(call)
    return _ok({"session-state": queue.session_state(hold)})


def _set_session_state(call: _Call) -> Response:
    queue, hold = _held_session(call)
    queue.set_session_state(hold, call.optional("session-state", bytes))
    return _ok({})


def _get_message_sessions(call: _Call) -> Response:
    updated_after = call.field("last-updated-time", int)
    skip, top = call.field("skip", int), call.field("top", int)
    queue = call.peer.server.broker.session_queue(call.path)
    ids = queue.session_ids(None if updated_after > _ALL_SESSIONS_FROM else updated_after)
    page: Sequence[Value] = ids[skip : skip + top] if skip >= 0 and top >= 0 else []
    if not page:
        return Response(204, "No content")
    return _ok({"skip": Int32(skip + len(page)), "sessions-ids": Array(page)})


def _held_session(call: _Call) -> tuple[SessionQueue, SessionHold]:
    queue = call.peer.server.broker.session_queue(call.path)
    return queue, call.peer.hold_of(queue, call.field("session-id", str))


def _ok(body: Mapping[Value, Value]) -> Response:
    return Response(200, "OK", body)


_OPERATIONS: dict[str, Callable[[_Call], Response]] = {
    "renew-lock": _renew_lock,
    "update-disposition": _update_disposition,
    "receive-by-sequence-number": _receive_by_sequence_number,
    "peek-message": _peek_message,
    "schedule-message": _schedule_message,
    "cancel-scheduled-message": _cancel_scheduled_message,
    "renew-session-lock": _renew_session_lock,
    "get-session-state": _get_session_state,
    "set-session-state": _set_session_state,
    "get-message-sessions": _get_message_sessions,
}
