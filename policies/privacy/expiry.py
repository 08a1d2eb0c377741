"""What is due of all tenants, deleted, and counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

from contracts.errors import SluiceError
from policies.privacy.due import Counts, Due, Histories, Stores
from policies.privacy.settings import PrivacySettings

_log = logging.getLogger("sluice.retention")

LONGEST_RUN = 240.0
"""Seconds. What is left is the next run's."""


async def _go(run: Due) -> None:
    """What cannot be read of one tenant keeps no other waiting."""
    try:
        await run.go()
    except SluiceError:
        raise
    except Exception as error:  # noqa: BLE001 (its text may quote what could not be read)
        run.counts.unfinished = True
        _log.error("Retention: something of a tenant cannot be read: %s", type(error).__name__)


async def delete_due(
    stores: Stores,
    histories: Histories,
    settings_of: Callable[[str], PrivacySettings],
    *,
    now: datetime | None = None,
    longest: float = LONGEST_RUN,
) -> Counts:
    """One run over all tenants. Raises DependencyUnavailable, with what was done logged."""
    counts, until = Counts(), time.monotonic() + longest
    try:
        tenants = await stores.jobs.tenants() | await stores.files.tenants()
        for tenant in sorted(tenants):
            rules = settings_of(tenant).retention
            if not rules.keeps_all:
                at = now or datetime.now(UTC)
                await _go(Due(stores, histories, tenant, rules, at, until, counts))
    finally:
        told = ", ".join(f"{name} {count}" for name, count in asdict(counts).items())
        _log.info("Retention has deleted: %s", told)
    return counts
