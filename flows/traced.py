"""A flow whose runs are spans, which its model calls are part of, wherever they are made from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import JsonValue

from contracts.calls import JsonObject
from contracts.errors import CallPending, NoCapacity
from contracts.flows import Flow, FlowInfo, FlowRun
from telemetry.tracing import Kind, joined, span

WAITS = (NoCapacity, CallPending)
"""How a run ends that is made again later, for no fault of its own."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A `Flow`."""

    flow: Flow

    @property
    def info(self) -> FlowInfo:
        return self.flow.info

    async def run(self, input: JsonObject, run: FlowRun) -> JsonValue:
        name = self.flow.info.name
        with span(f"flow {name}", Kind.STEP, {"sluice.flow": name}, fine=WAITS):
            # Some flows run in threads, and call models by way of a server in this process.
            return await self.flow.run(input, replace(run, invoke=joined(run.invoke)))
