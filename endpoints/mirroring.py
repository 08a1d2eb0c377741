"""A share of a model's answered calls is sent once more, to a deployment under trial.

After the caller has been answered, in the background, never billed; the shadow's answer is
compared and thrown away. Nothing waits for it: where the shadow has no room the call is not
mirrored.
"""

from __future__ import annotations

import asyncio
from random import random

from contracts.calls import Attempt, CallScope, ModelAnswer, ModelCall
from contracts.deployments import Comparison, Side
from contracts.errors import SluiceError
from contracts.states import Execution, Priority
from endpoints.context import Context
from endpoints.deployment import Deployment, Result
from endpoints.similarity import similarity

MOST_AT_ONCE = 32
"""Mirrored calls under way, each of which holds a payload and an answer in memory."""


class Mirror:
    """Of one model."""

    def __init__(self, shadow: Deployment, percent: float, context: Context) -> None:
        self._shadow = shadow
        self._share = percent / 100
        self._clocks = context.clocks
        self._compared = context.compared
        self._under_way: set[asyncio.Task[None]] = set()

    def offer(self, call: ModelCall, scope: CallScope, answer: ModelAnswer) -> None:
        """Mirror the call, or not. Returns at once."""
        if answer.attempt.deployment == self._shadow.name or random() >= self._share:  # noqa: S311
            return
        if scope.execution is Execution.AT_MOST_ONCE or len(self._under_way) >= MOST_AT_ONCE:
            return
        if call.task not in self._shadow.tasks:
            return
        task = asyncio.create_task(self._send(call, scope, answer))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def aclose(self) -> None:
        """Give up what is under way."""
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _send(self, call: ModelCall, scope: CallScope, answer: ModelAnswer) -> None:
        standing = self._shadow.standing
        now = self._clocks.monotonic()
        if standing.refusal(now, batch=True) is not None:
            return
        aside = CallScope(scope.job_id, scope.tenant, priority=Priority.BATCH, flow=scope.flow)
        try:
            slot = standing.begin(now, batch=True)
            result = await self._shadow.ask(call, aside, slot, mirrored=True)
        except SluiceError:
            return  # it cannot carry this call: there is nothing to compare
        self._compared(self._comparison(answer, result))

    def _comparison(self, answer: ModelAnswer, result: Result) -> Comparison:
        answered = result.verdict.outcome == "answered"
        return Comparison(
            model=answer.attempt.model,
            at=self._clocks.now(),
            live=_side(answer.attempt),
            shadow=_side(result.attempt),
            similarity=similarity(answer.body, result.body) if answered else None,
        )


def _side(attempt: Attempt) -> Side:
    return Side(
        deployment=attempt.deployment,
        outcome=attempt.outcome,
        status=attempt.status,
        seconds=attempt.seconds,
        input_tokens=attempt.usage.input_tokens,
        output_tokens=attempt.usage.output_tokens,
    )
