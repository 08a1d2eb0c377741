"""A day's records, summed up as finely as anybody may ask: every answer is a sum of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from pydantic_core import from_json

from ledger.exact import EXACT, ZERO
from ledger.prices import BILLED


class Key(NamedTuple):
    """What a cell is of."""

    tenant: str | None
    """None: nobody's, which is the idle time of a dedicated deployment."""
    model: str
    deployment: str
    version: str | None
    flow: str | None
    currency: str | None


@dataclass(slots=True)
class Sums:
    outcomes: Counter[str] = field(default_factory=Counter)
    """Requests."""
    mirrored: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    microseconds: int = 0
    busy: int = 0
    """Microseconds for which a dedicated deployment is the tenant's."""
    cost: Decimal = ZERO
    estimated: int = 0
    """Requests."""
    estimated_cost: Decimal = ZERO

    def add(self, other: Sums) -> None:
        self.outcomes.update(other.outcomes)
        self.mirrored += other.mirrored
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.microseconds += other.microseconds
        self.busy += other.busy
        self.cost = EXACT.add(self.cost, other.cost)
        self.estimated += other.estimated
        self.estimated_cost = EXACT.add(self.estimated_cost, other.estimated_cost)

    def add_record(self, told: Mapping[str, Any]) -> None:
        microseconds = round((told["seconds"] or 0) * 1_000_000)
        self.outcomes[told["outcome"]] += 1
        self.input_tokens += told["input_tokens"]
        self.output_tokens += told["output_tokens"]
        self.microseconds += microseconds
        cost = Decimal(told["cost"])
        self.cost = EXACT.add(self.cost, cost)
        if told["mirrored"]:
            self.mirrored += 1
        elif told["outcome"] in BILLED:
            self.busy += microseconds
        if told["estimated"]:
            self.estimated += 1
            self.estimated_cost = EXACT.add(self.estimated_cost, cost)


type Cells = dict[Key, Sums]


@dataclass(slots=True)
class Day:
    """What is summed up so far, and of which blobs how many bytes: they only grow."""

    counted: dict[str, int] = field(default_factory=dict)
    cells: Cells = field(default_factory=dict)

    def add_line(self, line: bytes) -> None:
        """Raises ValueError, KeyError or TypeError for what is no record."""
        told = from_json(line)
        key = Key(
            told["tenant"],
            told["model"],
            told["deployment"],
            told["version"],
            told["flow"],
            told["currency"],
        )
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Sums()
        cell.add_record(told)

    def dump(self) -> bytes:
        return _STORED.dump_json(_Stored(self.counted, list(self.cells.items())))

    @classmethod
    def load(cls, stored: bytes) -> Day:
        read = _STORED.validate_json(stored)
        return cls(read.counted, dict(read.cells))


@dataclass(slots=True)
class _Stored:
    counted: dict[str, int]
    cells: list[tuple[Key, Sums]]


_STORED = TypeAdapter(_Stored)


def total(cells: Iterable[Sums]) -> Sums:
    result = Sums()
    for each in cells:
        result.add(each)
    return result
