"""What is read from the files of PromptFlow flows, without the SDK."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.calls import JsonObject
from flows.adapters.promptflow import dag, flex
from tests.unit.flows_fakes import reason, write

TOOL = """
    from promptflow.connections import CustomConnection
    from promptflow.core import tool

    def helper(): ...

    @tool
    def ask(text: str, connection: CustomConnection, most: int = 3) -> str: ...
"""
DAG = """
    description: Asks.
    inputs:
      text: {type: string, description: What to ask.}
      most: {type: int, default: 3, enum: [3, 5]}
    outputs: {answer: {type: string, reference: "${ask.output}"}}
    nodes:
      - name: ask
        type: python
        source: {type: code, path: ask.py}
        inputs: {text: "${inputs.text}", connection: scorer}
"""
CLASS = """
    from promptflow.connections import AzureOpenAIConnection as _, CustomConnection
    from promptflow import connections
    from promptflow.core import AzureOpenAIModelConfiguration

    class Ask:
        '''Asks
        twice.

        And more.
        '''
        def __init__(
            self,
            big: connections.OpenAIConnection,
            small: "CustomConnection",
            config: AzureOpenAIModelConfiguration,
            limit: int = 4,
        ): ...

        def __call__(self, text: str, tags: list[str], most: int | None = None, *, extra={}): ...
"""
FLEX = """
    entry: ask:Ask
    sample:
      init:
        big: chat
        config: {connection: azure-chat, azure_deployment: gpt}
    init: {small: {type: CustomConnection, default: scorer}}
    inputs:
      text: {type: string, description: What to ask.}
