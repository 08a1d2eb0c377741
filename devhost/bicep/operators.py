"""Operators in Bicep's own order: the grammar takes `a ? b : c.d` for `(a ? b : c).d`.

So a run of operators is flattened to what is written, and put together again by precedence:
https://learn.microsoft.com/azure/azure-resource-manager/bicep/operators
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tree_sitter import Node

from devhost.bicep import syntax
from devhost.bicep.values import BicepError

LOOSE = (
    "lambda_expression",
    "member_expression",
    "subscript_expression",
    "unary_expression",
    "binary_expression",
    "ternary_expression",
)
"""The nodes whose nesting means nothing."""
_BINDING = {
    "?": 1,
    "||": 2,
    "&&": 3,
    "==": 4,
    "!=": 4,
    "<": 5,
    ">": 5,
    "<=": 5,
    ">=": 5,
    "+": 6,
    "-": 6,
    "*": 7,
}


@dataclass(frozen=True, slots=True)
class Member:
    """`owner.name`"""

    owner: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """`owner[index]`"""

    owner: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Not:
    """`!value`"""

    value: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """`left sign right`"""

    sign: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Ternary:
    """`condition ? yes : no`"""

    condition: Expression
    yes: Expression
    no: Expression


@dataclass(frozen=True, slots=True)
class Function:
    """`name => body` or `(name, other) => body`"""

    names: tuple[str, ...]
    body: Expression


type Expression = Node | Member | Index | Not | Binary | Ternary | Function


def names_of(given: Node) -> tuple[str, ...]:
    """What a lambda or a loop calls its values."""
    leaves = [node for node in syntax.walk(given) if node.is_named and not node.named_children]
    return tuple(syntax.text(node) for node in leaves)


def parts(expression: Expression) -> tuple[Expression, ...]:
    """The expressions right below it, as far as operators made them."""
    found: tuple[Expression, ...] = ()
    match expression:
        case Member(owner, _):
            found = (owner,)
        case Index(owner, index):
            found = (owner, index)
        case Not(only) | Function(_, only):
            found = (only,)
        case Binary(_, left, right):
            found = (left, right)
        case Ternary(condition, yes, no):
            found = (condition, yes, no)
    return found


def regroup(node: Node) -> Expression:
    """The run of operators that `node` is."""
    reader = _Reader(list(_tokens(node)))
    found = reader.expression(0)
    if reader.rest:
        raise BicepError(f"not understood: {syntax.text(node)[:60]!r}")
    return found


def _tokens(node: Node) -> Iterator[Node]:
    for child in node.children:
        if child.type in LOOSE:
            yield from _tokens(child)
        elif child.type != "comment":
            yield child


class _Reader:
    """Precedence climbing."""

    def __init__(self, tokens: list[Node]) -> None:
        self.rest = tokens[::-1]

    def _next(self) -> str:
        return self.rest[-1].type if self.rest else ""

    def _take(self, expected: str | None = None) -> Node:
        if not self.rest or (expected and self._next() != expected):
            raise BicepError(f"expected {expected or 'a value'}")
        return self.rest.pop()

    def expression(self, least: int) -> Expression:
        """As far as operators bind at least so tightly."""
        left = self._prefixed()
        while _BINDING.get(self._next(), -1) >= max(least, 1):
            sign = self._take().type
            if sign == "?":
                yes = self.expression(0)
                self._take(":")
                left = Ternary(left, yes, self.expression(0))
            else:
                left = Binary(sign, left, self.expression(_BINDING[sign] + 1))
        return left

    def _prefixed(self) -> Expression:
        if self._next() == "!":
            self._take()
            return Not(self._prefixed())
        taken = self._take()
        if self._next() == "=>":
            self._take()
            return Function(names_of(taken), self.expression(0))
        found: Expression = taken
        while self._next() in (".", "["):
            if self._take().type == ".":
                found = Member(found, syntax.text(self._take()))
            else:
                found = Index(found, self.expression(0))
                self._take("]")
        return found
