"""Tensors as JSON has them: nested lists, or a flat list in row-major order beside a shape."""

from __future__ import annotations

from itertools import chain
from math import prod
from typing import TypeGuard

from pydantic import JsonValue


class NotATensor(ValueError):
    """The lists have no one shape, or not the one that they are said to have."""


def flat(tensor: list[JsonValue]) -> tuple[list[JsonValue], list[int]]:
    """The elements in row-major order, and the shape. Raises NotATensor for ragged lists."""
    level: list[list[JsonValue]] = [tensor]
    shape: list[int] = []
    while True:
        shape.append(len(level[0]))
        if any(len(part) != shape[-1] for part in level):
            raise NotATensor
        elements = list(chain.from_iterable(level))
        parts = [element for element in elements if isinstance(element, list)]
        if not parts:
            return elements, shape
        if len(parts) != len(elements):
            raise NotATensor
        level = parts


def nested(elements: list[JsonValue], shape: list[int]) -> JsonValue:
    """The elements as lists in lists; the one itself for shape [], [] for a tensor of none.

    Raises NotATensor when the shape holds another number of elements.
    """
    if count(shape) != len(elements):
        raise NotATensor
    if not shape or not elements:
        return elements if shape else elements[0]
    for size in reversed(shape[1:]):
        elements = [elements[at : at + size] for at in range(0, len(elements), size)]
    return elements


def count(shape: list[int]) -> int:
    """How many elements the shape holds. Raises NotATensor for sizes below 0."""
    if any(size < 0 for size in shape):
        raise NotATensor
    return prod(shape)


def is_shape(value: JsonValue) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(size) is int for size in value)
