"""Every name in a file, used or not: what the compiler and its linter would say of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tree_sitter import Node

from devhost.bicep import syntax
from devhost.bicep.functions import FUNCTIONS
from devhost.bicep.operators import LOOSE, Expression, Function, names_of, parts, regroup
from devhost.bicep.place import Place
from devhost.bicep.template import Declared, Template

_TYPE = re.compile(r"^Microsoft\.\w+(/\w+)+@\d{4}-\d{2}-\d{2}(-preview)?$")
_LOADS = {"loadJsonContent", "loadTextContent"}


def findings(template: Template) -> list[str]:
    """What is wrong, each with file and line; none when all is well."""
    return [
        f"{template.path.name}:{line}: {says}"
        for line, says in sorted(
            {*_undefined(template), *_unused(template), *_resources(template), *_modules(template)}
        )
    ]


def _declared(template: Template) -> set[str]:
    found = template.found
    return {*found.parameters, *found.variables, *found.resources, *found.modules}


def _undefined(template: Template) -> Iterator[tuple[int, str]]:
    known = {*FUNCTIONS, *Place().functions(), *_LOADS}
    for node, local in _uses(template.root, frozenset()):
        name = syntax.text(node)
        if name not in local and name not in _declared(template):
            yield syntax.line(node), f"there is no {name}"
    for node in syntax.walk(template.root):
        if node.type == "call_expression" and not _is_decorator(node):
            name = syntax.text(syntax.field(node, "function"))
            if name not in known:
                yield syntax.line(node), f"the function {name} is not known"


def _is_decorator(node: Node) -> bool:
    return node.parent is not None and node.parent.type == "decorator"


def _unused(template: Template) -> Iterator[tuple[int, str]]:
    used = {syntax.text(node) for node, local in _uses(template.root, frozenset())}
    found = template.found
    for name, parameter in found.parameters.items():
        if name not in used:
            yield parameter.line, f"the parameter {name} is not used"
    for name, value in found.variables.items():
        if name not in used:
            yield syntax.line(value), f"the variable {name} is not used"
    for name, resource in found.resources.items():
        if resource.existing and name not in used:
            yield resource.line, f"the existing resource {name} is not used"


def _uses(expression: Expression, local: frozenset[str]) -> Iterator[tuple[Node, frozenset[str]]]:
    """Identifiers that stand for a value, with the names that loops and lambdas gave there."""
    if not isinstance(expression, Node):
        inner = expression.names if isinstance(expression, Function) else ()
        for part in parts(expression):
            yield from _uses(part, local | frozenset(inner))
        return
    given = syntax.expressions(expression)
    if expression.type == "identifier":
        yield expression, local
    elif expression.type in LOOSE:
        yield from _uses(regroup(expression), local)
    elif expression.type == "for_statement":
        yield from _uses(given[1], local)
        yield from _uses(given[2], local | frozenset(names_of(given[0])))
    else:
        for part in _meaning(expression, given):
            yield from _uses(part, local)


def _meaning(node: Node, given: list[Node]) -> list[Node]:
    """Without what only names something."""
    if node.type == "array":
        return syntax.items(node)
    if node.type == "object_property":
        return given if given[0].type == "string" else given[1:]
    if node.type.endswith("_declaration"):
        return given[1:]
    return [syntax.field(node, "arguments")] if node.type == "call_expression" else given


def _resources(template: Template) -> Iterator[tuple[int, str]]:
    for resource in template.found.resources.values():
        if not _TYPE.match(resource.what):
            yield resource.line, f"{resource.what} is no type with a version"


def _modules(template: Template) -> Iterator[tuple[int, str]]:
    outputs: dict[str, set[str]] = {}
    for name, module in template.found.modules.items():
        inner = template.module(module).found
        outputs[name] = set(inner.outputs)
        given = set(syntax.properties(_given(module)))
        needed = {each.name for each in inner.parameters.values() if each.default is None}
        for missing in needed - given:
            yield module.line, f"{module.what} needs {missing}"
        for surplus in given - set(inner.parameters):
            yield module.line, f"{module.what} takes no {surplus}"
    source = syntax.text(template.root)
    for use in re.finditer(r"\b(\w+)(?:\[[^]]*\])?\.outputs\.(\w+)", source):
        if use[1] in outputs and use[2] not in outputs[use[1]]:
            line = source.count("\n", 0, use.start()) + 1
            yield line, f"{use[1]} has no output {use[2]}"


def _given(module: Declared) -> Node:
    body = module.body
    while body.type != "object":
        body = syntax.expressions(body)[-1]
    return syntax.properties(body)["params"]
