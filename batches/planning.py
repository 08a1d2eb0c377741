"""A whole input file, read once before any line is paid for: its problems, or its slices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from batches.lines import MOST_LINES, LineChecker, RawLine, cut
from contracts.batches import MOST_ERRORS, BatchPlan, LineProblem, Slice

SLICE_LINES = 500
SLICE_BYTES = 4 * 1024 * 1024
BREATHE_EVERY = 200
"""Lines after which others of the process have their turn."""


@dataclass(slots=True)
class Findings:
    """`plan` is of use when there are no problems."""

    plan: BatchPlan
    problems: list[LineProblem] = field(default_factory=list)
    """The first MOST_ERRORS."""
    found: int = 0
    """How many there are."""

    def add(self, problem: LineProblem) -> None:
        self.found += 1
        if len(self.problems) < MOST_ERRORS:
            self.problems.append(problem)


async def plan(pieces: AsyncIterator[bytes], checker: LineChecker) -> Findings:
    """Read the file to its end."""
    cutter = _Cutter()
    findings = Findings(BatchPlan(model=None, slices=[]))
    lines = 0
    async for line in cut(pieces):
        if line.empty:
            continue
        lines += 1
        if lines > MOST_LINES:
            message = f"The file has more than {MOST_LINES:,} lines."
            findings.add(LineProblem(code="too_many_tasks", line=line.number, message=message))
            break
        if (problem := checker.check(line)) is not None:
            findings.add(problem)
        cutter.add(line)
        if lines % BREATHE_EVERY == 0:
            await asyncio.sleep(0)
    if not lines:
        findings.add(LineProblem(code="empty_batch", message="The file has no lines."))
    findings.plan = BatchPlan(model=checker.model, slices=cutter.slices())
    return findings


class _Cutter:
    """Cuts the file at lines into slices of a bounded size."""

    def __init__(self) -> None:
        self._done: list[Slice] = []
        self._first: RawLine | None = None
        self._end = 0
        self._lines = 0

    def add(self, line: RawLine) -> None:
        first = self._first
        if first is not None and (
            self._lines >= SLICE_LINES or line.end - first.offset > SLICE_BYTES
        ):
            self._close()
        if self._first is None:
            self._first = line
        self._end = line.end
        self._lines += 1

    def slices(self) -> list[Slice]:
        self._close()
        return self._done

    def _close(self) -> None:
        if self._first is not None:
            first = self._first
            self._done.append(
                Slice(
                    offset=first.offset,
                    length=self._end - first.offset,
                    first_line=first.number,
                    lines=self._lines,
                )
            )
        self._first = None
        self._lines = 0
