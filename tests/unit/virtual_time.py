"""A loop whose clock jumps to the next timer: hours pass at once, and exactly."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Jumping(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everything waits, and for nothing"
        self.now += timeout
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_in_virtual_time[T](main: Coroutine[Any, Any, T]) -> T:
    """Seconds are counted from 0 by the loop's own clock, asyncio.get_running_loop().time()."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)
