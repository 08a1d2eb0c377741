"""Model servers in environments of their own: installed on first use, run for a test session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.calls import CallScope, JsonObject, ModelAnswer, ModelCall, Task
from devhost.setup.console import Stop
from devhost.setup.environments import PythonEnvironment
from devhost.setup.install import set_up_only
from devhost.setup.tools import Python
from devhost.stack.child import Child, ChildSpec
from endpoints import Endpoints
from endpoints.settings import Settings


def install(
    config: pytest.Config, environment: PythonEnvironment, python: Python | None = None
) -> None:
    """With its progress on the terminal. Skips the test where it cannot be had."""
    with skipped_where_missing(), _shown(config):
        set_up_only(environment, python)


@contextmanager
def skipped_where_missing() -> Iterator[None]:
    try:
        yield
    except Stop as stop:
        pytest.skip(str(stop).partition("\n")[0])  # which names the log with the rest


@asynccontextmanager
async def serving(spec: ChildSpec, folder: Path) -> AsyncIterator[None]:
    """The server, from when it is ready to the end of everything that it started."""
    child = Child(spec, folder, folder / f"{spec.name}.log")
    await child.start()
    try:
        await child.wait_ready()
        yield
    finally:
        await child.stop()


class Client:
    """Models behind the app's own router, each with one deployment."""

    def __init__(self, **models: JsonObject) -> None:
        settings = {
            name: {"deployments": [{"name": name, **fields}]} for name, fields in models.items()
        }
        self._endpoints = Endpoints(Settings.model_validate({"models": settings}))

    async def ask(
        self, model: str, payload: Any, task: Task = Task.SCORE, scope: CallScope | None = None
    ) -> ModelAnswer:
        return await self._endpoints.invoke(ModelCall(model, task, payload), scope or new_scope())

    async def aclose(self) -> None:
        await self._endpoints.aclose()


def new_scope() -> CallScope:
    return CallScope("job-1", "tenant-1")


@contextmanager
def _shown(config: pytest.Config) -> Iterator[None]:
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        yield
        return
    with capture.global_and_fixture_disabled():
        yield
