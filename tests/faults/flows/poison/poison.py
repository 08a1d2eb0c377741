import os
from typing import TypedDict


class Never(TypedDict):
    text: str


async def run(text: str) -> Never:
    os._exit(9)
