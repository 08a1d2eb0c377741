"""Calls that come at their own pace, however the ones before them fare.

Standard library alone: the peers' programs import it under their own interpreter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

ANSWERED = "answered"
BEGINS = "begins"
"""What a program prints when its first call is due."""

type Outcome = Callable[[], Awaitable[str]]
"""Makes one call: ANSWERED, or what it ended with instead."""


@dataclass(frozen=True, slots=True)
class Made:
    """One call; times as time.time() counts them."""

    began: float
    ended: float
    outcome: str


async def offer(call: Outcome, per_second: float, seconds: float) -> list[Made]:
    """Evenly spaced; returns when the last has ended. Those that are late are made at once."""
    made: list[Made] = []
    tasks: set[asyncio.Task[None]] = set()

    async def one() -> None:
        began = time.time()
        outcome = await call()
        made.append(Made(began, time.time(), outcome))

    start = time.perf_counter()
    for number in range(int(per_second * seconds)):
        if (ahead := start + number / per_second - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        task = asyncio.create_task(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return made
