"""What a screen found, and how it is made known: a count and a line of log, without content."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Literal, NamedTuple

from pydantic_core import to_json

from contracts.errors import ContentBlocked
from telemetry import metrics

_log = logging.getLogger("sluice.screening")


class Screen(StrEnum):
    SIZE = "size"
    RATE = "rate"
    REPETITION = "repetition"
    KEY_SHARING = "key_sharing"
    INJECTION = "injection"
    CONTENT_SAFETY = "content_safety"


class Finding(NamedTuple):
    """`str(finding)` is the flag that records and headers show."""

    screen: Screen
    reason: str
    """A code of the screen's own: letters, digits and _."""
    decision: Literal["allow", "flag", "block"]
    """`allow`: something is to be known, and nothing follows."""

    def __str__(self) -> str:
        return f"{self.screen}.{self.reason}"


def tell(finding: Finding, tenant: str) -> None:
    """Count it, and log it."""
    told = {
        "screen": str(finding.screen),
        "reason": finding.reason,
        "decision": finding.decision,
        "tenant": tenant,
    }
    metrics.SCREENED.add(1, {f"sluice.{name}": value for name, value in told.items()})
    _log.warning("%s", to_json(told).decode())


def blocked(finding: Finding) -> ContentBlocked:
    """The error of whoever sent it."""
    return ContentBlocked(
        f"Screening does not let this request through: {finding}. Nothing was run. Change what"
        " is sent, or ask the operator of the service to look at the rule."
    )
