"""A PromptFlow folder as read, and what DAG and flex files have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from contracts.calls import JsonObject
from contracts.flows import FlowInfo
from flows.adapters.folder import YamlFile, read_yaml
from flows.adapters.promptflow.connections import Connections

_SCHEMAS: dict[str, JsonObject] = {
    "string": {"type": "string"},
    "int": {"type": "integer"},
    "double": {"type": "number"},
    "bool": {"type": "boolean"},
    "list": {"type": "array"},
    "object": {"type": "object"},
}

SCHEMA_FILE = "input.schema.json"
"""Optional: JSON Schema keywords beyond PromptFlow's own types, such as `items`."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A flow of either kind, as its files describe it."""

    folder: Path
    file: str
    info: FlowInfo
    connections: Connections
    entry: tuple[str, str] | None = None
    """Module and name of a flex flow's class or function."""
    init: JsonObject = field(default_factory=dict)
    """Arguments for a flex flow's class; a connection stands there by its name."""
    init_connections: dict[str, str] = field(default_factory=dict)
    """Which of them are connections: the name by the argument."""
    init_configurations: frozenset[str] = frozenset()
    """Which of them are model configurations, `{"connection": NAME, ...}`."""
    defaults: JsonObject = field(default_factory=dict)
    """Inputs that a flex flow's YAML gives when the caller does not; a DAG's own SDK does."""


class InputField(BaseModel):
    """One entry under `inputs:`."""

    type: str
    default: JsonValue = None
    description: str = ""
    enum: list[JsonValue] = []

    def schema_in(self, file: YamlFile, name: str) -> JsonObject:
        """Its JSON Schema. Raises BrokenFolder when the type is not one of JSON's."""
        if self.type not in _SCHEMAS:
            expected = f"expected one of {', '.join(_SCHEMAS)}"
            raise file.broken(expected, "inputs", name, "type")
        return {
            **_SCHEMAS[self.type],
            **({"enum": list(self.enum)} if self.enum else {}),
            **({"description": self.description} if self.description else {}),
            **({"default": self.default} if self.has_default else {}),
        }

    @property
    def has_default(self) -> bool:
        """PromptFlow writes "no default" as null, and as an empty string too."""
        return self.default not in (None, "")


class CommonFile(BaseModel):
    """The fields that a DAG and a flex file share."""

    description: str = ""
    display_name: str = ""
    language: str = "python"
    inputs: dict[str, InputField] = {}
    environment_variables: JsonObject = Field(default={})
    additional_includes: list[str] = []


def refuse_unsupported(file: YamlFile, common: CommonFile) -> None:
    """Raises BrokenFolder for what one process that serves every flow cannot give."""
    if common.language != "python":
        raise file.broken("expected python", "language")
    if common.environment_variables:
        raise file.broken(
            "expected none: one process serves all flows, so give the value as an input, an init"
            " argument or a connection",
            "environment_variables",
        )
    if common.additional_includes:
        raise file.broken("expected every file in the flow's own folder", "additional_includes")


class _SchemaFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    properties: dict[str, JsonObject]


def refined(folder: Path, schema: JsonObject) -> JsonObject:
    """The input's schema with what SCHEMA_FILE adds to its properties. Raises BrokenFolder."""
    if not (folder / SCHEMA_FILE).exists():
        return schema
    file = read_yaml(folder, SCHEMA_FILE)  # JSON is YAML
    properties = schema["properties"]
    assert isinstance(properties, dict)
    for name, added in file.parse(_SchemaFile).properties.items():
        known = properties.get(name)
        if not isinstance(known, dict):
            expected = f"expected an input of the flow: {', '.join(properties) or 'none'}"
            raise file.broken(expected, "properties", name)
        properties[name] = {**known, **added}
    return schema
