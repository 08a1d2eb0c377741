"""Queues of Service Bus as an operator looks into them: what waits, and one message at a time.

Looking takes nothing: messages are peeked at. A single message can only be had by receiving those
before it too, since Service Bus gives messages out in their order; they are given back at once,
and each counts one delivery more.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from contracts.errors import Conflict, DependencyUnavailable, NotFound
from contracts.queues import Property
from stores.queues import Namespace

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver

_log = logging.getLogger("sluice.stores")

MOST_COUNTED = 500
"""A queue that holds more is said to hold more: counting needs a right to manage it."""
MOST_COUNTED_BYTES = 8_000_000
"""A peek brings whole messages."""
PEEKED_AT_ONCE = 100
MOST_PASSED = 200
"""Messages before the one that is wanted."""
PURGED_AT_ONCE = 100
RECEIVE_SECONDS = 3.0
"""How long to wait for a message that is there, unless somebody else holds it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A queue, or its dead letters."""

    queue: str
    dead_letters: bool = False

    def __str__(self) -> str:
        return f"{self.queue}/dead-letters" if self.dead_letters else self.queue


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """A message that waits; it has what the worker's own messages tell a door."""

    sequence_number: int
    message_id: str
    """Empty where the producer has given it none."""
    enqueued_time_utc: datetime | None
    state: Literal["active", "deferred", "scheduled"]
    delivery_count: int
    content_type: str | None
    correlation_id: str | None
    session_id: str | None
    reply_to: str | None
    reply_to_session_id: str | None
    dead_letter_reason: str | None
    dead_letter_description: str | None
    application_properties: Mapping[str, Property]
    body: bytes

    def get_body(self) -> bytes:
        return self.body


@dataclass(frozen=True, slots=True)
class Count:
    """How many messages were seen, and whether there are more."""

    messages: int
    more: bool
    oldest_enqueued_at: datetime | None


