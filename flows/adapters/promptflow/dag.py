"""flow.dag.yaml: nodes, each a tool in a file of the folder."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, Field

from contracts.calls import JsonObject
from contracts.flows import FlowInfo
from endpoints.marked_yaml import FieldPath
from flows.adapters.folder import YamlFile, object_schema, read_text, read_yaml
from flows.adapters.promptflow.connections import Connections, add_connection, connection_type
from flows.adapters.promptflow.definition import (
    CommonFile,
    Definition,
    refined,
    refuse_unsupported,
)
from flows.adapters.python_source import Parameter, method, parameters, read_python

FILE = "flow.dag.yaml"


class _Source(BaseModel):
    type: str = "code"
    path: str = ""


class _Work(BaseModel):
    """What a node does; its name stands elsewhere."""

    type: str = "python"
    source: _Source = _Source()
    inputs: JsonObject = {}
    connection: str | None = None
    provider: str | None = None


class _Node(_Work):
    name: str
    use_variants: bool = False


class _Variant(BaseModel):
    node: _Work


class _Variants(BaseModel):
    default_variant_id: str
    variants: dict[str, _Variant]


class _DagFile(CommonFile):
    nodes: list[_Node]
    node_variants: dict[str, _Variants] = Field(default={})


def read(folder: Path) -> Definition:
    """Raises BrokenFolder."""
    file = read_yaml(folder, FILE)
    dag = file.parse(_DagFile)
    refuse_unsupported(file, dag)
    connections: Connections = {}
    schemas = {name: field.schema_in(file, name) for name, field in dag.inputs.items()}
    for path, node in _nodes(file, dag):
        if node.type == "python":
            for parameter in _tool(folder, file, node, path):
                _connect(connections, file, node, parameter, path)
        else:
            _prompt(connections, folder, file, node, path)
    required = [name for name, field in dag.inputs.items() if not field.has_default]
    return Definition(
        folder=folder,
        file=FILE,
        info=FlowInfo(
            name=folder.name,
            kind="promptflow_dag",
            description=(dag.description or dag.display_name).strip(),
            input_schema=refined(folder, object_schema(schemas, required)),
            models=list(connections),
        ),
        connections=connections,
    )


def _nodes(file: YamlFile, dag: _DagFile) -> Iterator[tuple[FieldPath, _Work]]:
    """The nodes with their places; for one with variants, its default variant."""
    for index, node in enumerate(dag.nodes):
        if not node.use_variants:
            yield ("nodes", index), node
            continue
        variants = dag.node_variants.get(node.name)
        if variants is None or variants.default_variant_id not in variants.variants:
            raise file.broken("expected its default variant under node_variants", "nodes", index)
        chosen = variants.default_variant_id
        place = ("node_variants", node.name, "variants", chosen, "node")
        yield place, variants.variants[chosen].node


def _tool(folder: Path, file: YamlFile, node: _Work, path: FieldPath) -> list[Parameter]:
    """The parameters of a node's one tool; those of its class's constructor first."""
    if node.source.type != "code" or not node.source.path:
        raise file.broken("expected a tool in a file of the folder", *path, "source", "type")
    tools = list(read_python(folder, node.source.path).decorated("tool"))
    if len(tools) != 1:
        found = f"expected one function with @tool in {node.source.path}, found {len(tools)}"
        raise file.broken(found, *path, "source", "path")
    function, owner = tools[0]
    constructor = method(owner, "__init__") if owner is not None else None
    return [*(parameters(constructor) if constructor else []), *parameters(function)]


def _connect(
    connections: Connections,
    file: YamlFile,
    node: _Work,
    parameter: Parameter,
    path: FieldPath,
) -> None:
    kind = connection_type(parameter.classes)
    if kind is not None and (parameter.required or parameter.name in node.inputs):
        given = node.inputs.get(parameter.name)
        add_connection(connections, file, given, kind, *path, "inputs", parameter.name)


def _prompt(
    connections: Connections,
    folder: Path,
    file: YamlFile,
    node: _Work,
    path: FieldPath,
) -> None:
    """A node that renders a prompt, and for type llm sends it."""
    if node.type not in ("llm", "prompt"):
        raise file.broken("expected one of python, llm, prompt", *path, "type")
    try:
        version("promptflow-tools")
    except PackageNotFoundError:
        raise file.broken(
            f"a node of type {node.type} needs the package promptflow-tools in requirements.txt",
            *path,
            "type",
        ) from None
    read_text(folder, node.source.path)
    if node.type == "llm":
        azure = node.provider == "AzureOpenAI" or "deployment_name" in node.inputs
        kind = "AzureOpenAIConnection" if azure else "OpenAIConnection"
        add_connection(connections, file, node.connection, kind, *path, "connection")
