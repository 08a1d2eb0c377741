"""Flows that pass a request body to the model that the job names, and its answer back.

They are part of the app and no folders: by them a call of a model becomes a job.
"""

from __future__ import annotations

from pydantic import JsonValue

from contracts.calls import JsonObject, ModelCall, Task
from contracts.errors import InvalidRequest
from contracts.flows import FlowInfo, FlowRun
from contracts.problems import FieldProblem

PLAIN_FLOWS: dict[Task, str] = {
    Task.CHAT: "chat.completions",
    Task.EMBEDDINGS: "embeddings.create",
    Task.RESPONSES: "responses.create",
}
"""Their names, which hold a dot: no folder's name does."""


class PlainCall:
    """One call of the model that the job names; the input is the request's body."""

    def __init__(self, task: Task) -> None:
        self.info = FlowInfo(
            name=PLAIN_FLOWS[task],
            kind="direct",
            description=f"One call of the model that the job names ({task}), as it is.",
            input_schema={"type": "object"},
            models=[],
        )
        self._task = task

    async def run(self, input: JsonObject, run: FlowRun) -> JsonValue:
        self.check_model(run.model)
        assert run.model is not None
        return (await run.invoke(ModelCall(run.model, self._task, input))).body

    def check_model(self, model: str | None) -> None:
        """Raises InvalidRequest when the job names none."""
        if model is None:
            expected = f"a model's name: flow {self.info.name!r} has none of its own"
            raise InvalidRequest(
                f"`model` is not as expected: {expected}.",
                [FieldProblem(field="model", expected=expected)],
            )
