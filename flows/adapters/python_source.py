"""What a flow's Python files say of themselves, read from their syntax; they are not run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from contracts.calls import JsonObject
from flows.adapters.folder import BrokenFolder, read_text

type Function = ast.FunctionDef | ast.AsyncFunctionDef

_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)

_SCALARS: dict[str, JsonObject] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
}
_LISTS = frozenset({"list", "List", "Sequence"})
_MAPPINGS = frozenset({"dict", "Dict", "Mapping"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function."""

    name: str
    schema: JsonObject
    """JSON Schema of its annotation; `{}`, which is anything, when that says nothing."""
    classes: frozenset[str]
    """Names in the annotation, without their modules."""
    required: bool
    default: JsonValue
    """A literal default that JSON can hold; None for any other."""
    line: int


@dataclass(frozen=True, slots=True)
class PythonFile:
    """A parsed source file of a folder."""

    name: str
    tree: ast.Module

    def defined(self, name: str) -> Function | ast.ClassDef | None:
        """The function or class of this name at the file's top."""
        for node in self.tree.body:
            if isinstance(node, (*_FUNCTION, ast.ClassDef)) and node.name == name:
                return node
        return None

    def decorated(self, decorator: str) -> Iterator[tuple[Function, ast.ClassDef | None]]:
        """The functions and methods that carry a decorator, with the class around them."""
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef):
                for item in node.body:
                    if isinstance(item, _FUNCTION) and _carries(item, decorator):
                        yield item, node
            elif isinstance(node, _FUNCTION) and _carries(node, decorator):
                yield node, None


def read_python(folder: Path, name: str) -> PythonFile:
    """Parse a file. Raises BrokenFolder."""
    try:
        return PythonFile(name, ast.parse(read_text(folder, name), name))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{name}:{line}" if line else name
        raise BrokenFolder(f"{place}: expected Python ({error.args[0]})") from None


def method(owner: ast.ClassDef, name: str) -> Function | None:
    """A method defined in the class itself."""
    for node in owner.body:
        if isinstance(node, _FUNCTION) and node.name == name:
            return node
    return None


def parameters(function: Function) -> list[Parameter]:
    """The named parameters, without `self`."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    missing = len(positional) - len(arguments.defaults)
    defaults: list[ast.expr | None] = [*[None] * missing, *arguments.defaults]
    pairs = [
        *zip(positional, defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return [_parameter(arg, default) for arg, default in pairs if arg.arg != "self"]


def _parameter(argument: ast.arg, default: ast.expr | None) -> Parameter:
    annotation = argument.annotation
    return Parameter(
        name=argument.arg,
        schema=_schema(annotation) if annotation is not None else {},
        classes=frozenset(_names(annotation)) if annotation is not None else frozenset(),
        required=default is None,
        default=_literal(default) if default is not None else None,
        line=argument.lineno,
    )


def _schema(annotation: ast.expr) -> JsonObject:
    match annotation:
        case ast.Constant(value=None):
            return {"type": "null"}
        case ast.Constant(value=str() as quoted):
            return _schema(_parsed(quoted))
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _any_of([left, right])
        case ast.Subscript(value=generic, slice=arguments):
            items = arguments.elts if isinstance(arguments, ast.Tuple) else [arguments]
            return _generic_schema(_last_name(generic), items)
    name = _last_name(annotation)
    if name in _LISTS:
        return {"type": "array"}
    return {"type": "object"} if name in _MAPPINGS else dict(_SCALARS.get(name, {}))


def _generic_schema(generic: str, arguments: list[ast.expr]) -> JsonObject:
    schema: JsonObject = {}
    if generic in ("Optional", "Union"):
        schema = _any_of([*arguments, *[ast.Constant(None)] * (generic == "Optional")])
    elif generic in _LISTS:
        schema = {"type": "array", "items": _schema(arguments[0])}
    elif generic in _MAPPINGS:
        schema = {"type": "object", "additionalProperties": _schema(arguments[-1])}
    return schema


def _any_of(annotations: list[ast.expr]) -> JsonObject:
    schemas: list[JsonValue] = []
    for schema in map(_schema, annotations):
        if not schema:
            return {}
        nested = schema.get("anyOf")
        schemas += nested if isinstance(nested, list) else [schema]
    return {"anyOf": schemas}


def _names(annotation: ast.expr) -> Iterator[str]:
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name | ast.Attribute):
            yield _last_name(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _names(_parsed(node.value))


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _parsed(quoted: str) -> ast.expr:
    try:
        return ast.parse(quoted, mode="eval").body
    except SyntaxError:
        return ast.Constant(...)


def _literal(node: ast.expr) -> JsonValue:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return value if isinstance(value, str | int | float | bool | list | dict) else None


def _carries(function: Function, decorator: str) -> bool:
    calls = (d.func if isinstance(d, ast.Call) else d for d in function.decorator_list)
    return any(_last_name(call) == decorator for call in calls)
