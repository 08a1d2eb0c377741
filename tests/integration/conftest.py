"""What the integration tests run against: one local stack for the whole session."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from devhost.stack.running import Stack
from devhost.stack.running import stack as running_stack


@pytest.fixture(scope="session")
async def stack() -> AsyncIterator[Stack]:
    """The whole stack: `.http`, `.api_key`, `.blob`, `.endpoints`, `.endpoint_keys`, `.pids`."""
    async with running_stack() as running:
        yield running
