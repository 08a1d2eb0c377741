"""Azure ML's rule: twice the concurrency is let in, half of it waits, the rest is refused."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.inference.gate import Full, Gate


async def crowd(gate: Gate, size: int) -> tuple[list[str], int]:
    """So many requests at once: what became of each, and how many ran at a time at most."""
    running = most = 0
    outcomes: list[str] = []

    async def one() -> None:
        nonlocal running, most
        try:
            async with gate.passing():
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                running -= 1
            outcomes.append("served")
        except Full:
            outcomes.append("refused")

    await asyncio.gather(*(one() for _ in range(size)))
    return outcomes, most


@given(concurrency=st.integers(1, 10), size=st.integers(0, 50))
def test_the_rule(concurrency, size):
    gate = Gate(concurrency)
    outcomes, most = asyncio.run(crowd(gate, size))

    assert outcomes.count("served") == min(size, 2 * concurrency)
    assert most == min(size, concurrency)
    assert gate.inside == 0


async def test_who_gives_up_waiting_makes_room():
    gate = Gate(1)
    async with gate.passing():
        waiting = asyncio.create_task(crowd(gate, 1))
        while gate.inside < 2:
            await asyncio.sleep(0)
        with pytest.raises(Full):
            async with gate.passing():
                pass
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert gate.inside == 1
