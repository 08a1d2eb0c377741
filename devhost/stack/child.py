"""One process of the stack, from its start to the end of everything it started."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from devhost.stack.probes import Probe
from devhost.stack.processes import ask_to_end, kill_group, own_group

_POLL_SECONDS = 0.05
_TAIL_LINES = 12


class ChildFailed(Exception):
    """A child ended before it was ready, or was not ready in time; says why and where to look."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    name: str
    command: Sequence[str]
    ready: Probe
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside what the stack itself was started with."""
    ready_seconds: float = 180
    stop_seconds: float = 10
    """After SIGTERM; then SIGKILL."""


class Child:
    """Runs a spec's command, all output in one log file."""

    def __init__(self, spec: ChildSpec, folder: Path, log: Path) -> None:
        self.spec = spec
        self.log = log
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process; None when there is none."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process and running else None

    async def start(self) -> int:
        """Start the process; returns its pid. `wait_ready` says when it can be used.

        Raises OSError when there can be none now.
        """
        self._process = None
        with self.log.open("ab") as log:
            self._since = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                cwd=self._folder,
                env={**os.environ, **self.spec.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **own_group(),
            )
        return self._process.pid

    async def wait_ready(self) -> None:
        """Raises ChildFailed if it ends first, or takes too long and is killed."""
        try:
            async with asyncio.timeout(self.spec.ready_seconds):
                while not await self.spec.ready.passed(self.log, self._since):
                    if self.pid is None:
                        raise ChildFailed(self._report(f"ended ({await self.ended()})"))
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            await self.stop(grace_seconds=0)
            why = f"was not ready after {self.spec.ready_seconds:g} s"
            raise ChildFailed(self._report(why)) from None

    async def ended(self) -> str:
        """Wait for the end and make sure of it for the whole group; says how it ended."""
        if self._process is None:
            return "never started"
        code = await self._process.wait()
        kill_group(self._process.pid)
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    async def stop(self, grace_seconds: float | None = None) -> None:
        """SIGTERM, and SIGKILL for whatever of its group is left when the time is over."""
        if self.pid is None or self._process is None:
            return
        ask_to_end(self._process.pid)
        grace = self.spec.stop_seconds if grace_seconds is None else grace_seconds
        try:
            async with asyncio.timeout(grace):
                await self._process.wait()
        except TimeoutError:
            kill_group(self._process.pid)
        await self.ended()

    def _report(self, what: str) -> str:
        lines = self.log.read_bytes()[self._since :].decode(errors="replace").splitlines()
        tail = "".join(f"\n    {line}" for line in lines[-_TAIL_LINES:])
        return f"{self.spec.name} {what}; its log is {self.log}{tail}"
