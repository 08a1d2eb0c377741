"""What the app around gives to endpoints: clocks, its region, and where records go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from contracts.calls import Meter, UsageRecord
from contracts.deployments import Comparison
from endpoints.clocks import Clocks

type Compared = Callable[[Comparison], None]
"""Takes each comparison as it arises; quick, and raises nothing."""


def _unmetered(record: UsageRecord) -> None:
    """For those who call models outside the app."""


def _uncompared(comparison: Comparison) -> None:
    """For those who do not look at comparisons."""


@dataclass(frozen=True, slots=True)
class Context:
    clocks: Clocks = Clocks()  # noqa: RUF009 (frozen)
    meter: Meter = _unmetered
    compared: Compared = _uncompared
    region: str | None = None
    """Deployments of the same region are asked first."""
