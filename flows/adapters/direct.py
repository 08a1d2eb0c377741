"""A flow that is one model call: `flow.yaml` says how the input becomes the request."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from contracts.calls import JsonObject, ModelCall, Task
from contracts.flows import FlowInfo, FlowRun
from flows.adapters.calls import ModelCalls
from flows.adapters.folder import YamlFile, read_yaml
from flows.adapters.shared import Shared
from flows.adapters.templates import BadTemplate, Template

FILE = "flow.yaml"


class _DirectFile(BaseModel):
    """flow.yaml, as docs/flows.md explains it."""

    model_config = ConfigDict(extra="forbid")

    description: str
    model: str = Field(min_length=1)
    task: Task
    input: JsonObject
    request: JsonValue
    response: JsonValue = "{{ answer }}"


class DirectFlow:
    """A loaded flow of this kind."""

    def __init__(self, folder: Path, file: YamlFile) -> None:
        settings = file.parse(_DirectFile)
        if settings.input.get("type") != "object":
            raise file.broken("expected `type: object`, as a job's input is one", "input")
        self.info = FlowInfo(
            name=folder.name,
            kind="direct",
            description=settings.description.strip(),
            input_schema={"additionalProperties": False, **settings.input},
            models=[settings.model],
        )
        self._folder = folder
        self._task = settings.task
        self._request = _template(file, "request", settings.request)
        self._response = _template(file, "response", settings.response)

    async def run(self, input: JsonObject, run: FlowRun) -> JsonValue:
        calls = ModelCalls(self.info, run)
        return await calls.ended(self._call(input, calls), self._folder)

    async def _call(self, input: JsonObject, calls: ModelCalls) -> JsonValue:
        request = self._request.render({"input": input})
        answer = await calls(ModelCall(self.info.models[0], self._task, request))
        return self._response.render({"input": input, "answer": answer.body})


def load(folder: Path, shared: Shared) -> DirectFlow:
    """Raises BrokenFolder."""
    return DirectFlow(folder, read_yaml(folder, FILE))


def _template(file: YamlFile, field: str, value: JsonValue) -> Template:
    try:
        return Template(value)
    except BadTemplate as error:
        raise file.broken(f"expected a Jinja template ({error})", field, *error.path) from None
