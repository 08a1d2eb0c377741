"""Calls a function of the app the way the Functions worker does."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import cast

from devhost.functions_host.app_loader import AppFunction, Binding
from devhost.functions_host.invocation import InvocationContext

type InputBindings = Mapping[str, Callable[[Binding], object]]
"""What fills a function's input bindings, by binding type."""


class Invoker:
    """Calls functions: coroutines on the event loop, the others in a pool of threads."""

    def __init__(self, directory: Path, threads: int, inputs: InputBindings) -> None:
        self._directory = directory
        self._inputs = inputs
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="function")
        self._in_threads = 0

    @property
    def in_threads(self) -> int:
        """How many calls still occupy a thread; a thread cannot be stopped from outside."""
        return self._in_threads

    async def call(
        self,
        function: AppFunction,
        trigger_value: object,
        trace_parent: str | None = None,
        invocation_id: str | None = None,
    ) -> object:
        """The function's return value. Whatever it raises passes through."""
        arguments: dict[str, object] = {function.trigger.name: trigger_value}
        for binding in function.bindings:
            if binding.type in self._inputs:
                arguments[binding.name] = self._inputs[binding.type](binding)
        if function.wants_context:
            arguments["context"] = InvocationContext(
                function.name, self._directory, self._local, trace_parent, invocation_id
            )
        call = partial(function.call, **arguments)
        if function.is_async:
            return await cast(Awaitable[object], call())
        return await self._call_in_thread(call)

    async def _call_in_thread(self, call: Callable[[], object]) -> object:
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        self._in_threads += 1
        future = loop.run_in_executor(self._pool, lambda: context.run(call))
        # Counted off by the future, not here: a cancelled caller leaves the thread running.
        future.add_done_callback(self._thread_done)
        return await asyncio.shield(future)

    def _thread_done(self, future: asyncio.Future[object]) -> None:
        self._in_threads -= 1
        if not future.cancelled():
            future.exception()  # seen, so that a call nobody waits for does not warn

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
