"""Expressions to values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tree_sitter import Node

from devhost.bicep import syntax
from devhost.bicep.functions import FUNCTIONS, Known, call
from devhost.bicep.operators import (
    LOOSE,
    Binary,
    Expression,
    Function,
    Index,
    Member,
    Not,
    Ternary,
    names_of,
    regroup,
)
from devhost.bicep.values import BicepError, Lambda, Later, Symbol, Value, plain, text_of


@dataclass(slots=True)
class Scope:
    """Names that an expression may use; each is evaluated when it is first asked for."""

    path: Path
    functions: Mapping[str, Known]
    pending: dict[str, Callable[[], Value]] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)

    def with_values(self, values: Mapping[str, Value]) -> Scope:
        """This one with names of a loop or a lambda before its own."""
        inner = Scope(self.path, self.functions, self.pending, dict(values))
        inner.pending = {
            name: partial(self.look_up, name) for name in (*self.pending, *self.values)
        }
        return inner

    def look_up(self, name: str) -> Value:
        if name not in self.values:
            if name not in self.pending:
                raise BicepError(f"{self.path.name}: there is no {name}")
            ask = self.pending.pop(name)
            self.values[name] = ask()
        return self.values[name]


def evaluate(node: Node, scope: Scope) -> Value:
    """Raises BicepError, naming file and line."""
    rule = _RULES.get(node.type)
    if rule is None:
        raise BicepError(f"{scope.path.name}:{syntax.line(node)}: {node.type} is not known here")
    try:
        return rule(node, scope)
    except BicepError as error:
        if ".bicep" in str(error):
            raise
        raise BicepError(f"{scope.path.name}:{syntax.line(node)}: {error}") from error


def _string(node: Node, scope: Scope) -> Value:
    parts = [
        part if isinstance(part, str) else evaluate(part, scope)
        for part in syntax.string_parts(node)
    ]
    if len(parts) == 1 and isinstance(parts[0], Later):
        return parts[0]
    written = "".join(text_of(part) for part in parts)
    return Later.of(written, *parts) if any(isinstance(part, Later) for part in parts) else written


def _array(node: Node, scope: Scope) -> Value:
    return [evaluate(item, scope) for item in syntax.items(node)]


def _object(node: Node, scope: Scope) -> Value:
    made: dict[str, Value] = {}
    for item in syntax.expressions(node):
        name, value = syntax.expressions(item)
        key = evaluate(name, scope) if name.type == "string" else syntax.text(name)
        made[text_of(key)] = evaluate(value, scope)
    return made


def member(owner: Value, name: str) -> Value:
    """What `.name` or `['name']` of it is."""
    match owner:
        case Later():
            return Later.of(f"{owner.text}.{name}", owner)
        case dict():
            if name not in owner:
                raise BicepError(f"there is no {name} among {', '.join(owner)}")
            return owner[name]
        case Symbol():
            return _of_symbol(owner, name)
    raise BicepError(f"{plain(owner)!r} has no {name}")


def _of_symbol(owner: Symbol, name: str) -> Value:
    if name == "name":
        return owner.name()
    if owner.outputs is not None and name == "outputs":
        return {each: Later(f"{owner.label}.outputs.{each}") for each in sorted(owner.outputs)}
    if name == "id":
        return owner.path()
    return Later(f"{owner.label}.{name}")


def _operators(node: Node, scope: Scope) -> Value:
    return _expression(regroup(node), scope)


def _expression(expression: Expression, scope: Scope) -> Value:
    if isinstance(expression, Node):
        return evaluate(expression, scope)
    match expression:
        case Member(owner, name):
            found = member(_expression(owner, scope), name)
        case Index(owner, index):
            found = _item(_expression(owner, scope), _expression(index, scope))
        case Not(value):
            found = _not(_expression(value, scope))
        case Binary():
            found = _binary(expression, scope)
        case Ternary():
            found = _ternary(expression, scope)
        case Function():
            found = _lambda(expression, scope)
    return found


def _item(owner: Value, index: Value) -> Value:
    if isinstance(owner, Later) or isinstance(index, Later):
        return Later.of(f"{plain(owner)}[{plain(index)}]", owner, index)
    if isinstance(owner, list) and isinstance(index, int):
        if index >= len(owner):
            raise BicepError(f"there is no [{index}] of {len(owner)}")
        return owner[index]
    return member(owner, text_of(index))


def _ternary(expression: Ternary, scope: Scope) -> Value:
    condition = _expression(expression.condition, scope)
    if isinstance(condition, Later):
        return Later.of(f"either by {condition.text}", condition)
    if not isinstance(condition, bool):
        raise BicepError(f"{plain(condition)!r} is neither true nor false")
    return _expression(expression.yes if condition else expression.no, scope)


def _not(value: Value) -> Value:
    if isinstance(value, Later):
        return Later.of(f"!{value.text}", value)
    if not isinstance(value, bool):
        raise BicepError(f"{plain(value)!r} is neither true nor false")
    return not value


_OPERATORS: dict[str, Callable[..., Value]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">": lambda left, right: left > right,
    "<": lambda left, right: left < right,
    ">=": lambda left, right: left >= right,
    "<=": lambda left, right: left <= right,
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
}


def _binary(expression: Binary, scope: Scope) -> Value:
    sign = expression.sign
    left = _expression(expression.left, scope)
    if (sign, left) in (("&&", False), ("||", True)):
        return left
    right = _expression(expression.right, scope)
    if isinstance(left, Later) or isinstance(right, Later):
        return Later.of(f"{plain(left)} {sign} {plain(right)}", left, right)
    return right if sign in ("&&", "||") else _OPERATORS[sign](left, right)


def _lambda(expression: Function, scope: Scope) -> Value:
    def run(*values: Value) -> Value:
        bound = dict(zip(expression.names, values, strict=True))
        return _expression(expression.body, scope.with_values(bound))

    return Lambda(run)


def _call(node: Node, scope: Scope) -> Value:
    name = syntax.text(syntax.field(node, "function"))
    arguments = syntax.expressions(syntax.field(node, "arguments"))
    if name in ("loadJsonContent", "loadTextContent"):
        content = (scope.path.parent / syntax.literal(arguments[0])).read_text(encoding="utf-8")
        loaded: Value = json.loads(content) if name == "loadJsonContent" else content
        return loaded
    function = scope.functions.get(name) or FUNCTIONS.get(name)
    if function is None:
        raise BicepError(f"the function {name} is not known here")
    return call(name, function, [evaluate(argument, scope) for argument in arguments])


def loop(node: Node, scope: Scope) -> list[tuple[Node, Scope]]:
    """Of `[for ...: body]`, the body as often as it is repeated, each with its names."""
    *head, body = syntax.expressions(node)
    given, over = head
    names = names_of(given)
    items = evaluate(over, scope)
    if not isinstance(items, list):
        raise BicepError(f"{syntax.text(over)} is no list that is known before the deployment")
    return [
        (
            body,
            scope.with_values(dict(zip(names, (item, at), strict=False))),
        )
        for at, item in enumerate(items)
    ]


_RULES: dict[str, Callable[[Node, Scope], Value]] = {
    "string": _string,
    "number": lambda node, _: int(syntax.text(node)),
    "boolean": lambda node, _: syntax.text(node) == "true",
    "null": lambda _node, _scope: None,
    "array": _array,
    "object": _object,
    "identifier": lambda node, scope: scope.look_up(syntax.text(node)),
    "parenthesized_expression": lambda node, scope: evaluate(syntax.expressions(node)[0], scope),
    **dict.fromkeys(LOOSE, _operators),
    "call_expression": _call,
    "for_statement": lambda node, scope: [evaluate(*each) for each in loop(node, scope)],
}
