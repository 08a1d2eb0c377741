"""Wakes the hub when something is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from devhost.task_hub.durable.hub import Hub

LONGEST_SLEEP_SECONDS = 0.5
"""Between looks at the wall clock, which may have jumped."""


class Ticker:
    """Ticks at the earliest alarm, and sooner when an earlier one is set. Needs a running loop."""

    def __init__(self, hub: Hub, on_error: Callable[[Exception], None]) -> None:
        self._hub = hub
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_soon(self._tick)
        hub.on_earlier_alarm(self._plan)

    def stop(self) -> None:
        """Let nothing more become due."""
        self._hub.on_earlier_alarm(lambda: None)
        self._next.cancel()

    def _tick(self) -> None:
        try:
            self._hub.tick()
        except Exception as error:  # noqa: BLE001  it ends the hub
            self._on_error(error)
        self._plan()

    def _plan(self) -> None:
        self._next.cancel()
        wait = self._hub.seconds_to_next()
        sleep = LONGEST_SLEEP_SECONDS if wait is None else min(wait, LONGEST_SLEEP_SECONDS)
        self._next = self._loop.call_later(sleep, self._tick)
