"""A PromptFlow flow and its runs."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from pydantic import JsonValue

from contracts.calls import JsonObject
from contracts.flows import FlowInfo, FlowRun
from flows.adapters.calls import ModelCalls
from flows.adapters.model_gateway import ModelGateway
from flows.adapters.once import Once
from flows.adapters.promptflow.definition import Definition
from flows.adapters.promptflow.sdk import prepare

if TYPE_CHECKING:  # it imports the SDK
    from flows.adapters.promptflow.executors import Executor

_left_behind: set[asyncio.Task[object]] = set()


class PromptFlow:
    """A loaded flow of either kind. Its executor is built by the first run and serves them all."""

    def __init__(self, definition: Definition, gateway: ModelGateway) -> None:
        self._definition = definition
        self._gateway = gateway
        self._executor: tuple[str, Once[Executor]] | None = None

    @property
    def info(self) -> FlowInfo:
        return self._definition.info

    async def run(self, input: JsonObject, run: FlowRun) -> JsonValue:
        calls = ModelCalls(self.info, run)
        return await calls.ended(self._run(input, calls), self._definition.folder)

    async def _run(self, input: JsonObject, calls: ModelCalls) -> object:
        executor = await self._built(await self._gateway.start())
        with self._gateway.admit(calls) as admission:
            running = asyncio.create_task(executor.run(input, admission))
            try:
                # PromptFlow does not bear being cancelled: it would block the event loop until its
                # threads end, and they may be waiting for the gateway. The run loses its key
                # instead, and ends by itself at its next call.
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                _left_behind.add(running)
                running.add_done_callback(_forget)
                raise

    async def _built(self, url: str) -> Executor:
        if self._executor is None or self._executor[0] != url:
            key = self._gateway.flow_key(self.info.name)
            build = partial(_build, self._definition, url, key)
            self._executor = url, Once(partial(asyncio.to_thread, build))
        return await self._executor[1].get()


def _build(definition: Definition, url: str, key: str) -> Executor:
    prepare()
    from flows.adapters.promptflow.executors import build

    return build(definition, url, key)


def _forget(task: asyncio.Task[object]) -> None:
    _left_behind.discard(task)
    if not task.cancelled():
        task.exception()
