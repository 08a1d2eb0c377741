"""The SDK leaves the sockets of connections that broke to the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest


@pytest.fixture(autouse=True)
async def _collect_what_the_sdk_leaves() -> AsyncIterator[None]:
    yield
    await asyncio.sleep(0)
    gc.collect()
