"""Keeps one receiver open and carries its messages; opened again whenever it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from azure.servicebus.aio import ServiceBusReceiver
from azure.servicebus.exceptions import (
    OperationTimeoutError,
    ServiceBusError,
    SessionLockLostError,
)

from devhost.functions_host.service_bus_calls import Calls

logger = logging.getLogger("sluice.functions_host")

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_BREATH_SECONDS = 0.05
_SOUND_SECONDS = 10.0
"""A link that held for so long was sound: the next outage begins with the first pause."""
_CLOSE_SECONDS = 1.0
_QUIET_WAIT_SECONDS = 0.25
"""How long a receiver waits for a message while nothing runs: a stop is seen after it."""
_BUSY_WAIT_SECONDS = 0.05
"""While calls run: an ended call is settled after it."""


async def carry(
    receiver: ServiceBusReceiver, calls: Calls, stop: asyncio.Event, idle: float | None = None
) -> None:
    """Call the function for each message until told to stop, and settle what was begun.

    With `idle`, return after so many seconds without a message. Raises what the SDK raises.

    Receiving takes turns with settling and renewing, since the SDK's link is not made for all of
    them at once.
    """
    last = time.monotonic()
    ask = 1
    while calls.in_hand or not stop.is_set():
        await calls.attend(receiver)
        if calls.in_hand and (stop.is_set() or not calls.places):
            await calls.wait(_BUSY_WAIT_SECONDS)
        elif not stop.is_set():
            ask = await _receive(receiver, calls, stop, min(ask, calls.places))
        if calls.in_hand:
            last = time.monotonic()
        elif idle is not None and time.monotonic() - last >= idle:
            return


async def _receive(
    receiver: ServiceBusReceiver, calls: Calls, stop: asyncio.Event, ask: int
) -> int:
    """Begin a call for each message that comes, `ask` at most. How many to ask for next.

    The SDK returns one message at once, but of several it waits 0.2 s for a next one that does
    not come. So ask for one, and for more and more only as long as all come that were asked for.
    """
    wait = _BUSY_WAIT_SECONDS if calls.in_hand else _QUIET_WAIT_SECONDS
    messages = await receiver.receive_messages(ask, max_wait_time=wait)
    for message in messages:
        if stop.is_set():
            await receiver.abandon_message(message)
        else:
            calls.begin(receiver, message)
    return 2 * ask if len(messages) == ask else 1


@dataclass(frozen=True, slots=True)
class Source:
    """Where messages come from."""

    name: str
    open: Callable[[], ServiceBusReceiver]
    """A new receiver, not connected yet."""
    turn: asyncio.Lock | None = None
    """For sessions: only one receiver at a time waits for the next free session."""
    idle: float | None = None
    """For sessions: one without a message for so many seconds is left for another."""

    @property
    def has_sessions(self) -> bool:
        return self.turn is not None


class Keeper:
    """One receiver of a source at a time, for as long as the host runs."""

    def __init__(self, source: Source, calls: Calls, stop: asyncio.Event) -> None:
        self._source = source
        self._calls = calls
        self._stop = stop
        self._outage = Outage(source.name)
        self._carrying = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name=f"messages of {self._source.name}")

    async def end(self, grace: float, last: float) -> None:
        """Once the stop event is set: calls get `grace` seconds, then `last` to be handed back."""
        if self._task is None:
            return  # the host was stopped before it began
        if not self._carrying and not self._calls.in_hand:
            self._task.cancel()
        await asyncio.wait({self._task}, timeout=grace)
        self._calls.cancel()
        await asyncio.wait({self._task}, timeout=last)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        while self._calls.in_hand or not self._stop.is_set():
            receiver = self._source.open()
            try:
                await self._open(receiver)
                self._carrying = True
                self._outage.over()
                await carry(receiver, self._calls, self._stop, self._source.idle)
            except SessionLockLostError:
                logger.warning("The lock of a session of %s was lost", self._source.name)
            except OperationTimeoutError as error:
                if not self._source.has_sessions:  # of those, none was free
                    self._outage.begin(error)
            except Exception as error:  # noqa: BLE001 - whatever the SDK raises, the pump goes on
                self._outage.begin(error)
            finally:
                self._carrying = False
                await _close(receiver)
            if self._source.has_sessions:
                await self._calls.give_up()  # another receiver cannot settle a session's messages
            await self._pause()

    async def _pause(self) -> None:
        """Until the next attempt. A stop cuts it short, not to nothing: calls may be in hand."""
        seconds = self._outage.pause_seconds
        if self._stop.is_set():
            await asyncio.sleep(min(seconds, _FIRST_PAUSE_SECONDS))
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _open(self, receiver: ServiceBusReceiver) -> None:
        if self._source.turn is None:
            await receiver.__aenter__()
            return
        async with self._source.turn:
            await receiver.__aenter__()


class Outage:
    """Says once that the broker is away and once that it is back; pauses longer and longer."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._seconds = 0.0
        self._said = False
        self._opened = -_SOUND_SECONDS

    def begin(self, error: Exception) -> None:
        if not self._said and self._clock() - self._opened >= _SOUND_SECONDS:
            self._seconds = 0.0
        self._seconds = min(max(2 * self._seconds, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        if self._said:
            return
        self._said = True
        expected = isinstance(error, ServiceBusError | OSError)
        logger.warning(
            "Cannot receive from %s (%s): trying on",
            self._name,
            type(error).__name__,
            exc_info=None if expected else error,
        )

    def over(self) -> None:
        if self._said:
            logger.info("Receiving from %s again", self._name)
        self._said = False
        self._opened = self._clock()

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next attempt; a little even without an outage."""
        return self._seconds if self._said else _BREATH_SECONDS


async def _close(receiver: ServiceBusReceiver) -> None:
    """Hand back what was taken ahead and leave; a broken connection has nothing to close."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await receiver.close()
    except Exception as error:  # noqa: BLE001 - the SDK lets its transport's errors through
        logger.debug("A receiver did not close: %s", type(error).__name__)
