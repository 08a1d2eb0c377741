"""Carries work items of one kind: so many at a time, each answered or handed back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import grpc

logger = logging.getLogger("sluice.functions_host")

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_DELIVERY_TRIES = 30


class Answer(Protocol):
    """What ends a work item. The hub knows the item by the token."""

    completionToken: str  # noqa: N815 - the field's name in the service's messages


@dataclass(frozen=True, slots=True)
class LaneCalls[Request, Reply: Answer]:
    """What a lane does with an item."""

    run: Callable[[Request], Awaitable[Reply]]
    complete: Callable[[Reply], Awaitable[object]]
    hand_back: Callable[[str], Awaitable[object]]
    """Takes the item's token."""


class Lane[Request, Reply: Answer]:
    """Runs at most `limit` items at the same time; the others wait here, in order."""

    def __init__(self, name: str, limit: int, calls: LaneCalls[Request, Reply]) -> None:
        self._name = name
        self._calls = calls
        self._slots = asyncio.Semaphore(limit)
        self._waiting: set[asyncio.Task[None]] = set()
        self._tokens: dict[asyncio.Task[None], str] = {}

    @property
    def in_hand(self) -> int:
        return len(self._tokens)

    def submit(self, token: str, request: Request) -> None:
        task = asyncio.create_task(self._carry(token, request))
        self._tokens[task] = token
        self._waiting.add(task)
        task.add_done_callback(self._ended)

    async def drain(self, grace: float) -> None:
        """Hand back what has not begun, wait `grace` seconds for the rest, hand back what is left.

        Nothing may be submitted any more.
        """
        held = dict(self._tokens)
        for task in self._waiting:
            task.cancel()
        if held:
            _, left = await asyncio.wait(held, timeout=grace)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        unanswered = [token for task, token in held.items() if task.cancelled()]
        await asyncio.gather(*(self._hand_back(token) for token in unanswered))

    async def _carry(self, token: str, request: Request) -> None:
        async with self._slots:
            self._waiting.discard(_this_task())
            reply = await self._calls.run(request)
        reply.completionToken = token
        await self._deliver(reply)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        del self._tokens[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("An item of %s could not be carried", self._name, exc_info=error)

    async def _deliver(self, reply: Reply) -> None:
        """Give the answer to the hub. While the hub is away, keep trying for about a minute."""
        pause = _FIRST_PAUSE_SECONDS
        for tries_left in reversed(range(_DELIVERY_TRIES)):
            try:
                await self._calls.complete(reply)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or not tries_left:
                    # Not answered, so the hub gives the item out again.
                    logger.error("The hub refused an answer of %s: %s", self._name, error.details())
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                return

    async def _hand_back(self, token: str) -> None:
        try:
            await self._calls.hand_back(token)
        except grpc.aio.AioRpcError as error:
            logger.warning("Could not hand back work of %s: %s", self._name, error.code().name)


def _this_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task
