"""A call that takes long is made at a second deployment too, and the first answer counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from contracts.errors import (
    DeadlineExceeded,
    InvalidRequest,
    PayloadTooLarge,
    PersonalDataRefused,
)
from endpoints.deployment import Result

type Ask = Coroutine[None, None, Result]

_NOT_SENT = (DeadlineExceeded, InvalidRequest, PayloadTooLarge, PersonalDataRefused)
"""That one deployment cannot be asked is nothing to the other."""


async def hedged(first: Ask, after: float, second: Callable[[], Ask | None]) -> list[Result]:
    """What asking came to: an answer alone, or what each that was asked said instead.

    `second` is called when the first has not ended after so many seconds; None when there is
    nobody to ask. Who has not answered when another has is given up, which its attempt records.
    Raises what `Deployment.ask` does, but not for want of being sent while another was.
    """
    asks = {asyncio.create_task(first)}
    results: list[Result] = []
    not_sent: Exception | None = None
    try:
        done, _ = await asyncio.wait(asks, timeout=after)
        if not done and (other := second()) is not None:
            asks.add(asyncio.create_task(other))
        while asks:
            done, asks = await asyncio.wait(asks, return_when=asyncio.FIRST_COMPLETED)
            for ask in done:
                try:
                    results.append(ask.result())
                except _NOT_SENT as error:
                    not_sent = error
            answered = [result for result in results if result.verdict.outcome == "answered"]
            if answered:
                return answered[:1]
        if not results and not_sent is not None:
            raise not_sent
        return results
    finally:
        for ask in asks:
            ask.cancel()
        if asks:
            await asyncio.gather(*asks, return_exceptions=True)
