"""What the app around gives to endpoints: clocks, its region, and where records go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from contracts.admission import Admission
from contracts.calls import Begun, CallBegun, Joins, Meter, UsageRecord
from contracts.deployments import Comparison
from contracts.privacy import Redaction
from endpoints.clocks import Clocks

type Compared = Callable[[Comparison], None]
"""Takes each comparison as it arises; quick, and raises nothing."""


def _unnoted(begun: CallBegun) -> None:
    """For those who call models outside the app."""


def _untraced(begun: CallBegun) -> Mapping[str, str]:
    """For those whose requests join no trace."""
    return {}


def _unmetered(record: UsageRecord) -> None:
    """For those who call models outside the app."""


def _uncompared(comparison: Comparison) -> None:
    """For those who do not look at comparisons."""


@dataclass(frozen=True, slots=True)
class Context:
    clocks: Clocks = Clocks()  # noqa: RUF009 (frozen)
    begun: Begun = _unnoted
    joins: Joins = _untraced
    meter: Meter = _unmetered
    admission: Admission | None = None
    """None: every call may be made."""
    compared: Compared = _uncompared
    redaction: Redaction | None = None
    """None where every deployment may be sent everything."""
    region: str | None = None
    """Deployments of the same region are asked first."""
