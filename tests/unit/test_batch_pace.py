"""Lines begin one in a turn of the event loop, in the order in which they came."""

from __future__ import annotations

import asyncio

from batches.pace import Pace


async def test_each_has_a_turn_in_order_and_others_come_in_between():
    pace, seen = Pace(), []

    async def line(number: int) -> None:
        await pace.turn()
        seen.append(number)

    async def other() -> None:
        while len(seen) < 5:
            seen_before = len(seen)
            await asyncio.sleep(0)
            assert len(seen) - seen_before <= 1

    await asyncio.gather(*(line(number) for number in range(5)), other())
    assert seen == [0, 1, 2, 3, 4]


async def test_who_gives_up_holds_up_nobody():
    pace = Pace()
    first, second = (asyncio.create_task(pace.turn()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait_for(second, 30)
    assert first.cancelled() or first.done()
    await asyncio.wait_for(pace.turn(), 30)


def test_a_loop_that_ended_while_some_waited_holds_up_no_other():
    pace = Pace()

    async def given_up() -> None:
        waiting = asyncio.create_task(pace.turn())
        await asyncio.sleep(0)  # its turn is to come in the next turn of the loop
        waiting.cancel()

    asyncio.run(given_up())
    pace._going = True  # as where the loop was closed before it came

    async def another() -> None:
        await asyncio.wait_for(pace.turn(), 30)

    asyncio.run(another())
