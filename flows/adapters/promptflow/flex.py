"""flow.flex.yaml: a class or a function of a Python file is the flow."""

from __future__ import annotations

import ast
from pathlib import Path

from pydantic import BaseModel, Field, JsonValue

from contracts.calls import JsonObject
from contracts.flows import FlowInfo
from flows.adapters.folder import YamlFile, object_schema, read_yaml
from flows.adapters.promptflow.connections import Connections, add_connection, connection_type
from flows.adapters.promptflow.definition import (
    CommonFile,
    Definition,
    InputField,
    refined,
    refuse_unsupported,
)
from flows.adapters.python_source import (
    Function,
    Parameter,
    PythonFile,
    method,
    parameters,
    read_python,
)

FILE = "flow.flex.yaml"

MODEL_CONFIGURATIONS = {
    "OpenAIModelConfiguration": "OpenAIConnection",
    "AzureOpenAIModelConfiguration": "AzureOpenAIConnection",
}
"""PromptFlow's pairs of a connection and a model's name, by the connection each takes."""


class _InitField(BaseModel):
    type: str = ""
    default: JsonValue = None


class _Sample(BaseModel):
    init: JsonObject = {}


class _FlexFile(CommonFile):
    entry: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    init: dict[str, _InitField] = Field(default={})
    sample: _Sample = _Sample()


def read(folder: Path) -> Definition:
    """Raises BrokenFolder."""
    file = read_yaml(folder, FILE)
    flex = file.parse(_FlexFile)
    refuse_unsupported(file, flex)
    module, _, name = flex.entry.partition(":")
    source = read_python(folder, module.replace(".", "/") + ".py")
    call, constructor, described = _entry(file, source, name)
    init = _Init(file, flex)
    for parameter in parameters(constructor) if constructor is not None else []:
        init.add(parameter)
    schemas, required = _inputs(file, flex, parameters(call))
    return Definition(
        folder=folder,
        file=FILE,
        info=FlowInfo(
            name=folder.name,
            kind="promptflow_flex",
            description=(flex.description or flex.display_name or described).strip(),
            input_schema=refined(folder, object_schema(schemas, required)),
            models=list(init.connections),
        ),
        connections=init.connections,
        entry=(module, name),
        init=init.arguments,
        init_connections=init.named,
        init_configurations=frozenset(init.configurations),
        defaults={n: f.default for n, f in flex.inputs.items() if f.has_default},
    )


def _entry(file: YamlFile, source: PythonFile, name: str) -> tuple[Function, Function | None, str]:
    """The function that a run calls, the constructor of its class, the docstring."""
    found = source.defined(name)
    if found is None:
        raise file.broken(f"expected a class or function {name} in {source.name}", "entry")
    described = (ast.get_docstring(found) or "").partition("\n\n")[0]
    if not isinstance(found, ast.ClassDef):
        return found, None, described
    call = method(found, "__call__")
    if call is None:
        raise file.broken(f"expected class {name} in {source.name} to have __call__", "entry")
    return call, method(found, "__init__"), described


class _Init:
    """The arguments of the class's constructor."""

    def __init__(self, file: YamlFile, flex: _FlexFile) -> None:
        self.arguments: JsonObject = {}
        self.connections: Connections = {}
        self.named: dict[str, str] = {}
        self.configurations: set[str] = set()
        self._file = file
        self._flex = flex

    def add(self, parameter: Parameter) -> None:
        """Find the parameter's value and what it says of models. Raises BrokenFolder."""
        path = ("sample", "init", parameter.name)
        given = self._value(parameter)
        kind = connection_type(parameter.classes)
        if kind is not None:
            self.named[parameter.name] = add_connection(
                self.connections, self._file, given, kind, *path
            )
        elif configured := sorted(parameter.classes & MODEL_CONFIGURATIONS.keys()):
            named = given.get("connection") if isinstance(given, dict) else None
            kind = MODEL_CONFIGURATIONS[configured[0]]
            add_connection(self.connections, self._file, named, kind, *path, "connection")
            self.configurations.add(parameter.name)
        elif given is None and parameter.required:
            raise self._file.broken("expected a value for the class's constructor", *path)
        if given is not None:
            self.arguments[parameter.name] = given

    def _value(self, parameter: Parameter) -> JsonValue:
        """As PromptFlow finds it: in the sample, by the YAML's default, by the code's."""
        declared = self._flex.init.get(parameter.name, _InitField()).default
        given = self._flex.sample.init.get(parameter.name, declared)
        return parameter.default if given is None else given


def _inputs(
    file: YamlFile, flex: _FlexFile, signature: list[Parameter]
) -> tuple[dict[str, JsonObject], list[str]]:
    """Schemas and required names: the signature's, and what the YAML says of each on top."""
    schemas: dict[str, JsonObject] = {}
    required = []
    for parameter in signature:
        if connection_type(parameter.classes) is not None:
            raise file.broken(
                f"expected {parameter.name!r}, a connection, in the constructor of a class", "entry"
            )
        declared: InputField | None = flex.inputs.get(parameter.name)
        schema = dict(parameter.schema)
        if parameter.default is not None:
            schema["default"] = parameter.default
        if declared is not None:
            said = declared.schema_in(file, parameter.name)
            schema = {**schema, **said} if schema.get("type") == said["type"] else said
        schemas[parameter.name] = schema
        if parameter.required and (declared is None or not declared.has_default):
            required.append(parameter.name)
    return schemas, required
