"""What a template deploys for given parameters: every resource, with what is known of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tree_sitter import Node

from devhost.bicep import syntax
from devhost.bicep.evaluate import Scope, evaluate, loop
from devhost.bicep.place import Place
from devhost.bicep.template import Declared, Parameter, Template
from devhost.bicep.values import BicepError, Later, Plain, Symbol, Value, given, known, plain

_KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "int": int,
    "bool": bool,
    "object": dict,
    "array": list,
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """One resource of a deployment."""

    kind: str
    """Type with version."""
    name: str
    """With the names of its parents, parted by slashes."""
    group: str | None
    body: dict[str, Plain]
    """As in the file, evaluated: properties, sku, tags..."""
    file: str

    @property
    def type(self) -> str:
        return self.kind.partition("@")[0]


def render(path: Path, parameters: Mapping[str, Value], place: Place) -> list[Rendered]:
    """Every resource that the template at `path` would deploy. Raises BicepError."""
    return list(_Deployment(Template(path), parameters, place).resources())


class _Deployment:
    """A template with its parameters."""

    def __init__(self, template: Template, parameters: Mapping[str, Value], place: Place) -> None:
        self._template = template
        self._place = place
        self.scope = Scope(template.path, place.functions())
        found = template.found
        unknown = set(parameters) - set(found.parameters)
        if unknown:
            raise BicepError(f"{template.path.name}: takes no {', '.join(sorted(unknown))}")
        for name, parameter in found.parameters.items():
            self.scope.values[name] = self._parameter(parameter, parameters)
        for name, node in found.variables.items():
            self.scope.pending[name] = partial(evaluate, node, self.scope)
        for name, declared in {**found.resources, **found.modules}.items():
            self.scope.pending[name] = partial(self._symbols, declared)

    def _parameter(self, parameter: Parameter, passed: Mapping[str, Value]) -> Value:
        where = f"{self._template.path.name}:{parameter.line}: {parameter.name}"
        if parameter.name not in passed:
            if parameter.default is None:
                raise BicepError(f"{where} is needed")
            return evaluate(parameter.default, self.scope)
        value = passed[parameter.name]
        if isinstance(value, Later):
            return value
        kind = _KINDS[parameter.kind]
        # A bool is an int to Python, and none to Bicep.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise BicepError(f"{where} is {plain(value)!r}; expected {parameter.kind}")
        self._check_bounds(where, parameter, value)
        return value

    def _check_bounds(self, where: str, parameter: Parameter, value: Value) -> None:
        said = {
            name: evaluate(syntax.expressions(arguments)[0], self.scope)
            for name, arguments in parameter.decorators.items()
            if name in ("allowed", "minValue", "maxValue", "minLength", "maxLength")
        }
        allowed = said.get("allowed")
        if isinstance(allowed, list) and value not in allowed:
            raise BicepError(f"{where} is {plain(value)!r}; expected one of {plain(allowed)}")
        size = value if isinstance(value, int) else len(value) if isinstance(value, str) else None
        for low, high in (("minValue", "maxValue"), ("minLength", "maxLength")):
            least, most = said.get(low), said.get(high)
            if size is None:
                continue
            if (isinstance(least, int) and size < least) or (isinstance(most, int) and size > most):
                raise BicepError(f"{where} is {plain(value)!r}; out of bounds")

    def _symbols(self, declared: Declared) -> Value:
        if declared.body.type == "for_statement":
            return [
                self._symbol(declared, body, scope, f"{declared.name}[{at}]")
                for at, (body, scope) in enumerate(loop(declared.body, self.scope))
            ]
        return self._symbol(declared, declared.body, self.scope, declared.name)

    def _symbol(self, declared: Declared, body: Node, scope: Scope, label: str) -> Symbol:
        fields = syntax.properties(_object_of(body))
        where = f"{self._template.path.name}:{declared.line}: the name of {label}"
        outputs = None
        if declared.name in self._template.found.modules:
            outputs = frozenset(self._template.module(declared).found.outputs)

        def name() -> str:
            own = evaluate(fields["name"], scope)
            own = str(own) if isinstance(own, Later) and own.given else known(own, where)
            if not isinstance(own, str):
                raise BicepError(f"{where} is {plain(own)!r}")
            parent = evaluate(fields["parent"], scope) if "parent" in fields else None
            return f"{parent.name()}/{own}" if isinstance(parent, Symbol) else own

        def path() -> str:
            kind = declared.what.partition("@")[0]
            if kind == "Microsoft.Resources/resourceGroups":
                return Place(name()).path
            return self._place.resource_path(kind, *name().split("/"))

        return Symbol(label, declared.what, name, path, outputs)

    def resources(self) -> Iterator[Rendered]:
        found = self._template.found
        for declared in found.resources.values():
            if not declared.existing:
                yield from self._rendered(declared)
        for declared in found.modules.values():
            for body, scope, label in self._bodies(declared):
                yield from self._inner(declared, body, scope, label)
        for node in found.outputs.values():
            evaluate(node, self.scope)

    def _rendered(self, declared: Declared) -> Iterator[Rendered]:
        for body, scope, label in self._bodies(declared):
            symbol = self._symbol(declared, body, scope, label)
            fields = {
                name: plain(evaluate(node, scope))
                for name, node in syntax.properties(body).items()
                if name != "dependsOn"
            }
            yield Rendered(
                declared.what, symbol.name(), self._place.group, fields, self._template.path.name
            )

    def _inner(
        self, declared: Declared, body: Node, scope: Scope, label: str
    ) -> Iterator[Rendered]:
        fields = syntax.properties(body)
        place = self._place
        if "scope" in fields:
            group = evaluate(fields["scope"], scope)
            if not isinstance(group, Symbol):
                raise BicepError(f"{self._template.path.name}: {label} has no scope")
            place = Place(group.name())
        parameters = evaluate(fields["params"], scope)
        if not isinstance(parameters, dict):
            raise BicepError(f"{self._template.path.name}: {label} has no params")
        inner = _Deployment(
            self._template.module(declared),
            {name: given(value) for name, value in parameters.items()},
            place,
        )
        yield from inner.resources()

    def _bodies(self, declared: Declared) -> Iterator[tuple[Node, Scope, str]]:
        """As often as it is deployed: loops unrolled, conditions decided."""
        repeated = [(declared.body, self.scope)]
        if declared.body.type == "for_statement":
            repeated = loop(declared.body, self.scope)
        for at, (body, scope) in enumerate(repeated):
            label = declared.name if len(repeated) == 1 else f"{declared.name}[{at}]"
            if body.type == "if_statement":
                condition = evaluate(syntax.expressions(body)[0], scope)
                where = f"{self._template.path.name}:{declared.line}: whether {label} is deployed"
                if known(condition, where) is not True:
                    continue
            yield _object_of(body), scope, label


def _object_of(body: Node) -> Node:
    return syntax.expressions(body)[-1] if body.type == "if_statement" else body
