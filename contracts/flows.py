"""What the app knows of a flow, and the interface behind which each kind of flow stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from contracts.calls import Invoke, JsonObject

FlowKind = Literal["direct", "semantic_kernel", "promptflow_dag", "promptflow_flex"]


class FlowInfo(BaseModel):
    """A flow as `GET /v1/flows` lists it; everything comes from the flow's own folder."""

    model_config = ConfigDict(extra="forbid")

    name: str
    kind: FlowKind
    description: str
    input_schema: JsonObject = Field(description="JSON Schema (2020-12) of a job's `input`.")
    models: list[str] = Field(description="Names in deployments.yaml that the flow calls.")


class BrokenFlow(BaseModel):
    """A folder of flows/ that could not be loaded."""

    model_config = ConfigDict(extra="forbid")

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class FlowRun:
    """What one run of a flow is given besides its input."""

    invoke: Invoke
    model: str | None = None
    """Asked for instead of the flow's only model; None for the flow's own choice."""


class Flow(Protocol):
    """A loaded flow. `run` may be called concurrently."""

    @property
    def info(self) -> FlowInfo: ...

    async def run(self, input: JsonObject, run: FlowRun) -> JsonValue:
        """Carry one job's input through the flow.

        `input` is already valid against `info.input_schema`. Returns JSON.
        Raises what `run.invoke` raised, unwrapped, and FlowFailed for the flow's own errors.
        """
        ...
