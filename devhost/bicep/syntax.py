"""Files as trees, and the parts of a tree that others ask for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

from devhost.bicep.values import BicepError

_PARSER = Parser(Language(tree_sitter_bicep.language()))
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", "$": "$"}


def parse(path: Path) -> Node:
    """The file's tree. Raises BicepError where it is no Bicep."""
    root = _PARSER.parse(path.read_bytes()).root_node
    for node in walk(root):
        if node.type == "ERROR" or node.is_missing:
            raise BicepError(f"{path.name}:{line(node)}: not understood: {text(node)[:60]!r}")
    return root


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for child in node.children:
        yield from walk(child)


def line(node: Node) -> int:
    return node.start_point[0] + 1


def text(node: Node) -> str:
    return (node.text or b"").decode()


def field(node: Node, name: str) -> Node:
    """Raises BicepError when the node has none of that name."""
    found = node.child_by_field_name(name)
    if found is None:
        raise BicepError(f"line {line(node)}: {node.type} has no {name}")
    return found


def expressions(node: Node) -> list[Node]:
    """The parts that mean something; comments do not."""
    return [child for child in node.named_children if child.type != "comment"]


def items(node: Node) -> list[Node]:
    """Of an array. Raises BicepError for two that nothing parts: the grammar takes `[f().a]` so."""
    found = expressions(node)
    for one, other in pairwise(found):
        start, end = (at - node.start_byte for at in (one.end_byte, other.start_byte))
        between = (node.text or b"")[start:end]
        if b"," not in between and b"\n" not in between:
            raise BicepError(f"line {line(one)}: give {text(one)}{text(other)} a name of its own")
    return found


def string_parts(node: Node) -> Iterator[str | Node]:
    """What is written in a string, and the expressions to put in between."""
    for part in node.named_children:
        if part.type == "interpolation":
            yield expressions(part)[0]
        elif part.type == "escape_sequence":
            yield _ESCAPES.get(text(part)[1:2], text(part))
        else:
            yield text(part)


def literal(node: Node) -> str:
    """A string without expressions. Raises BicepError."""
    parts = list(string_parts(node))
    if any(isinstance(part, Node) for part in parts):
        raise BicepError(f"line {line(node)}: expected a string without expressions")
    return "".join(part for part in parts if isinstance(part, str))


def properties(node: Node) -> dict[str, Node]:
    """Of an object whose names are all literal: the expression of each."""
    found: dict[str, Node] = {}
    for item in expressions(node):
        if item.type == "object_property":
            name, value = expressions(item)
            found[literal(name) if name.type == "string" else text(name)] = value
    return found