class Inspection:
    """Looks into the queues of one namespace.

    Methods raise NotFound when there is no such queue or message, and DependencyUnavailable when
    Service Bus cannot be used.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._client: ServiceBusClient | None = None

    async def count(self, place: Place) -> Count:
        """Up to MOST_COUNTED messages, or MOST_COUNTED_BYTES of them."""
        messages, size, after = 0, 0, 0
        oldest: datetime | None = None
        with _told(place):
            async with self._looking(place) as receiver:
                while messages < MOST_COUNTED and size < MOST_COUNTED_BYTES:
                    page = await _peek(receiver, after + 1, PEEKED_AT_ONCE)
                    if not page:
                        return Count(messages, more=False, oldest_enqueued_at=oldest)
                    messages += len(page)
                    size += sum(len(each.body) for each in page)
                    times = [each.enqueued_time_utc for each in page if each.enqueued_time_utc]
                    oldest = min(times + ([oldest] if oldest else []), default=None)
                    after = page[-1].sequence_number
                more = bool(await _peek(receiver, after + 1, 1))
        return Count(messages, more, oldest)

    async def page(self, place: Place, begin: int, most: int) -> list[KeptMessage]:
        """Up to `most` messages, from this sequence number on."""
        found: list[KeptMessage] = []
        with _told(place):
            async with self._looking(place) as receiver:
                while len(found) < most:
                    page = await _peek(receiver, begin, most - len(found))
                    if not page:
                        break
                    found += page
                    begin = page[-1].sequence_number + 1
        return found

    @asynccontextmanager
    async def taken(self, place: Place, sequence: int) -> AsyncIterator[KeptMessage]:
        """One message, held: it is removed at the end, and stays where it is after an exception.

        Raises Conflict when it cannot be had now.
        """
        await self._check_there(place, sequence)
        async with AsyncExitStack() as opened:
            # Not all of it in `_told`: what is done with the message has errors of its own.
            with _told(place):
                receiver = await opened.enter_async_context(self._receiving(place))
                found = await _find(receiver, sequence)
            if found is None:
                raise Conflict(
                    f"Message {sequence} of {place} cannot be had now: somebody holds it, it is"
                    f" deferred or scheduled, or more than {MOST_PASSED} are before it. Try again"
                    " in a minute, or begin with the first."
                )
            try:
                yield _kept(found)
            except BaseException:
                await _give_back(receiver, [found])
                raise
            with _told(place):
                await receiver.complete_message(found)

    async def purge(self, place: Place, most: int) -> tuple[int, bool]:
        """Delete up to `most` messages, oldest first: how many, and whether there are more."""
        from azure.servicebus import ServiceBusReceiveMode

        purged = 0
        with _told(place):
            options = {"receive_mode": ServiceBusReceiveMode.RECEIVE_AND_DELETE}
            async with self._receiving(place, **options) as receiver:
                # Looked for first: a receive that finds nothing takes its whole time.
                while purged < most and await _peek(receiver, 1, 1):
                    wanted = min(PURGED_AT_ONCE, most - purged)
                    gone = await receiver.receive_messages(wanted, max_wait_time=RECEIVE_SECONDS)
                    if not gone:  # others hold what is there
                        break
                    purged += len(gone)
                more = bool(await _peek(receiver, 1, 1))
        return purged, more

    async def aclose(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _check_there(self, place: Place, sequence: int) -> None:
        """Before anything is received: what is before a message should not pay for a mistake."""
        found = await self.page(place, sequence, 1)
        if not found or found[0].sequence_number != sequence:
            raise NotFound(f"There is no message {sequence} in {place}.")

    def _looking(self, place: Place) -> ServiceBusReceiver:
        # A receiver that prefetches nothing starts a keep-alive, whose end takes a second. This
        # one would prefetch, if it were ever to receive.
        return self._receiving(place, prefetch_count=1, keep_alive=0)

    def _receiving(self, place: Place, **options: Any) -> ServiceBusReceiver:
        from azure.servicebus import ServiceBusSubQueue

        if self._client is None:
            self._client = self._namespace.open()
        part = ServiceBusSubQueue.DEAD_LETTER if place.dead_letters else None
        return self._client.get_queue_receiver(place.queue, sub_queue=part, **options)


async def _peek(receiver: ServiceBusReceiver, begin: int, most: int) -> list[KeptMessage]:
    return [_kept(each) for each in await receiver.peek_messages(most, sequence_number=begin)]


async def _find(receiver: ServiceBusReceiver, sequence: int) -> ServiceBusReceivedMessage | None:
    """The message, held; those before it are given back."""
    passed: list[ServiceBusReceivedMessage] = []
    try:
        while len(passed) <= MOST_PASSED:
            # One at a time: each that is received counts a delivery.
            received = await receiver.receive_messages(1, max_wait_time=RECEIVE_SECONDS)
            if not received:
                break
            if received[0].sequence_number == sequence:
                return received[0]
            passed += received
        return None
    finally:
        await _give_back(receiver, passed)


async def _give_back(
    receiver: ServiceBusReceiver, messages: list[ServiceBusReceivedMessage]
) -> None:
    from azure.servicebus.exceptions import ServiceBusError

    for each in messages:
        with suppress(ServiceBusError, ValueError, OSError):  # else its lock runs out
            await receiver.abandon_message(each)


@contextmanager
def _told(place: Place) -> Iterator[None]:
    """Errors of the SDK as the app's own."""
    from azure.servicebus.exceptions import MessagingEntityNotFoundError, ServiceBusError

    try:
        yield
    except MessagingEntityNotFoundError as error:
        raise NotFound(f"There is no queue {place.queue} in the namespace.") from error
    except (ServiceBusError, ValueError, OSError) as error:
        _log.warning("queue %s: %s", place, type(error).__name__)
        raise DependencyUnavailable(
            f"Service Bus does not let {place} be looked into now ({type(error).__name__})."
        ) from error


def _kept(message: ServiceBusReceivedMessage) -> KeptMessage:
    enqueued = message.enqueued_time_utc
    return KeptMessage(
        sequence_number=message.sequence_number or 0,
        message_id=message.message_id or "",
        enqueued_time_utc=None if enqueued is None else enqueued.astimezone(UTC),
        state=cast(Any, message.state.name.lower()),
        delivery_count=message.delivery_count or 0,
        content_type=message.content_type,
        correlation_id=message.correlation_id,
        session_id=message.session_id,
        reply_to=message.reply_to,
        reply_to_session_id=message.reply_to_session_id,
        dead_letter_reason=message.dead_letter_reason,
        dead_letter_description=message.dead_letter_error_description,
        application_properties={
            _text(name): _property(value)
            for name, value in (message.application_properties or {}).items()
            if _text(name) not in _OF_DEAD_LETTERS
        },
        body=_body(message),
    )


_OF_DEAD_LETTERS = frozenset({"DeadLetterReason", "DeadLetterErrorDescription"})
"""Shown as fields of their own."""


def _body(message: ServiceBusReceivedMessage) -> bytes:
    """Its data; a message of another kind (an AMQP value) as its text."""
    body: Any = message.body
    if isinstance(body, str | bytes):
        return body.encode() if isinstance(body, str) else body
    try:
        return b"".join(body)
    except TypeError:
        return str(message).encode()


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _property(value: Any) -> Property:
    return value if isinstance(value, int | float | bool) or value is None else _text(value)
