"""Messages in hand: each runs through the function, its lock is renewed, and it is settled.

Nothing here touches the connection by itself: whoever owns the receiver calls `attend`, between
receiving and receiving. Ended calls are settled together, which is one write to disk for a broker
that groups them.
"""

from __future__ import annotations

import asyncio
import logging
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
_RENEW_BEFORE = timedelta(seconds=10)


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
    began: datetime
    renews: bool = True


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
        self._max_lock_renewal = max_lock_renewal
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
        self._calls.append(_Call(receiver, message, run, datetime.now(UTC)))

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
            if call.renews and not call.run.done():
                await self._renew(receiver, call)

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

    async def _renew(self, receiver: Receiver, call: _Call) -> None:
        now = datetime.now(UTC)
        if now - call.began >= self._max_lock_renewal:
            call.renews = False
            return
        until = _locked_until(receiver, call.message)
        if until is None or until - now > min(_RENEW_BEFORE, (until - call.began) / 2):
            return
        try:
            if receiver.session is not None:
                await receiver.session.renew_lock()
            else:
                await receiver.renew_message_lock(call.message)
        except _LOST:
            call.renews = False  # said when the call ends

    def _say_lost(self, call: _Call, reason: str) -> None:
        logger.warning(
            "%s: the lock of message %s was lost (%s); it may be delivered again",
            self._function,
            call.message.message_id,
            reason,
        )


def _locked_until(receiver: Receiver, message: ServiceBusReceivedMessage) -> datetime | None:
    if receiver.session is not None:
        return receiver.session.locked_until_utc
    return message.locked_until_utc
