"""prompt.yaml, Semantic Kernel's prompt template, and the plugins beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from contracts.calls import JsonObject
from contracts.flows import FlowInfo
from flows.adapters.folder import YamlFile, object_schema, read_yaml
from flows.adapters.python_source import read_python

FILE = "prompt.yaml"
PLUGINS = "plugins"
PLUGIN_FILE = "plugin.py"
DEFAULT_OUTPUT = "text"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A flow of this kind, as its files describe it."""

    folder: Path
    info: FlowInfo
    services: frozenset[str]
    """Semantic Kernel's ids of the services that its prompts name."""
    defaults: JsonObject
    """Inputs of optional variables, in the type that their schema gives."""
    output: str | None
    """The field that the answer's text becomes; None when the answer is JSON itself."""


class _Variable(BaseModel):
    name: str = Field(pattern=r"^[A-Za-z_]\w*$")
    description: str | None = None
    default: str | None = None
    is_required: bool = True
    json_schema: str | None = None
    allow_dangerously_set_content: bool = False


class _Settings(BaseModel):
    execution_settings: dict[str, JsonObject] = Field(min_length=1, max_length=1)

    @property
    def service(self) -> str:
        return next(iter(self.execution_settings))

    @property
    def model(self) -> str:
        """What the settings name as the model, else the service id."""
        settings = self.execution_settings[self.service]
        return str(settings.get("model_id") or settings.get("ai_model_id") or self.service)


class _PromptFile(_Settings):
    template: str = Field(min_length=1)
    # Handlebars with plugins patches the event loop of the whole process (nest_asyncio).
    template_format: Literal["jinja2", "semantic-kernel"] = "semantic-kernel"
    description: str | None = None
    input_variables: list[_Variable] = []
    allow_dangerously_set_content: bool = False
    output: str | None = None


def read(folder: Path) -> Prompt:
    """Raises BrokenFolder."""
    file = read_yaml(folder, FILE)
    prompt = file.parse(_PromptFile)
    schemas: dict[str, JsonObject] = {}
    defaults: JsonObject = {}
    for index, variable in enumerate(prompt.input_variables):
        schema = _schema(file, prompt, index, variable)
        if variable.default:
            defaults[variable.name] = _typed(file, index, variable.default, schema)
            schema["default"] = defaults[variable.name]
        schemas[variable.name] = schema
    required = [v.name for v in prompt.input_variables if v.is_required and not v.default]
    used = [prompt, *_plugin_prompts(folder)]
    _check_function_choice(file, prompt)
    return Prompt(
        folder=folder,
        info=FlowInfo(
            name=folder.name,
            kind="semantic_kernel",
            description=(prompt.description or "").strip(),
            input_schema=object_schema(schemas, required),
            models=list(dict.fromkeys(settings.model for settings in used)),
        ),
        services=frozenset(settings.service for settings in used),
        defaults=defaults,
        output=None if _answers_json(prompt) else prompt.output or DEFAULT_OUTPUT,
    )


def _schema(file: YamlFile, prompt: _PromptFile, index: int, variable: _Variable) -> JsonObject:
    place = ("input_variables", index, "json_schema")
    try:
        schema = json.loads(variable.json_schema or '{"type": "string"}')
    except ValueError:
        schema = None
    if not isinstance(schema, dict):
        raise file.broken("expected a JSON Schema as JSON text", *place)
    encoded = not (prompt.allow_dangerously_set_content or variable.allow_dangerously_set_content)
    if encoded and schema.get("type") in ("array", "object"):
        raise file.broken(
            "expected a string, a number or a boolean: Semantic Kernel encodes no others (unless"
            " the variable sets allow_dangerously_set_content, and then encodes nothing)",
            *place,
        )
    if variable.description:
        schema.setdefault("description", variable.description)
    return schema


def _typed(file: YamlFile, index: int, default: str, schema: JsonObject) -> JsonValue:
    """Semantic Kernel has defaults as strings only."""
    if schema.get("type") == "string":
        return default
    try:
        typed: JsonValue = json.loads(default)
    except ValueError:
        raise file.broken(
            f"expected {schema.get('type', 'JSON')} as text", "input_variables", index, "default"
        ) from None
    return typed


def _answers_json(prompt: _Settings) -> bool:
    asked = prompt.execution_settings[prompt.service].get("response_format")
    return isinstance(asked, dict) and asked.get("type") in ("json_object", "json_schema")


def _check_function_choice(file: YamlFile, prompt: _Settings) -> None:
    choice = prompt.execution_settings[prompt.service].get("function_choice_behavior")
    if not isinstance(choice, dict) or choice.get("type") == "none":
        return
    if choice.get("auto_invoke") is not True:
        raise file.broken(
            "expected `auto_invoke: true`: nothing else would make the calls",
            *("execution_settings", prompt.service, "function_choice_behavior"),
        )


def _plugin_prompts(folder: Path) -> Iterator[_Settings]:
    """The settings of prompts among the plugins. Python plugins are only parsed."""
    if (folder / PLUGIN_FILE).exists():
        read_python(folder, PLUGIN_FILE)
    for path in sorted((folder / PLUGINS).rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".py":
            read_python(folder, name)
        elif path.suffix in (".yaml", ".yml") or path.name == "config.json":
            # JSON is YAML.
            yield read_yaml(folder, name).parse(_Settings)
