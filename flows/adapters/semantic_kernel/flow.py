"""A Semantic Kernel flow and its runs."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING

from pydantic import JsonValue

from contracts.calls import JsonObject
from contracts.errors import FlowFailed
from contracts.flows import FlowInfo, FlowRun
from flows.adapters.calls import ModelCalls
from flows.adapters.once import Once
from flows.adapters.semantic_kernel.prompt import Prompt
from flows.adapters.shared import Redact

if TYPE_CHECKING:  # it imports the SDK
    from flows.adapters.semantic_kernel.kernel import PromptFunction


class SemanticKernelFlow:
    """A loaded flow. Its kernel function is built by the first run and serves them all."""

    def __init__(self, prompt: Prompt, redact: Redact) -> None:
        self.info: FlowInfo = prompt.info
        self._prompt = prompt
        self._function: Once[PromptFunction] = Once(
            partial(asyncio.to_thread, _build, prompt, redact)
        )

    async def run(self, input: JsonObject, run: FlowRun) -> JsonValue:
        calls = ModelCalls(self.info, run)
        return await calls.ended(self._run(input, calls), self._prompt.folder)

    async def _run(self, input: JsonObject, calls: ModelCalls) -> JsonValue:
        function = await self._function.get()
        text = await function.invoke({**self._prompt.defaults, **input}, calls)
        if self._prompt.output is not None:
            return {self._prompt.output: text}
        try:
            answer: JsonValue = json.loads(text)
        except ValueError:
            raise FlowFailed(
                f"Flow {self.info.name!r} asked its model for JSON and got something else."
            ) from None
        return answer


def _build(prompt: Prompt, redact: Redact) -> PromptFunction:
    from flows.adapters.semantic_kernel.kernel import build

    return build(prompt, redact)
