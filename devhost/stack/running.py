"""`stack(...)`: the whole local stack, or parts of it, for the length of a block."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from devhost.setup.environments import ROOT
from devhost.stack.child import Child, ChildFailed
from devhost.stack.plan import CannotStart, Options, Plan, make_plan
from devhost.stack.state import StateFolder, StateInUse, locked
from devhost.stack.supervisor import LONGEST_DELAY_SECONDS, Supervisor

logger = logging.getLogger("sluice.stack")


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that runs. Addresses are None for parts that were left out."""

    state: Path
    api_key: str
    _plan: Plan
    _supervisor: Supervisor

    @property
    def http(self) -> str:
        """Base URL of the Functions host. Raises LookupError without one."""
        if self._plan.http is None:
            raise LookupError("this stack was started without its host")
        return self._plan.http

    @property
    def blob(self) -> str:
        """Connection string of the storage account. Raises LookupError without one."""
        if self._plan.blob is None:
            raise LookupError("this stack was started without azurite")
        return self._plan.blob

    @property
    def service_bus(self) -> str:
        """Connection string of the namespace. Raises LookupError without one."""
        if self._plan.service_bus is None:
            raise LookupError("this stack was started without service_bus")
        return self._plan.service_bus

    @property
    def endpoints(self) -> dict[str, str]:
        """Scoring URLs by endpoint name, and for chat the OpenAI base URL."""
        return self._plan.endpoints

    @property
    def endpoint_keys(self) -> dict[str, str]:
        return self._plan.endpoint_keys

    @property
    def environment(self) -> dict[str, str]:
        """The app settings that the host is given."""
        return self._plan.environment

    @property
    def pids(self) -> dict[str, int]:
        """Of the processes that run now; a restarted one has another."""
        return self._supervisor.pids

    def log(self, name: str) -> Path:
        return StateFolder(self.state).log(name)


@asynccontextmanager
async def stack(
    options: Options | None = None,
    *,
    state: Path | None = None,
    fresh: bool = False,
    say: Callable[[str], None] = logger.info,
    longest_delay_seconds: float = LONGEST_DELAY_SECONDS,
) -> AsyncIterator[Stack]:
    """Start a stack, ready when the block begins, ended when it ends.

    A part that dies is started again after a delay that grows up to `longest_delay_seconds`.

    Without `state` it lives in a temporary folder. Raises CannotStart, in one line.
    """
    with ExitStack() as context:
        if state is None:
            state = Path(context.enter_context(tempfile.TemporaryDirectory(prefix="sluice-")))
        try:
            folder = context.enter_context(locked(state.resolve()))
        except StateInUse as error:
            raise CannotStart(str(error)) from error
        folder.prepare(fresh=fresh)
        plan = make_plan(options or Options(), folder)
        layers = [
            [Child(spec, ROOT, folder.log(spec.name)) for spec in layer]
            for layer in (plan.first, plan.host)
        ]

        def write() -> None:
            folder.write_stack(_facts(plan, folder.api_key(), supervisor.pids))

        supervisor = Supervisor(layers, ROOT, say, write, longest_delay_seconds)
        try:
            await supervisor.start()
        except ChildFailed as error:
            raise CannotStart(str(error)) from error
        try:
            write()
            yield Stack(folder.path, folder.api_key(), plan, supervisor)
        finally:
            await supervisor.stop()
            folder.stack_file.unlink(missing_ok=True)


def _facts(plan: Plan, api_key: str, pids: dict[str, int]) -> dict[str, JsonValue]:
    """What stack.json says."""
    return {
        "http": plan.http,
        "service_bus": plan.service_bus,
        "blob": plan.blob,
        "api_key": api_key,
        "endpoints": dict(plan.endpoints),
        "endpoint_keys": dict(plan.endpoint_keys),
        "pids": dict(pids),
    }