"""


def test_a_dag(tmp_path: Path) -> None:
    definition = dag.read(write(tmp_path / "it", {"flow.dag.yaml": DAG, "ask.py": TOOL}))
    assert definition.connections == {"scorer": "CustomConnection"}
    assert definition.info.model_dump() == {
        "name": "it",
        "kind": "promptflow_dag",
        "description": "Asks.",
        "models": ["scorer"],
        "input_schema": {
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "What to ask."},
                "most": {"type": "integer", "default": 3, "enum": [3, 5]},
            },
            "required": ["text"],
            "additionalProperties": False,
        },
    }


def test_a_flex_flow(tmp_path: Path) -> None:
    definition = flex.read(write(tmp_path / "it", {"flow.flex.yaml": FLEX, "ask.py": CLASS}))
    assert definition.entry == ("ask", "Ask")
    assert definition.connections == {
        "chat": "OpenAIConnection",
        "scorer": "CustomConnection",
        "azure-chat": "AzureOpenAIConnection",
    }
    assert definition.init_connections == {"big": "chat", "small": "scorer"}
    assert definition.init_configurations == {"config"}
    assert definition.info.description == "Asks\ntwice."
    assert definition.info.models == ["chat", "scorer", "azure-chat"]
    assert definition.info.input_schema == {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "What to ask."},
            "tags": {"type": "array", "items": {"type": "string"}},
            "most": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "extra": {"default": {}},
        },
        "required": ["text", "tags"],
        "additionalProperties": False,
    }


def test_a_function_is_a_flex_flow_too(tmp_path: Path) -> None:
    files = {
        "flow.flex.yaml": "entry: pkg.code:ask\ninputs: {text: {type: string, default: hi}}",
        "pkg/code.py": "async def ask(text: str, ratio: float = 0.5) -> str: ...",
    }
    definition = flex.read(write(tmp_path / "it", files))
    assert definition.info.models == []
    assert definition.defaults == {"text": "hi"}
    assert definition.info.input_schema["required"] == []


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ("str", {"type": "string"}),
        ("'int'", {"type": "integer"}),
        ("float", {"type": "number"}),
        ("bool", {"type": "boolean"}),
        ("list", {"type": "array"}),
        ("typing.List[float]", {"type": "array", "items": {"type": "number"}}),
        ("dict[str, bool]", {"type": "object", "additionalProperties": {"type": "boolean"}}),
        ("Optional[str]", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ("str | list[str] | None", None),
        ("Union[int, Mapping]", {"anyOf": [{"type": "integer"}, {"type": "object"}]}),
        ("Any", {}),
        ("int | Something", {}),
        ("'not python ['", {}),
    ],
)
def test_the_schema_of_an_annotation(tmp_path: Path, annotation: str, schema: JsonObject) -> None:
    files = {"flow.flex.yaml": "entry: ask:ask", "ask.py": f"def ask(x: {annotation}): ..."}
    definition = flex.read(write(tmp_path / "it", files))
    nested: JsonObject = {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}},
            {"type": "null"},
        ]
    }
    assert definition.info.input_schema["properties"] == {"x": nested if schema is None else schema}


def test_the_schema_file_adds_to_the_types(tmp_path: Path) -> None:
    files = {
        "flow.dag.yaml": DAG,
        "ask.py": TOOL,
        "input.schema.json": '{"properties": {"text": {"maxLength": 9}}}',
    }
    definition = dag.read(write(tmp_path / "it", files))
    properties = definition.info.input_schema["properties"]
    assert isinstance(properties, dict)
    assert properties["text"] == {
        "type": "string",
        "description": "What to ask.",
        "maxLength": 9,
    }
    write(tmp_path, {"it/input.schema.json": '{"properties": {"txt": {}}}'})
    assert reason(tmp_path) == (
        "input.schema.json:1: properties.txt: expected an input of the flow: text, most"
    )


def test_a_class_tool_and_a_variant(tmp_path: Path) -> None:
    files = {
        "flow.dag.yaml": """
            nodes: [{name: ask, use_variants: true}]
            node_variants:
              ask:
                default_variant_id: b
                variants:
                  a: {node: {type: python, source: {path: none.py}}}
                  b: {node: {type: python, source: {path: ask.py}, inputs: {link: chat}}}
        """,
        "ask.py": """
            from promptflow.core import ToolProvider, tool
            from promptflow.connections import OpenAIConnection, AzureOpenAIConnection
            from typing import Union

            class Ask(ToolProvider):
                def __init__(self, link: Union[AzureOpenAIConnection, OpenAIConnection]): ...

                @tool
                def ask(self, text: str): ...
        """,
    }
    definition = dag.read(write(tmp_path / "it", files))
    assert definition.connections == {"chat": "OpenAIConnection"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("type: int,", "type: image,"), "flow.dag.yaml:4: inputs.most.type: expected one of str"),
        (("ask.py", "gone.py"), "gone.py: expected a readable UTF-8 file (FileNotFoundError)"),
        (("ask.py", "../ask.py"), "../ask.py: expected a file of the flow's own folder"),
        (
            ("connection: scorer", 'connection: "${inputs.text}"'),
            "flow.dag.yaml:10: nodes.0.inputs.connection: expected the name of a model",
        ),
        ((", connection: scorer", ""), "nodes.0.inputs.connection: expected the name of a model"),
        (("type: python", "type: csharp"), "nodes.0.type: expected one of python, llm, prompt"),
        (("type: code", "type: package"), "source.type: expected a tool in a file of the folder"),
        (("type: python", "type: llm"), "flow.dag.yaml:8: nodes.0.type: a node of type llm needs"),
        (("description: Asks.", "language: csharp"), "flow.dag.yaml:1: language: expected python"),
        (
            ("description: Asks.", "environment_variables: {A: b}"),
            "flow.dag.yaml:1: environment_variables: expected none",
        ),
        (
            ("description: Asks.", "additional_includes: [../x.py]"),
            "additional_includes: expected every file in the flow's own folder",
        ),
        (("nodes:", "knots:"), "flow.dag.yaml: nodes: expected this field"),
        (("- name: ask", "- name: ask\n        use_variants: true"), "its default variant under"),
    ],
)
def test_why_a_dag_is_broken(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    write(tmp_path, {"it/flow.dag.yaml": DAG.replace(*change), "it/ask.py": TOOL})
    assert expected in reason(tmp_path).replace(":1: nodes:", ": nodes:")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("@tool", ""), "expected one function with @tool in ask.py, found 0"),
        (
            ("def helper", "@tool\n    def helper"),
            "expected one function with @tool in ask.py, fou",
        ),
        (("def ask(", "def ask(("), "ask.py:7: expected Python ("),
        (
            (": CustomConnection", ": SerpConnection"),
            "nodes.0.inputs.connection: expected a connection of a model (",
        ),
    ],
)
def test_why_a_tool_is_broken(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    write(tmp_path, {"it/flow.dag.yaml": DAG, "it/ask.py": TOOL.replace(*change)})
    assert expected in reason(tmp_path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("entry: ask:Ask", "entry: ask"), "flow.flex.yaml:1: entry: "),
        (("ask:Ask", "ask:Answer"), "flow.flex.yaml:1: entry: expected a class or function Answer"),
        (("ask:Ask", "gone:Ask"), "gone.py: expected a readable UTF-8 file"),
        (("big: chat", "huge: chat"), "sample.init.big: expected the name of a model, for OpenAI"),
        (("connection: azure-chat", "azure_endpoint: x"), "sample.init.config.connection: expect"),
        (("big: chat", "big: scorer"), "expected one type for 'scorer', which is also a Open"),
        (("inputs:", "environment_variables: {A: b}\n    inputs:"), "environment_variables: expec"),
    ],
)
def test_why_a_flex_flow_is_broken(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    write(tmp_path, {"it/flow.flex.yaml": FLEX.replace(*change), "it/ask.py": CLASS})
    assert expected in reason(tmp_path)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("class Ask: ...", "entry: expected class Ask in ask.py to have __call__"),
        (
            "class Ask:\n  def __init__(self, n: int): ...\n  def __call__(self): ...",
            "sample.init.n: expected a value for the class's constructor",
        ),
        ("def Ask(c: OpenAIConnection): ...", "entry: expected 'c', a connection, in the constr"),
    ],
)
def test_why_an_entry_is_broken(tmp_path: Path, code: str, expected: str) -> None:
    write(tmp_path, {"it/flow.flex.yaml": "entry: ask:Ask", "it/ask.py": code})
    assert expected in reason(tmp_path)
