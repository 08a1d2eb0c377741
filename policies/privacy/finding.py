"""A text searched by several detectors: what was found, without overlaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """Characters `start` to `end` of a text are of a kind."""

    start: int
    end: int
    kind: str


class Finder(Protocol):
    def find(self, text: str) -> Iterable[Found]:
        """In any order; they may overlap."""


def merged(found: Iterable[Found]) -> list[Found]:
    """In order. What overlaps becomes one, of the kind that begins first, else of the longer."""
    result: list[Found] = []
    for each in sorted(found, key=lambda each: (each.start, -each.end)):
        last = result[-1] if result else None
        if last is None or each.start >= last.end:
            result.append(each)
        elif each.end > last.end:
            result[-1] = Found(last.start, each.end, last.kind)
    return result


@dataclass(frozen=True, slots=True)
class AllOf:
    """Several finders as one."""

    finders: Sequence[Finder]

    def find(self, text: str) -> list[Found]:
        """In order, without overlaps."""
        found = [each for finder in self.finders for each in finder.find(text)]
        return merged(found) if len(found) > 1 else found
