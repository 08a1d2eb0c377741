"""One model call, over and over: what is asked, and what the times come to.

Standard library alone: the peers' programs import it under their own interpreter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

MODEL = "simulated"
TEXT = "Say something nice. " * 10
PAYLOAD: dict[str, Any] = {"messages": [{"role": "user", "content": TEXT}], "max_tokens": 64}
ANSWER_TOKENS = 54
"""Of the simulated deployment's answer: whoever counts usage must have found them."""

type Metrics = dict[str, float]

type Call = Callable[[], Awaitable[object]]
"""Makes one call, and raises unless it was answered as expected."""

type Take = Callable[[int, float], Awaitable[Metrics]]
"""A system's turn: so many calls at once, for so many seconds."""


@dataclass(slots=True)
class Turn:
    """How long each call took, in seconds, and how long the turn."""

    calls: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def metrics(self) -> Metrics:
        ordered = sorted(self.calls)
        last = len(ordered) - 1

        def percentile(percent: int) -> float:
            return ordered[min(last, len(ordered) * percent // 100)] * 1000

        return {
            "per_s": len(ordered) / self.seconds,
            "p50_ms": percentile(50),
            "p95_ms": percentile(95),
            "p99_ms": percentile(99),
        }


async def take_turn(call: Call, concurrent: int, seconds: float) -> Metrics:
    """Callers who each make the next call when they have the answer to the last one.

    A first call of each, which may have to open a connection, is not counted.
    """
    await asyncio.gather(*(call() for _ in range(concurrent)))
    turn = Turn()
    began = time.perf_counter()

    async def caller() -> None:
        while (start := time.perf_counter()) - began < seconds:
            await call()
            turn.calls.append(time.perf_counter() - start)

    await asyncio.gather(*(caller() for _ in range(concurrent)))
    turn.seconds = time.perf_counter() - began
    return turn.metrics()
