"""What the demo shows: a line a job while they run, then the answers; plain text elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap

from devhost.demo.client import Job

_WIDE = 100


class Screen:
    """Writes to the terminal; colours and redrawing only where there is one."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._width = min(shutil.get_terminal_size((_WIDE, 24)).columns, _WIDE)
        self._statuses: dict[str, str] = {}
        self._drawn = 0

    def line(self, text: str = "") -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def heading(self, text: str) -> None:
        self.line()
        self.line(self._coloured(text, "1"))

    def status(self, flow: str, status: str) -> None:
        """A job is seen in a status; shown when it is a new one."""
        if self._statuses.get(flow) == status:
            return
        self._statuses[flow] = status
        if not self._live:
            self.line(f"  {flow:<10} {status}")
            return
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        lines = [f"\x1b[2K  {name:<10} {known}" for name, known in self._statuses.items()]
        self._drawn = len(lines)
        self.line(up + "\n".join(lines))

    def forget(self) -> None:
        """Begin anew with other jobs."""
        self._statuses.clear()
        self._drawn = 0

    def answer(self, flow: str, asked: str, answer: str, job: Job) -> None:
        self._result("✓", "32", flow, asked, answer)
        deployments = list(dict.fromkeys(attempt.deployment for attempt in job.attempts))
        timing = job.timing
        queue = "unknown" if timing.queue_seconds is None else _seconds(timing.queue_seconds)
        facts = (
            f"{', '.join(deployments)} · queue {queue}"
            f" · flow {_seconds(timing.flow_seconds)} · model {_seconds(timing.model_seconds)}"
        )
        self.line(self._coloured(f"    {facts}", "2"))

    def failure(self, flow: str, asked: str, why: str) -> None:
        self._result("✗", "31", flow, asked, why)

    def _result(self, mark: str, colour: str, flow: str, asked: str, text: str) -> None:
        self.line(f"{self._coloured(mark, colour)} {self._coloured(flow, '1')}  {asked}")
        self.line(textwrap.indent(textwrap.fill(text, self._width - 4), "    "))

    def _coloured(self, text: str, code: str) -> str:
        plain = not self._live or os.environ.get("NO_COLOR")
        return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
