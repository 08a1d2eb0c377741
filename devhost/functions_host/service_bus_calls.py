"""Messages in hand: each runs through the function, its lock is renewed, and it is settled.

Nothing here touches the connection by itself: whoever owns the receiver calls `attend`, between
receiving and receiving. Ended calls are settled together, which is one write to disk for a broker
that groups them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusSession
from azure.servicebus.exceptions import (
    MessageAlreadySettled,
    MessageLockLostError,
    MessageNotFoundError,
    SessionLockLostError,
)

from devhost.functions_host.service_bus_message import delivery_count

logger = logging.getLogger("sluice.functions_host")

_LOST = (MessageLockLostError, SessionLockLostError, MessageNotFoundError, MessageAlreadySettled)
_RENEW_BEFORE_SECONDS = 10.0


class Receiver(Protocol):
    """The part of the SDK's receiver that settles."""

    @property
    def session(self) -> ServiceBusSession | None: ...

    async def complete_message(self, message: ServiceBusReceivedMessage) -> None: ...

    async def abandon_message(self, message: ServiceBusReceivedMessage) -> None: ...

    async def renew_message_lock(self, message: ServiceBusReceivedMessage) -> datetime: ...


@dataclass(slots=True)
class _Call:
    receiver: Receiver
    """The one that it came by."""
    message: ServiceBusReceivedMessage
    run: asyncio.Task[bool]
    began: float
    held_until: float | None
    """When the lock runs out; None when it has none that is to be renewed."""


class Calls:
    """The calls of one function for the messages of one receiver."""

    def __init__(
        self,
        function: str,
        run: Callable[[ServiceBusReceivedMessage], Awaitable[object]],
        limit: int,
        *,
        auto_complete: bool,
        max_lock_renewal: timedelta,
    ) -> None:
        self._function = function
        self._run = run
        self._limit = limit
        self._auto_complete = auto_complete
        self._longest_renewal = max_lock_renewal.total_seconds()
        self._calls: list[_Call] = []

    @property
    def in_hand(self) -> int:
        """How many are not settled yet."""
        return len(self._calls)

    @property
    def places(self) -> int:
        """How many more may begin."""
        return self._limit - len(self._calls)

    def begin(self, receiver: Receiver, message: ServiceBusReceivedMessage) -> None:
        run = asyncio.create_task(self._carry(message))
        until = _held_until(receiver, message)
        self._calls.append(_Call(receiver, message, run, time.monotonic(), until))

    async def wait(self, seconds: float) -> None:
        """Return when a call has ended, or after so long."""
        runs = [call.run for call in self._calls]
        await asyncio.wait(runs, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    async def attend(self, receiver: Receiver) -> None:
        """Settle what has ended and renew the locks that run out soon.

        Raises what the SDK raises when the connection is lost: then the calls stay in hand, for
        another receiver of the same entity, which can settle them as long as their locks last.
        """
        while ended := [call for call in self._calls if call.run.done()]:
            await self._settle_all(receiver, ended)
        for call in self._calls:
            if call.held_until is not None and not call.run.done():
                await self._renew(receiver, call, call.held_until)

    def cancel(self) -> None:
        """End the calls that run: they count as failed."""
        for call in self._calls:
            call.run.cancel()

    async def give_up(self) -> None:
        """Let the calls end, unsettled: their locks are lost."""
        for call in self._calls:
            self._say_lost(call, "its connection ended")
        if self._calls:
            await asyncio.wait([call.run for call in self._calls])
        self._calls.clear()

    async def _carry(self, message: ServiceBusReceivedMessage) -> bool:
        try:
            await self._run(message)
        except Exception:
            logger.exception(
                "%s raised on message %s, delivery %d",
                self._function,
                message.message_id,
                delivery_count(message),
            )
            return False
        return True

    async def _settle_all(self, receiver: Receiver, ended: list[_Call]) -> None:
        """Together, except what came over a link that broke: it is settled by requests, and the
        SDK cannot have two of those open."""
        settled = await asyncio.gather(
            *(self._settle(receiver, call) for call in ended if call.receiver is receiver),
            return_exceptions=True,
        )
        for failure in settled:
            if failure is not None:
                raise failure
        for call in ended:
            if call.receiver is not receiver:
                await self._settle(receiver, call)

    async def _settle(self, receiver: Receiver, call: _Call) -> None:
        succeeded = not call.run.cancelled() and call.run.result()
        try:
            if not succeeded:
                await receiver.abandon_message(call.message)
            elif self._auto_complete:
                await receiver.complete_message(call.message)
        except _LOST as error:
            self._say_lost(call, type(error).__name__)
        self._calls.remove(call)

    async def _renew(self, receiver: Receiver, call: _Call, until: float) -> None:
        now = time.monotonic()
        if now - call.began >= self._longest_renewal:
            call.held_until = None
            return
        if until - now > min(_RENEW_BEFORE_SECONDS, (until - call.began) / 2):
            return
        try:
            if receiver.session is not None:
                await receiver.session.renew_lock()
            else:
                await receiver.renew_message_lock(call.message)
            call.held_until = _held_until(receiver, call.message)
        except _LOST:
            call.held_until = None  # said when the call ends

    def _say_lost(self, call: _Call, reason: str) -> None:
        logger.warning(
            "%s: the lock of message %s was lost (%s); it may be delivered again",
            self._function,
            call.message.message_id,
            reason,
        )


def _held_until(receiver: Receiver, message: ServiceBusReceivedMessage) -> float | None:
    """When a lock that was given just now runs out, by a clock that does not jump."""
    lock = message if receiver.session is None else receiver.session
    until = lock.locked_until_utc
    if until is None:
        return None
    return time.monotonic() + (until - datetime.now(UTC)).total_seconds()
