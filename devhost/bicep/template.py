"""One file: what it declares."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tree_sitter import Node

from devhost.bicep import syntax
from devhost.bicep.values import BicepError


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter, with what its decorators say."""

    name: str
    kind: str
    default: Node | None
    decorators: dict[str, Node]
    line: int


@dataclass(frozen=True, slots=True)
class Declared:
    """A resource or module."""

    name: str
    what: str
    """The resource type with its version, or the path of a module's file."""
    existing: bool
    body: Node
    line: int


@dataclass(slots=True)
class _Found:
    parameters: dict[str, Parameter] = field(default_factory=dict)
    variables: dict[str, Node] = field(default_factory=dict)
    resources: dict[str, Declared] = field(default_factory=dict)
    modules: dict[str, Declared] = field(default_factory=dict)
    outputs: dict[str, Node] = field(default_factory=dict)


class Template:
    """A Bicep file. Raises BicepError where it is not as the language has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = syntax.parse(path)

    @cached_property
    def found(self) -> _Found:
        found = _Found()
        decorators: dict[str, Node] = {}
        for node in syntax.expressions(self.root):
            if node.type == "decorators":
                decorators = _decorators(node)
                continue
            self._read(node, found, decorators)
            decorators = {}
        return found

    def _read(self, node: Node, found: _Found, decorators: dict[str, Node]) -> None:
        parts = syntax.expressions(node)
        match node.type:
            case "target_scope_assignment":
                return
            case "parameter_declaration":
                name = syntax.text(parts[0])
                default = parts[2] if len(parts) > 2 else None
                kind = syntax.text(parts[1])
                parameter = Parameter(name, kind, default, decorators, syntax.line(node))
                self._add(found.parameters, name, parameter, node)
            case "variable_declaration":
                self._add(found.variables, syntax.text(parts[0]), parts[-1], node)
            case "output_declaration":
                self._add(found.outputs, syntax.text(parts[0]), parts[-1], node)
            case "resource_declaration" | "module_declaration":
                name = syntax.text(parts[0])
                existing = any(syntax.text(child) == "existing" for child in node.children)
                declared = Declared(
                    name, syntax.literal(parts[1]), existing, parts[-1], syntax.line(node)
                )
                kind_of = found.modules if "module" in node.type else found.resources
                self._add(kind_of, name, declared, node)
            case kind:
                raise BicepError(f"{self.path.name}:{syntax.line(node)}: {kind} is not known here")

    def _add[T](self, to: dict[str, T], name: str, what: T, node: Node) -> None:
        if name in to:
            raise BicepError(f"{self.path.name}:{syntax.line(node)}: {name} is declared twice")
        to[name] = what

    def module(self, declared: Declared) -> Template:
        """The file that a module is. Raises BicepError when it is not there."""
        path = (self.path.parent / declared.what).resolve()
        if not path.is_file():
            raise BicepError(f"{self.path.name}:{declared.line}: there is no {declared.what}")
        return Template(path)


def _decorators(node: Node) -> dict[str, Node]:
    calls = [syntax.expressions(decorator)[0] for decorator in syntax.expressions(node)]
    return {
        syntax.text(syntax.field(call, "function")): syntax.field(call, "arguments")
        for call in calls
    }
