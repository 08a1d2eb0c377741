"""Starts the children in order, keeps each running, and ends them in the reverse order."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from devhost.stack.child import Child, ChildFailed
from devhost.stack.processes import own_group

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
STEADY_SECONDS = 30.0
"""Running for so long, a child is taken to be well, and the next delay is the first again."""


class Supervisor:
    """Children in layers: those of one layer start and end together, layers one by one.

    `say` is told in one line what happens to a child; `changed` is called when a pid is another.
    """

    def __init__(
        self,
        layers: Sequence[Sequence[Child]],
        root: Path,
        say: Callable[[str], None],
        changed: Callable[[], None],
        longest_delay_seconds: float = LONGEST_DELAY_SECONDS,
    ) -> None:
        self._layers = [list(layer) for layer in layers]
        self._root = root
        self._say = say
        self._changed = changed
        self._longest_delay = longest_delay_seconds
        self._keepers: list[asyncio.Task[None]] = []
        self._guardian: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> dict[str, int]:
        """Of the children that run now."""
        children = [child for layer in self._layers for child in layer]
        return {child.spec.name: child.pid for child in children if child.pid is not None}

    async def start(self) -> None:
        """Returns when all are ready. Raises ChildFailed when one is not; then all are ended."""
        self._guardian = _guardian(self._root)
        try:
            for layer in self._layers:
                await self._start_layer(layer)
        except BaseException:
            await self.stop()
            raise

    async def stop(self, grace_seconds: float | None = None) -> None:
        """End all, each within its own time, or at most `grace_seconds` each."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers.clear()
        for layer in reversed(self._layers):
            await asyncio.gather(*(child.stop(grace_seconds) for child in layer))
        if self._guardian is not None:
            self._guardian.kill()  # nothing is left to guard
            self._guardian.communicate()
            self._guardian = None

    async def _start_layer(self, layer: list[Child]) -> None:
        for child in layer:
            self._watch("+", await child.start())
        try:
            async with asyncio.TaskGroup() as group:
                for child in layer:
                    group.create_task(child.wait_ready())
        except* ChildFailed as failures:
            raise failures.exceptions[0] from None
        self._keepers += [asyncio.create_task(self._keep(child)) for child in layer]

    async def _keep(self, child: Child) -> None:
        delay = FIRST_DELAY_SECONDS
        while True:
            began = time.monotonic()
            pid = child.pid
            how = await child.ended()
            self._watch("-", pid)
            if time.monotonic() - began > STEADY_SECONDS:
                delay = FIRST_DELAY_SECONDS
            self._say(f"{child.spec.name} ended ({how}); starting it again in {delay:g} s")
            await asyncio.sleep(delay)
            delay = min(2 * delay, self._longest_delay)
            await self._start_again(child)

    async def _start_again(self, child: Child) -> None:
        """Whatever fails in it, for want of disk for one, is said: the child is kept all the same.

        What could not start has ended, and so is started again.
        """
        try:
            self._watch("+", await child.start())
            await child.wait_ready()
            self._say(f"{child.spec.name} runs again (pid {child.pid})")
        except ChildFailed as failure:
            self._say(str(failure))
        except OSError as error:
            self._say(f"{child.spec.name} could not be started: {error}")
        try:
            self._changed()
        except OSError as error:
            self._say(f"The new process ids could not be noted: {error}")

    def _watch(self, sign: str, pid: int | None) -> None:
        if self._guardian is not None and self._guardian.stdin is not None and pid is not None:
            self._guardian.stdin.write(f"{sign}{pid}\n".encode())
            self._guardian.stdin.flush()


def _guardian(root: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-S", "-m", "devhost.stack.guardian"]
    return subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, **own_group())
