"""The ledger of this worker, and the books that all workers' ledgers make."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from contracts.errors import Misconfigured
from endpoints.settings import Settings
from ledger.journal import Journal
from ledger.ledger import Ledger
from ledger.prices import Prices
from ledger.query import Books
from ledger.rates import Rate
from stores.blobs import Container, StorageAccount
from stores.ledger import LedgerStore
from wiring.usage import UsageLog

JOURNAL_BYTES = 200_000_000
"""Some half a million calls."""


def ledger_of(
    declared: Settings, account: StorageAccount, environ: Mapping[str, str], worker: str
) -> tuple[Ledger, Books]:
    """Raises Misconfigured."""
    name = environ.get("SLUICE_LEDGER_CONTAINER") or "sluice-ledger"
    store = LedgerStore(Container(account.open, name))
    journal = Journal(_folder(environ, account, name), worker, _most_bytes(environ))
    ledger = Ledger(
        journal, store, prices(declared), dedicated=dedicated(declared), tell=UsageLog()
    )
    return ledger, Books(store)


def prices(declared: Settings) -> Prices:
    """Of all deployments that have one."""
    return Prices({each.name: each.price for _, each in declared.deployments if each.price})


def dedicated(declared: Settings) -> dict[str, Rate]:
    """What deployments cost by the hour."""
    now = datetime.now(UTC)
    return {
        each.name: Rate(
            deployment=each.name,
            model=model,
            version=each.version,
            begins=now,
            hourly=each.price.dedicated.hourly,
            currency=each.price.currency,
            concurrency=each.max_concurrency or 1,
            since=each.price.dedicated.since,
        )
        for model, each in declared.deployments
        if each.price is not None and each.price.dedicated is not None
    }


def _folder(environ: Mapping[str, str], account: StorageAccount, container: str) -> Path:
    """By default one for each container, since processes adopt each other's journals."""
    if given := environ.get("SLUICE_LEDGER_JOURNAL"):
        return Path(given)
    place = hashlib.sha256(f"{account.name} {container}".encode()).hexdigest()[:16]
    user = os.getuid() if hasattr(os, "getuid") else ""  # each has a folder that nobody else made
    return Path(tempfile.gettempdir()) / f"sluice-ledger{user}" / place


def _most_bytes(environ: Mapping[str, str]) -> int:
    text = environ.get("SLUICE_LEDGER_JOURNAL_BYTES")
    if not text:
        return JOURNAL_BYTES
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise Misconfigured(
        f"App setting SLUICE_LEDGER_JOURNAL_BYTES is {text!r}; expected a whole number of bytes."
    )
