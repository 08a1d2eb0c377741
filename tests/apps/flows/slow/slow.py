import asyncio
from typing import TypedDict


class Slept(TypedDict):
    seconds: float


async def run(seconds: float) -> Slept:
    await asyncio.sleep(seconds)
    return Slept(seconds=seconds)
