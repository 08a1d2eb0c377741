"""Stuck work as figures: each job or batch when a sweep first finds it so."""

from __future__ import annotations

from contracts.stuck import Stuck
from telemetry import metrics


def found(stuck: Stuck) -> None:
    metrics.STUCK.add(1, {"sluice.kind": str(stuck.kind), "sluice.what": stuck.what})
