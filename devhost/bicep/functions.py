"""The functions of Bicep that infra/ uses, and no others: an unknown one is an error.

https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-functions
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import uuid
from collections.abc import Callable
from typing import cast

from devhost.bicep.values import BicepError, Lambda, Later, Value, plain, text_of

type Known = Callable[..., Value]


def call(name: str, function: Known, arguments: list[Value]) -> Value:
    """What is known only later makes the result known only later."""
    if any(isinstance(argument, Later) for argument in arguments):
        written = ", ".join(str(plain(each)) for each in _values(arguments))
        return Later.of(f"{name}({written})", *arguments)
    try:
        return function(*arguments)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise BicepError(f"{name}(): {error}") from error


def _values(arguments: list[Value]) -> list[Value]:
    return ["=>" if isinstance(each, Lambda) else each for each in arguments]


def _union(*values: Value) -> Value:
    merged: dict[str, Value] = {}
    joined: list[Value] = []
    for each in values:
        if isinstance(each, dict):
            for name, value in each.items():
                old = merged.get(name)
                both = isinstance(old, dict) and isinstance(value, dict)
                merged[name] = _union(old, value) if both else value
        elif isinstance(each, list):
            joined.extend(item for item in each if item not in joined)
        else:
            raise TypeError(f"{plain(each)!r} is neither an object nor an array")
    return joined if isinstance(values[0], list) else merged


def _concat(*values: Value) -> Value:
    if all(isinstance(each, list) for each in values):
        return [item for each in cast("tuple[list[Value], ...]", values) for item in each]
    return "".join(text_of(each) for each in values)


def _contains(where: Value, what: Value) -> Value:
    return what in cast("list[Value]", where)


def _cidr_subnet(network: str, prefix: int, index: int) -> Value:
    return str(list(ipaddress.ip_network(network).subnets(new_prefix=prefix))[index])


def _guid(*parts: str) -> Value:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "-".join(parts)))


def _unique_string(*parts: str) -> Value:
    digest = hashlib.sha256("-".join(parts).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:13]


def _to_object(items: list[Value], key: Lambda, value: Lambda | None = None) -> Value:
    return {cast("str", key.call(item)): value.call(item) if value else item for item in items}


def _map(items: list[Value], each: Lambda) -> Value:
    return [each.call(item) for item in items]


def _filter(items: list[Value], keep: Lambda) -> Value:
    return [item for item in items if keep.call(item) is True]


def _flatten(items: list[list[Value]]) -> Value:
    return [item for each in items for item in each]


FUNCTIONS: dict[str, Known] = {
    "cidrSubnet": _cidr_subnet,
    "concat": _concat,
    "contains": _contains,
    "empty": lambda value: not value,
    "filter": _filter,
    "flatten": _flatten,
    "guid": _guid,
    "int": int,
    "join": lambda items, between: between.join(items),
    "last": lambda items: items[-1],
    "length": len,
    "listKeys": lambda path, version: Later(f"keys of {path}"),
    "map": _map,
    "max": max,
    "range": lambda start, count: list(range(start, start + count)),
    "replace": lambda where, old, new: where.replace(old, new),
    "skip": lambda items, count: items[count:],
    "split": lambda where, between: where.split(between),
    "string": lambda value: value if isinstance(value, str) else json.dumps(plain(value)),
    "take": lambda items, count: items[:count],
    "toLower": str.lower,
    "toObject": _to_object,
    "toUpper": str.upper,
    "union": _union,
    "uniqueString": _unique_string,
    "utcNow": lambda _format: "2026-01-01",
}
"""`utcNow` is one day, so that what is rendered is the same each time."""
