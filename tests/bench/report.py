"""What every bench ends with: rows of figures, goals that were met or not, a table and JSON.

The JSON is `{"rows": [{"system", "case", "metrics"}], "goals": [{"name", "value", "goal", "ok"}]}`.
A metric's name ends in its unit: `finished_per_s`, `p95_ms`.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

type Metrics = dict[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """What one system did in one case."""

    system: str
    case: str
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that is to be reached, or not to be exceeded; its name says which."""

    name: str
    value: float
    goal: float
    ok: bool

    @classmethod
    def at_least(cls, name: str, value: float, goal: float) -> Goal:
        return cls(f"{name}, at least", value, goal, value >= goal)

    @classmethod
    def at_most(cls, name: str, value: float, goal: float) -> Goal:
        return cls(f"{name}, at most", value, goal, value <= goal)


@dataclass(slots=True)
class Report:
    """All that a bench found."""

    rows: list[Row] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def table(self) -> str:
        """For people: a table a case, then the goals."""
        return "\n".join([*self._cases(), *self._goals()])

    def json(self) -> str:
        rows = [
            {"system": row.system, "case": row.case, "metrics": _rounded(row.metrics)}
            for row in self.rows
        ]
        goals = [
            {"name": goal.name, "value": _round(goal.value), "goal": goal.goal, "ok": goal.ok}
            for goal in self.goals
        ]
        return json.dumps({"rows": rows, "goals": goals}, indent=2) + "\n"

    def publish(self, path: Path | None = None) -> None:
        """Print the table; write the JSON too where a path is given."""
        sys.stdout.write(self.table() + "\n")
        sys.stdout.flush()
        if path is not None:
            path.write_text(self.json(), encoding="utf-8")

    def _cases(self) -> Iterator[str]:
        first = max((len(row.system) for row in self.rows), default=0)
        for case in dict.fromkeys(row.case for row in self.rows):
            rows = [row for row in self.rows if row.case == case]
            names = list(dict.fromkeys(name for row in rows for name in row.metrics))
            yield case
            yield "  " + " " * first + "".join(f"{name:>{_width(name)}}" for name in names)
            for row in rows:
                cells = (f"{_cell(row.metrics.get(name)):>{_width(name)}}" for name in names)
                yield f"  {row.system:<{first}}" + "".join(cells)
            yield ""

    def _goals(self) -> Iterator[str]:
        if self.goals:
            yield "Goals"
        for goal in self.goals:
            said = f"{_cell(goal.value)} (goal {_cell(goal.goal)})"
            yield f"  {'reached' if goal.ok else 'MISSED':<8} {goal.name}: {said}"


def medians(rounds: Sequence[Mapping[str, float]]) -> Metrics:
    """Each metric's median over the rounds that have it."""
    names = dict.fromkeys(name for metrics in rounds for name in metrics)
    return {
        name: statistics.median(metrics[name] for metrics in rounds if name in metrics)
        for name in names
    }


def _rounded(metrics: Metrics) -> Metrics:
    return {name: _round(value) for name, value in metrics.items()}


def _round(value: float) -> float:
    return round(value, 3)


def _cell(value: float | None) -> str:
    """Three figures are more than such measurements hold."""
    if value is None:
        return "-"
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{decimals}f}"


def _width(name: str) -> int:
    return max(len(name), 7) + 2
